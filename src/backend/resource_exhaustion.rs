//! Distinguishes a shortage in this process from a fault of a database.

use std::any::Any;
use std::io;

use rustix::io::Errno;

use crate::error::ConnectError;
use crate::threads;

/// The error codes: no file descriptor left in the process, or in the system.
const LACKS: [Errno; 2] = [Errno::MFILE, Errno::NFILE];

/// The error of a system call, if file descriptors were exhausted.
pub(super) fn exhaustion(error: &io::Error) -> Option<ConnectError> {
    let code = error.raw_os_error()?;
    let lacks = LACKS.iter().any(|lack| lack.raw_os_error() == code);
    lacks.then(|| ConnectError::Starved(error.to_string()))
}

/// The error for a panic of the driver: it unwraps errors while it builds its runtime,
/// which needs descriptors.
pub(super) fn exhaustion_in_panic(panic: &(dyn Any + Send)) -> ConnectError {
    let text = threads::text_of(panic);
    let lacks = |lack: &&Errno| text.contains(&format!("Os {{ code: {},", lack.raw_os_error()));
    match LACKS.iter().find(lacks) {
        Some(lack) => ConnectError::Starved(lack.to_string()),
        None => ConnectError::Panicked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::AssertUnwindSafe;

    fn failed(error: io::Error) -> io::Result<()> {
        Err(error)
    }

    #[test]
    fn a_lack_of_descriptors_is_known_from_the_error_and_from_the_panic_about_it() {
        for lack in LACKS {
            let error = io::Error::from_raw_os_error(lack.raw_os_error());
            assert!(exhaustion(&error).is_some_and(|e| e.to_string().contains("open files")));
            let outcome = failed(error);
            let unwrap = AssertUnwindSafe(|| outcome.expect("a runtime"));
            let panic = std::panic::catch_unwind(unwrap).unwrap_err();
            assert!(matches!(exhaustion_in_panic(&*panic), ConnectError::Starved(_)), "{lack}");
        }
        assert!(
            exhaustion(&io::Error::from_raw_os_error(Errno::CONNREFUSED.raw_os_error())).is_none()
        );
        let other = std::panic::catch_unwind(|| panic!("code: 24")).unwrap_err();
        assert!(matches!(exhaustion_in_panic(&*other), ConnectError::Panicked));
    }
}

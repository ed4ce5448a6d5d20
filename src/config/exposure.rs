//! Who can read a file that may hold secrets.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// True if others can read it than the service and its operator: everybody, or a group. The group of
/// the service may, if the file is root's: packages lay out files so that the service reads them
/// and cannot change them.
pub(super) fn is_exposed(file: &Metadata) -> bool {
    let own = rustix::process::getegid().as_raw();
    is_open_to_others(file.mode(), (file.uid(), file.gid()), own)
}

fn is_open_to_others(mode: u32, (owner, group): (u32, u32), own_group: u32) -> bool {
    let is_of_package = owner == 0 && group == own_group;
    let allowed = if is_of_package { 0o640 } else { 0o600 };
    mode & 0o666 & !allowed != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_the_service_may_read_what_is_roots_and_nobody_else_may() {
        let (service, other) = (990, 991);
        for (mode, of, expected) in [
            (0o600, (990, service), false),
            (0o400, (990, service), false),
            (0o640, (990, service), true),
            (0o604, (990, service), true),
            (0o640, (0, service), false),
            (0o100_640, (0, service), false),
            (0o640, (0, other), true),
            (0o660, (0, service), true),
            (0o644, (0, service), true),
            (0o750, (0, service), false),
        ] {
            assert_eq!(is_open_to_others(mode, of, service), expected, "{mode:o} {of:?}");
        }
    }
}

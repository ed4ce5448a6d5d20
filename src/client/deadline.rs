//! A deadline for all calls of a piece of a program, for servers that call others in turn.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Puts the outer deadline back, also after a panic.
struct Restore(Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        UNTIL.set(self.0);
    }
}

/// Runs `f`. Whatever it calls or waits for with a client of this library, on this thread, ends
/// by `at`. An inner scope can make that earlier, never later.
pub fn scope<R>(at: Instant, f: impl FnOnce() -> R) -> R {
    let outer = UNTIL.get();
    let _restore = Restore(outer);
    UNTIL.set(Some(outer.map_or(at, |outer| outer.min(at))));
    f()
}

/// The deadline that this thread is under.
pub fn current() -> Option<Instant> {
    UNTIL.get()
}

/// The earlier of a deadline and the one that this thread is under.
pub(super) fn within(own: Option<Instant>) -> Option<Instant> {
    match (own, current()) {
        (Some(own), Some(scope)) => Some(own.min(scope)),
        (own, scope) => own.or(scope),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    #[test]
    fn scopes_only_shrink_and_end_with_their_function_even_by_a_panic() {
        let t0 = start();
        assert_eq!(current(), None);
        scope(t0 + ms(100), || {
            scope(t0 + ms(50), || assert_eq!(within(Some(t0 + ms(60))), Some(t0 + ms(50))));
            scope(t0 + ms(200), || assert_eq!(within(None), Some(t0 + ms(100))));
            let panicking = || scope(t0, || panic!("on purpose"));
            assert!(std::panic::catch_unwind(panicking).is_err());
            assert_eq!(within(Some(t0 + ms(1))), Some(t0 + ms(1)));
            assert_eq!(current(), Some(t0 + ms(100)));
        });
        assert_eq!(within(None), None);
    }
}

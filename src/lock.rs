//! Locks that are taken last.

#[cfg(any(test, debug_assertions))]
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
#[cfg(any(test, debug_assertions))]
use std::panic::Location;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A lock that is a leaf in the order of locks. Its contract, for all who take it:
///
/// * It is taken last: while a thread holds it, it takes no other lock, leaf or not.
/// * It is held for a few instructions, in which nothing blocks, logs or drops a value
///   that settles something.
/// * The value is whole after each of these steps, so it can be used after a panic.
///
/// In debug builds and in tests a thread panics when it takes a second one.
#[derive(Default)]
pub struct Leaf<T>(Mutex<T>);

impl<T> Leaf<T> {
    /// A value that is reached only under the lock.
    pub const fn new(value: T) -> Leaf<T> {
        Leaf(Mutex::new(value))
    }

    /// The value, until the guard is dropped.
    #[track_caller]
    pub fn lock(&self) -> LeafGuard<'_, T> {
        let held = OnlyOne::taken();
        LeafGuard { value: self.0.lock().unwrap_or_else(PoisonError::into_inner), _held: held }
    }

    /// Makes other threads wait for it, as another thread would.
    #[cfg(all(test, feature = "server"))]
    pub fn stall(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value of a `Leaf`, for as long as it is held.
#[must_use]
pub struct LeafGuard<'a, T> {
    value: MutexGuard<'a, T>,
    _held: OnlyOne,
}

impl<T> LeafGuard<'_, T> {
    /// Gives the value free until `changed` is notified, at most for so long.
    pub fn wait(self, changed: &Condvar, at_most: Duration) -> Self {
        let LeafGuard { value, _held } = self;
        let waited = changed.wait_timeout(value, at_most);
        LeafGuard { value: waited.unwrap_or_else(PoisonError::into_inner).0, _held }
    }
}

impl<T> Deref for LeafGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LeafGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[cfg(any(test, debug_assertions))]
thread_local! {
    /// Where the thread has taken the leaf that it holds.
    static HELD: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// The one leaf that a thread may hold.
struct OnlyOne;

impl OnlyOne {
    #[track_caller]
    fn taken() -> OnlyOne {
        #[cfg(any(test, debug_assertions))]
        if let Some(first) = HELD.replace(Some(Location::caller())) {
            // A second panic would end the process, and hide the first.
            assert!(
                std::thread::panicking(),
                "a leaf lock is taken under the one that was taken at {first}"
            );
        }
        OnlyOne
    }
}

#[cfg(any(test, debug_assertions))]
impl Drop for OnlyOne {
    fn drop(&mut self) {
        HELD.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_leaf_is_a_panic_and_the_first_is_usable_after_it() {
        let (one, two) = (Leaf::new(1), Leaf::new(2));
        let nested = std::panic::catch_unwind(|| {
            let _one = one.lock();
            let _two = two.lock();
        });
        assert!(nested.is_err());
        *one.lock() += 1;
        assert_eq!(*one.lock(), 2);
        assert_eq!(*two.lock(), 2);
    }

    #[test]
    fn a_leaf_that_waits_holds_nothing_and_has_it_again_after() {
        let (one, two, changed) = (Leaf::new(1), Leaf::new(0), Condvar::new());
        let guard = one.lock().wait(&changed, Duration::from_millis(1));
        assert_eq!(*guard, 1);
        drop(guard);
        assert_eq!(*two.lock(), 0);
    }
}

//! How many backends a tenant has open, in all of its pools, and how many it may have.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar};
use std::time::Instant;

use crate::clock;
use crate::lock::Leaf;

/// Counts the backends of one tenant, those being opened or closed included. Cheap to
/// clone; clones count together.
#[derive(Clone)]
pub struct OpenBackends(Arc<OpenBackendsState>);

struct OpenBackendsState {
    numbers: Leaf<OpenNumbers>,
    /// One was closed or came to rest, or there may be more.
    changed: Condvar,
    /// Who waits for that, so that nobody else pays for it.
    waiting: AtomicUsize,
}

struct OpenNumbers {
    open: usize,
    /// How many may be.
    limit: usize,
    /// More than that, while so many permits are still in use.
    in_use: usize,
    /// How often one has come to rest while somebody waited.
    rested: u64,
    /// The number of the next one.
    next: u64,
    /// Those that have been opened, by their numbers.
    opened: BTreeMap<u64, OpenBackend>,
}

/// A backend that has been opened.
#[derive(Clone)]
pub struct OpenBackend {
    /// Its process id.
    pub pid: i32,
    /// When it was opened.
    pub born: Instant,
    /// Its pool has been replaced by another.
    pub replaced: Arc<AtomicBool>,
}

impl OpenBackend {
    /// True if it is closed as soon as it is not in use.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }
}

/// Waits until one more may be opened, or one is at rest. To be made before it is looked for one: what
/// comes to rest from then on is noticed.
pub struct RoomWaiter {
    shared: Arc<OpenBackendsState>,
    /// Those that had come to rest at the last look.
    seen: u64,
}

impl RoomWaiter {
    /// Waits, at most until then.
    pub fn wait(&mut self, until: Instant) {
        let mut numbers = self.shared.numbers.lock();
        while numbers.open >= numbers.most() && numbers.rested == self.seen {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return;
            }
            numbers = numbers.wait(&self.shared.changed, left);
        }
        self.seen = numbers.rested;
    }
}

impl Drop for RoomWaiter {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts one backend as open, from before the connect until it is closed.
pub struct OpenCount {
    shared: Arc<OpenBackendsState>,
    number: u64,
}

impl OpenCount {
    /// Its number, which is greater than those of all before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// It has been opened.
    pub fn opened(&self, backend: OpenBackend) {
        self.shared.numbers.lock().opened.insert(self.number, backend);
    }
}

impl OpenBackends {
    /// None is open; `limit` may be.
    pub fn new(limit: usize) -> OpenBackends {
        let (next, opened) = (0, BTreeMap::new());
        let numbers = OpenNumbers { open: 0, limit, in_use: 0, rested: 0, next, opened };
        OpenBackends(Arc::new(OpenBackendsState {
            numbers: Leaf::new(numbers),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// How many are open.
    pub fn now(&self) -> usize {
        self.0.numbers.lock().open
    }

    /// Counts one more, if fewer than the limit and than `below` are open.
    pub fn reserve(&self, below: usize) -> Option<OpenCount> {
        let mut numbers = self.0.numbers.lock();
        if numbers.open >= numbers.most().min(below) {
            return None;
        }
        numbers.open += 1;
        let number = numbers.next;
        numbers.next += 1;
        drop(numbers);
        Some(OpenCount { shared: Arc::clone(&self.0), number })
    }

    /// Up to `limit` backends that have been opened, behind the one of this number, in the order
    /// of their numbers.
    pub fn opened_after(&self, after: Option<u64>, limit: usize) -> Vec<(u64, OpenBackend)> {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let numbers = self.0.numbers.lock();
        let opened = numbers.opened.range(behind).take(limit);
        opened.map(|(number, backend)| (*number, backend.clone())).collect()
    }

    /// Sets how many may be open: `limit`, or `in_use` permits while those are more. What is
    /// open stays so.
    pub fn set_limit(&self, limit: usize, in_use: usize) {
        let mut numbers = self.0.numbers.lock();
        (numbers.limit, numbers.in_use) = (limit, in_use);
        drop(numbers);
        self.0.changed.notify_all();
    }

    /// How many more are open than may be in the end.
    pub fn surplus(&self) -> usize {
        let numbers = self.0.numbers.lock();
        numbers.open.saturating_sub(numbers.limit)
    }

    /// Waits for room from now on.
    pub fn waiter(&self) -> RoomWaiter {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        RoomWaiter { shared: Arc::clone(&self.0), seen: self.0.numbers.lock().rested }
    }

    /// How many wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// One has come to rest. Whoever waits for room can use it, and there may never be any: fewer may
    /// be open by now.
    pub fn rests(&self) {
        if self.0.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.0.numbers.lock().rested += 1;
        self.0.changed.notify_all();
    }
}

impl OpenNumbers {
    fn most(&self) -> usize {
        self.limit.max(self.in_use)
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        let mut numbers = self.shared.numbers.lock();
        numbers.open -= 1;
        let gone = numbers.opened.remove(&self.number);
        drop(numbers);
        drop(gone);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_more_are_open_than_the_limit_and_who_waits_is_woken_by_the_next_to_close() {
        let open = OpenBackends::new(2);
        let first = open.reserve(usize::MAX).expect("room");
        assert!(open.reserve(1).is_none());
        let second = open.reserve(usize::MAX).expect("room");
        assert!(open.reserve(usize::MAX).is_none());
        open.waiter().wait(clock::now());
        let waits = std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                open.waiter().wait(clock::now() + Duration::from_secs(60));
                open.reserve(usize::MAX).is_some()
            });
            drop(first);
            waits.join()
        });
        assert!(waits.expect("no panic"));
        open.set_limit(1, 2);
        let third = open.reserve(usize::MAX).expect("as many permits are in use");
        assert_eq!(open.surplus(), 1);
        open.set_limit(1, 1);
        drop(second);
        assert!(open.reserve(usize::MAX).is_none());
        drop(third);
        assert_eq!(open.surplus(), 0);
        assert_eq!(open.now(), 0);
    }

    #[test]
    fn who_waits_for_room_is_woken_by_one_that_comes_to_rest() {
        let open = OpenBackends::new(1);
        let _only = open.reserve(usize::MAX).expect("room");
        open.rests();
        let mut waiter = open.waiter();
        // Between the look and the wait.
        open.rests();
        let until = clock::now() + Duration::from_secs(60);
        waiter.wait(until);
        assert!(clock::now() < until, "nothing was closed, and there is no room");
        // Each is noticed once.
        waiter.wait(clock::now());
        std::thread::scope(|scope| {
            let waits = scope.spawn(move || waiter.wait(until));
            // Whenever it looks, it finds it.
            open.rests();
            waits.join().expect("no panic");
        });
        assert!(clock::now() < until);
        assert_eq!(open.waiting(), 0);
    }
}

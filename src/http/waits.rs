//! Connections whose clients are waited for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The lock is a leaf.
pub(super) fn lock<T>(waits: &Mutex<Waits<T>>) -> MutexGuard<'_, Waits<T>> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections whose clients are waited for, and how long they may take.
pub(super) struct Waits<T> {
    next: u64,
    pub(super) all: BTreeMap<u64, (Instant, T)>,
}

impl<T> Default for Waits<T> {
    fn default() -> Self {
        Waits { next: 0, all: BTreeMap::new() }
    }
}

impl<T> Waits<T> {
    /// A name for one more.
    pub(super) fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// This one may take until then.
    pub(super) fn put(&mut self, id: u64, until: Instant, connection: T) -> Option<(Instant, T)> {
        self.all.insert(id, (until, connection))
    }

    /// This one is not waited for any more.
    pub(super) fn remove(&mut self, id: u64) -> Option<(Instant, T)> {
        self.all.remove(&id)
    }

    /// The one that has been late for longest, if any is.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<T> {
        let late = self.all.iter().filter(|(_, (until, _))| *until <= now);
        let (id, _) = late.min_by_key(|(_, (until, _))| *until)?;
        let id = *id;
        self.remove(id).map(|(_, connection)| connection)
    }
}

//! Deadlines of clients that the service waits for.

use std::collections::BTreeMap;
use std::time::Instant;

/// The connections whose clients the service waits for, each with its deadline.
pub(super) struct ClientDeadlines<T> {
    next: u64,
    pub(super) all: BTreeMap<u64, (Instant, T)>,
}

impl<T> Default for ClientDeadlines<T> {
    fn default() -> Self {
        ClientDeadlines { next: 0, all: BTreeMap::new() }
    }
}

impl<T> ClientDeadlines<T> {
    /// An id for a new connection.
    pub(super) fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Sets the deadline of this connection; returns the entry that it replaces.
    pub(super) fn put(&mut self, id: u64, until: Instant, connection: T) -> Option<(Instant, T)> {
        self.all.insert(id, (until, connection))
    }

    /// Removes the deadline of this connection.
    pub(super) fn remove(&mut self, id: u64) -> Option<(Instant, T)> {
        self.all.remove(&id)
    }

    /// Takes out the connection that is past its deadline for the longest time, if any.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<T> {
        let late = self.all.iter().filter(|(_, (until, _))| *until <= now);
        let (id, _) = late.min_by_key(|(_, (until, _))| *until)?;
        let id = *id;
        self.remove(id).map(|(_, connection)| connection)
    }
}

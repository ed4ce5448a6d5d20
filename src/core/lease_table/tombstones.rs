//! Tombstones: the leases that ended most recently.

use super::super::ids::ConnectionId;
use super::{Denied, Tombstone};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The leases that ended most recently, bounded in number and age.
#[derive(Debug)]
pub(super) struct Tombstones {
    max: usize,
    age: Duration,
    pub(super) by_id: HashMap<ConnectionId, Tombstone>,
    /// The oldest first. Invariant: the same ids as in `by_id`.
    pub(super) order: VecDeque<ConnectionId>,
}

impl Tombstones {
    pub(super) fn new(max: usize, age: Duration) -> Self {
        Tombstones { max, age, by_id: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn insert(&mut self, id: ConnectionId, tombstone: Tombstone) {
        self.order.push_back(id.clone());
        self.by_id.insert(id, tombstone);
        if self.order.len() > self.max {
            self.forget_first();
        }
    }

    /// The answer for an id without a lease. An expired tombstone does not count, even if it has
    /// not been dropped yet.
    pub(super) fn denied(&self, id: &ConnectionId, now: Instant) -> Denied {
        match self.by_id.get(id) {
            Some(tombstone) if !self.is_old(tombstone, now) => Denied::Ended(tombstone.clone()),
            _ => Denied::NotFound,
        }
    }

    /// Drops expired tombstones: more than a call adds on average, but few enough to do in every
    /// call.
    pub(super) fn forget_old(&mut self, now: Instant) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let first = self.order.front().and_then(|id| self.by_id.get(id));
            if !first.is_some_and(|tombstone| self.is_old(tombstone, now)) {
                break;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(id) = self.order.pop_front() {
            self.by_id.remove(&id);
        }
    }

    fn is_old(&self, tombstone: &Tombstone, now: Instant) -> bool {
        now.saturating_duration_since(tombstone.ended_at) > self.age
    }
}

const FORGOTTEN_AT_ONCE: usize = 16;

//! Permits, and a bounded queue of items that wait for one.

use super::deadlines::Deadlines;
use std::collections::BTreeMap;
use std::time::Instant;

/// A number of permits and a first-come-first-served queue of items that wait for one.
///
/// Invariants: permits in use plus free permits is the number of permits, but for those in use
/// beyond it after a [`resize`](WaitQueue::resize) to fewer; a queued item is returned exactly once
/// (granted, expired, left or cleared); no live waiter is passed over.
///
/// A waiter is live while its deadline is after `now`. An expired one keeps its place, and counts
/// against the bound, until [`expire`](WaitQueue::expire) or a hand-out returns it; the caller must
/// then answer it.
#[derive(Debug)]
pub struct WaitQueue<T> {
    permits: usize,
    used: usize,
    max_waiters: usize,
    next_id: u64,
    /// Ids only grow, so the order of the ids is the order of arrival.
    waiters: BTreeMap<WaiterId, QueuedItem<T>>,
    deadlines: Deadlines<WaiterId>,
}

/// A place in one queue, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// The queue's answer to an item.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<T> {
    /// It has a permit, which is returned with [`WaitQueue::give_back`].
    Granted(T),
    /// The queue keeps it until a permit is free.
    Queued {
        /// Its place, for [`WaitQueue::leave`].
        id: WaiterId,
        /// How many wait up to and including it: 1 is the next to be served.
        position: usize,
    },
    /// The queue is full.
    Refused(T),
}

/// The waiters that were removed when permits were handed out.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Handed<T> {
    /// Waiters that have a permit now, the oldest first.
    pub granted: Vec<T>,
    /// Waiters in front whose deadline had passed; they have no permit.
    pub expired: Vec<T>,
    /// Waiters in front that were not allowed a permit.
    pub refused: Vec<T>,
}

#[derive(Debug)]
struct QueuedItem<T> {
    item: T,
    deadline: Instant,
}

impl<T> WaitQueue<T> {
    /// A queue with all its permits free.
    ///
    /// With `max_waiters` zero, an item that finds no permit is refused.
    pub fn new(permits: usize, max_waiters: usize) -> Self {
        WaitQueue {
            permits,
            used: 0,
            max_waiters,
            next_id: 0,
            waiters: BTreeMap::new(),
            deadlines: Deadlines::new(),
        }
    }

    /// Grants a permit if one is free and no live waiter is ahead; otherwise queues the item.
    ///
    /// The deadline applies only to waiting: an item whose deadline has passed still gets a free
    /// permit.
    pub fn admit(&mut self, item: T, deadline: Instant, now: Instant) -> Admission<T> {
        if self.is_open(now) {
            self.used += 1;
            return Admission::Granted(item);
        }
        self.admit_parked(item, deadline)
    }

    /// Sets the number of permits and of waiters. Grants nothing; permits in use and waiters stay,
    /// even if they are more than that.
    pub(super) fn resize(&mut self, permits: usize, max_waiters: usize) {
        self.permits = permits;
        self.max_waiters = max_waiters;
    }

    /// Whether an item would be granted a permit at once.
    pub fn is_open(&self, now: Instant) -> bool {
        // A permit is free while an item waits only if the gate is opening or all earlier waiters
        // have expired, so this search is short or does not happen.
        let is_live = |waiter: &QueuedItem<T>| waiter.deadline > now;
        self.free() > 0 && !self.waiters.values().any(is_live)
    }

    /// Queues the item even if a permit is free; refuses it if the queue is full.
    pub fn admit_parked(&mut self, item: T, deadline: Instant) -> Admission<T> {
        if self.waiters.len() >= self.max_waiters {
            return Admission::Refused(item);
        }
        let id = WaiterId(self.next_id);
        self.next_id += 1;
        self.waiters.insert(id, QueuedItem { item, deadline });
        self.deadlines.set(id, deadline);
        Admission::Queued { id, position: self.waiters.len() }
    }

    /// Takes a permit for work that does not wait; true if one was free and no item waits.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        let taken = self.free() > 0 && self.waiters.is_empty();
        if taken {
            self.used += 1;
        }
        taken
    }

    /// Takes a free permit even if somebody waits.
    #[must_use]
    pub(super) fn take_free(&mut self) -> bool {
        let taken = self.free() > 0;
        self.used += usize::from(taken);
        taken
    }

    /// Returns one permit and hands out what is free.
    #[cfg(test)]
    pub fn give_back(&mut self, now: Instant) -> Handed<T> {
        self.put_back();
        self.hand_out(now, usize::MAX, |_| true)
    }

    /// Returns one permit without handing it on.
    pub(super) fn put_back(&mut self) {
        debug_assert!(self.used > 0, "a permit came back that was never out");
        self.used = self.used.saturating_sub(1);
    }

    /// Gives free permits to the oldest live waiters, to `at_most` of them.
    ///
    /// Only expired waiters ahead of those are returned as expired. A live waiter whose turn it is
    /// but that `may` not have a permit is returned as refused.
    pub fn hand_out(
        &mut self,
        now: Instant,
        at_most: usize,
        mut may: impl FnMut(&T) -> bool,
    ) -> Handed<T> {
        let mut handed = Handed::default();
        while self.free() > 0 && handed.granted.len() < at_most {
            let Some((id, waiter)) = self.waiters.pop_first() else { break };
            self.deadlines.clear(&id);
            if waiter.deadline <= now {
                handed.expired.push(waiter.item);
            } else if may(&waiter.item) {
                self.used += 1;
                handed.granted.push(waiter.item);
            } else {
                handed.refused.push(waiter.item);
            }
        }
        handed
    }

    /// Removes a waiter that no longer wants to wait.
    ///
    /// `None` if it no longer waits: it was granted a permit or has expired.
    pub fn leave(&mut self, id: WaiterId) -> Option<T> {
        self.deadlines.clear(&id);
        self.waiters.remove(&id).map(|waiter| waiter.item)
    }

    /// Gives a waiter another deadline. False: it no longer waits.
    pub fn postpone(&mut self, id: WaiterId, deadline: Instant) -> bool {
        let Some(waiter) = self.waiters.get_mut(&id) else {
            return false;
        };
        waiter.deadline = deadline;
        self.deadlines.set(id, deadline);
        true
    }

    /// Removes up to `limit` waiters whose deadline is `now` or earlier, the earliest first, each
    /// with the position it had reached.
    #[must_use]
    pub fn expire(&mut self, now: Instant, limit: usize) -> Vec<(T, usize)> {
        let due = self.deadlines.pop_due(now, limit);
        let mut expired = Vec::with_capacity(due.len());
        for id in due {
            // Most expire in the order of arrival, so few are ahead of them.
            let position = self.waiters.range(..=id).count();
            expired.extend(self.leave(id).map(|item| (item, position)));
        }
        expired
    }

    /// When [`expire`](WaitQueue::expire) is due next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Removes all waiters, the oldest first. Permits in use stay in use.
    #[must_use]
    pub fn clear(&mut self) -> Vec<T> {
        self.deadlines = Deadlines::new();
        let waiters = std::mem::take(&mut self.waiters);
        waiters.into_values().map(|waiter| waiter.item).collect()
    }

    /// Permits in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Permits that are free.
    pub fn free(&self) -> usize {
        self.permits.saturating_sub(self.used)
    }

    /// The item that has waited longest.
    pub fn oldest(&self) -> Option<&T> {
        self.waiters.first_key_value().map(|(_, waiter)| &waiter.item)
    }

    /// Waiters in the queue, expired ones included.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// All permits, in use or free.
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// How many may wait at a time.
    pub fn max_waiters(&self) -> usize {
        self.max_waiters
    }
}

impl<T> Default for Handed<T> {
    fn default() -> Self {
        Handed { granted: Vec::new(), expired: Vec::new(), refused: Vec::new() }
    }
}

#[cfg(test)]
mod tests;

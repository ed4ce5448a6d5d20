//! Permits, and a bounded line of those who wait for one.

use super::deadlines::Deadlines;
use std::collections::BTreeMap;
use std::time::Instant;

/// A fixed number of permits and a first-come-first-served queue of items that wait for one.
///
/// Invariants: permits out plus permits free is the number of permits; an item that was queued
/// comes out exactly once (granted, expired, left or cleared); no live waiter is passed over.
///
/// A waiter is live while its deadline lies after `now`. An expired one keeps its place, and counts
/// against the bound, until [`expire`](WaitQueue::expire) or a hand-out takes it out: there it comes
/// back to the caller, who owes it an answer.
#[derive(Debug)]
pub struct WaitQueue<T> {
    permits: usize,
    used: usize,
    max_waiters: usize,
    next_id: u64,
    /// Ids only grow, so the order of the ids is the order of arrival.
    waiters: BTreeMap<WaiterId, Waiter<T>>,
    deadlines: Deadlines<WaiterId>,
}

/// A place in one queue. It is never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// What became of an item at the queue's entrance.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<T> {
    /// It has a permit, which goes back with [`WaitQueue::give_back`].
    Granted(T),
    /// The queue keeps it until a permit is free.
    Queued {
        /// Its place, for [`WaitQueue::leave`].
        id: WaiterId,
        /// How many stand in the queue up to and including it: 1 is the next to be served.
        position: usize,
    },
    /// The queue is full.
    Refused(T),
}

/// The waiters that came out when permits were handed out.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Handed<T> {
    /// These have a permit now, the oldest first.
    pub granted: Vec<T>,
    /// These waited too long and were passed over when they stood in front; they have no permit.
    pub expired: Vec<T>,
    /// These stood in front and were not allowed a permit.
    pub refused: Vec<T>,
}

#[derive(Debug)]
struct Waiter<T> {
    item: T,
    deadline: Instant,
}

impl<T> WaitQueue<T> {
    /// A queue with all its permits free.
    ///
    /// With `max_waiters` zero, whoever finds no permit is refused.
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

    /// Grants a permit if one is free and no live waiter stands in front, else queues the item.
    ///
    /// The item's own deadline counts only for waiting: one that has passed does not keep a free
    /// permit from it.
    pub fn admit(&mut self, item: T, deadline: Instant, now: Instant) -> Admission<T> {
        if self.is_open(now) {
            self.used += 1;
            return Admission::Granted(item);
        }
        self.admit_parked(item, deadline)
    }

    /// Whether an item would be granted a permit at once.
    pub fn is_open(&self, now: Instant) -> bool {
        // Permits are free while somebody waits only behind a door that is opening, or behind
        // expired waiters, so this search is short or does not happen.
        let is_live = |waiter: &Waiter<T>| waiter.deadline > now;
        self.free() > 0 && !self.waiters.values().any(is_live)
    }

    /// Queues the item even if a permit is free; refuses it if the queue is full.
    pub fn admit_parked(&mut self, item: T, deadline: Instant) -> Admission<T> {
        if self.waiters.len() >= self.max_waiters {
            return Admission::Refused(item);
        }
        let id = WaiterId(self.next_id);
        self.next_id += 1;
        self.waiters.insert(id, Waiter { item, deadline });
        self.deadlines.set(id, deadline);
        Admission::Queued { id, position: self.waiters.len() }
    }

    /// Takes a permit for work that does not wait; true if one was free and nobody waits.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        let taken = self.free() > 0 && self.waiters.is_empty();
        if taken {
            self.used += 1;
        }
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
    /// The expired waiters in front of those, and no others, come out as expired. A live waiter
    /// whose turn it is and that `may` not have a permit comes out as refused.
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

    /// Takes a waiter out, because it does not want to wait any longer.
    ///
    /// None means that it came out before: with a permit, or expired.
    pub fn leave(&mut self, id: WaiterId) -> Option<T> {
        self.deadlines.clear(&id);
        self.waiters.remove(&id).map(|waiter| waiter.item)
    }

    /// Gives a waiter another deadline. False: it came out before.
    pub fn postpone(&mut self, id: WaiterId, deadline: Instant) -> bool {
        let Some(waiter) = self.waiters.get_mut(&id) else {
            return false;
        };
        waiter.deadline = deadline;
        self.deadlines.set(id, deadline);
        true
    }

    /// Takes out up to `limit` waiters whose deadline is `now` or earlier, the earliest first, each
    /// with the position it had come to.
    #[must_use]
    pub fn expire(&mut self, now: Instant, limit: usize) -> Vec<(T, usize)> {
        let due = self.deadlines.pop_due(now, limit);
        let mut expired = Vec::with_capacity(due.len());
        for id in due {
            // Most expire in the order of arrival, so that few stand before them.
            let position = self.waiters.range(..=id).count();
            expired.extend(self.leave(id).map(|item| (item, position)));
        }
        expired
    }

    /// When [`expire`](WaitQueue::expire) will next find somebody.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Takes all waiters out, the oldest first. Permits that are out stay out.
    #[must_use]
    pub fn clear(&mut self) -> Vec<T> {
        self.deadlines = Deadlines::new();
        let waiters = std::mem::take(&mut self.waiters);
        waiters.into_values().map(|waiter| waiter.item).collect()
    }

    /// Permits that are out.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Permits that are not out.
    pub fn free(&self) -> usize {
        self.permits - self.used
    }

    /// Who has stood in the queue for the longest.
    pub fn oldest(&self) -> Option<&T> {
        self.waiters.first_key_value().map(|(_, waiter)| &waiter.item)
    }

    /// Waiters in the queue, expired ones included.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// All permits, out or free.
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

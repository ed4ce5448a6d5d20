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
    /// These waited too long and were passed over; they have no permit.
    pub expired: Vec<T>,
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
        // Permits are free while somebody waits only behind a door that is opening, or behind
        // expired waiters, so this search is short or does not happen.
        let is_live = |waiter: &Waiter<T>| waiter.deadline > now;
        if self.free() > 0 && !self.waiters.values().any(is_live) {
            self.used += 1;
            return Admission::Granted(item);
        }
        self.admit_parked(item, deadline)
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
    pub fn give_back(&mut self, now: Instant) -> Handed<T> {
        self.put_back();
        self.hand_out(now, usize::MAX)
    }

    /// Returns one permit without handing it on.
    pub(super) fn put_back(&mut self) {
        debug_assert!(self.used > 0, "a permit came back that was never out");
        self.used = self.used.saturating_sub(1);
    }

    /// Gives free permits to the oldest live waiters, to `at_most` of them.
    ///
    /// The expired waiters in front of those, and no others, come out as expired.
    pub fn hand_out(&mut self, now: Instant, at_most: usize) -> Handed<T> {
        let mut handed = Handed::default();
        while self.free() > 0 && handed.granted.len() < at_most {
            let Some((id, waiter)) = self.waiters.pop_first() else { break };
            self.deadlines.clear(&id);
            if waiter.deadline > now {
                self.used += 1;
                handed.granted.push(waiter.item);
            } else {
                handed.expired.push(waiter.item);
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

    /// Takes out up to `limit` waiters whose deadline is `now` or earlier, the earliest first.
    #[must_use]
    pub fn expire(&mut self, now: Instant, limit: usize) -> Vec<T> {
        let due = self.deadlines.pop_due(now, limit);
        due.into_iter().filter_map(|id| self.leave(id)).collect()
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
        Handed { granted: Vec::new(), expired: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ms, start, Xorshift};
    use super::*;
    use std::collections::BTreeSet;

    fn queued(admission: Admission<u32>) -> WaiterId {
        match admission {
            Admission::Queued { id, .. } => id,
            other => panic!("not queued: {other:?}"),
        }
    }

    #[test]
    fn permits_are_granted_until_none_is_free_and_then_items_queue() {
        let t0 = start();
        let mut queue = WaitQueue::new(1, 2);
        let late = t0 + ms(100);
        assert_eq!(queue.admit(1, late, t0), Admission::Granted(1));
        assert!(matches!(queue.admit(2, late, t0), Admission::Queued { position: 1, .. }));
        assert!(matches!(queue.admit(3, late, t0), Admission::Queued { position: 2, .. }));
        assert_eq!(queue.admit(4, late, t0), Admission::Refused(4));
        assert_eq!((queue.used(), queue.free(), queue.waiting()), (1, 0, 2));
        assert_eq!(queue.give_back(t0), Handed { granted: vec![2], expired: vec![] });
        assert_eq!(queue.clear(), [3]);
        assert_eq!(queue.next_deadline(), None);
    }

    #[test]
    fn an_expired_waiter_is_passed_over_and_comes_out() {
        let t0 = start();
        let mut queue = WaitQueue::new(1, 5);
        assert!(queue.try_take());
        queued(queue.admit(1, t0 + ms(10), t0));
        queued(queue.admit(2, t0 + ms(90), t0));
        queued(queue.admit(3, t0 + ms(10), t0));
        let handed = queue.give_back(t0 + ms(10));
        assert_eq!(handed, Handed { granted: vec![2], expired: vec![1] });
        assert_eq!(queue.next_deadline(), Some(t0 + ms(10)));
        assert_eq!(queue.expire(t0 + ms(10), 9), [3]);
    }

    #[test]
    fn an_expired_waiter_counts_until_it_is_taken_out_but_blocks_nobody() {
        let t0 = start();
        let mut queue = WaitQueue::new(1, 1);
        queued(queue.admit_parked(1, t0));
        assert_eq!(queue.admit_parked(2, t0 + ms(9)), Admission::Refused(2));
        assert!(!queue.try_take());
        assert_eq!(queue.admit(3, t0 + ms(9), t0), Admission::Granted(3));
    }

    #[test]
    fn a_free_permit_does_not_pass_a_live_waiter() {
        let t0 = start();
        let mut queue = WaitQueue::new(2, 5);
        queued(queue.admit_parked(1, t0 + ms(10)));
        queued(queue.admit(2, t0 + ms(10), t0));
        assert_eq!(queue.hand_out(t0, 1), Handed { granted: vec![1], expired: vec![] });
        assert_eq!(queue.hand_out(t0, 9), Handed { granted: vec![2], expired: vec![] });
    }

    #[test]
    fn whoever_leaves_does_so_once() {
        let t0 = start();
        let mut queue = WaitQueue::new(0, 5);
        let id = queued(queue.admit(1, t0 + ms(10), t0));
        assert_eq!(queue.leave(id), Some(1));
        assert_eq!(queue.leave(id), None);
        assert!(queue.expire(t0 + ms(20), 9).is_empty());
    }

    /// The queue again, as a list that is searched from end to end.
    struct Model {
        permits: usize,
        max_waiters: usize,
        used: usize,
        waiters: Vec<(WaiterId, u32, Instant)>,
    }

    impl Model {
        fn hand_out(&mut self, now: Instant, at_most: usize) -> Handed<u32> {
            let mut handed = Handed::default();
            while self.used < self.permits && handed.granted.len() < at_most {
                if self.waiters.is_empty() {
                    break;
                }
                let (_, item, deadline) = self.waiters.remove(0);
                if deadline <= now {
                    handed.expired.push(item);
                } else {
                    self.used += 1;
                    handed.granted.push(item);
                }
            }
            handed
        }

        fn expire(&mut self, now: Instant, limit: usize) -> Vec<u32> {
            let mut due: Vec<_> = self.waiters.iter().filter(|w| w.2 <= now).copied().collect();
            due.sort_by_key(|(id, _, deadline)| (*deadline, *id));
            due.truncate(limit);
            self.waiters.retain(|waiter| !due.contains(waiter));
            due.into_iter().map(|(_, item, _)| item).collect()
        }

        fn arrive(&mut self, admission: Admission<u32>, item: u32, deadline: Instant) -> Vec<u32> {
            match admission {
                Admission::Granted(out) => {
                    self.used += 1;
                    vec![out]
                }
                Admission::Queued { id, position } => {
                    self.waiters.push((id, item, deadline));
                    assert_eq!(position, self.waiters.len());
                    vec![]
                }
                Admission::Refused(out) => {
                    assert_eq!(self.waiters.len(), self.max_waiters);
                    vec![out]
                }
            }
        }
    }

    #[test]
    fn random_runs_agree_with_a_plain_list_and_every_item_comes_out_once() {
        for seed in 1..=8 {
            let mut random = Xorshift::new(seed);
            let (permits, max_waiters) = (random.below(5) as usize, random.below(8) as usize);
            let mut queue = WaitQueue::new(permits, max_waiters);
            let mut model = Model { permits, max_waiters, used: 0, waiters: Vec::new() };
            let (mut now, mut items, mut out) = (start(), 0, BTreeSet::new());
            for _ in 0..5_000 {
                now += ms(random.below(4));
                let came_out = match random.below(16) {
                    0..=4 => {
                        let deadline = now + ms(random.below(40));
                        let live = model.waiters.iter().any(|w| w.2 > now);
                        let grant = model.used < permits && !live;
                        let admission = queue.admit(items, deadline, now);
                        assert_eq!(admission == Admission::Granted(items), grant);
                        items += 1;
                        model.arrive(admission, items - 1, deadline)
                    }
                    5 => {
                        let deadline = now + ms(random.below(40));
                        let admission = queue.admit_parked(items, deadline);
                        assert_ne!(admission, Admission::Granted(items));
                        items += 1;
                        model.arrive(admission, items - 1, deadline)
                    }
                    6 => {
                        let taken = model.used < permits && model.waiters.is_empty();
                        assert_eq!(queue.try_take(), taken);
                        model.used += usize::from(taken);
                        vec![]
                    }
                    7..=10 if model.used > 0 => {
                        model.used -= 1;
                        let handed = queue.give_back(now);
                        assert_eq!(handed, model.hand_out(now, usize::MAX));
                        [handed.granted, handed.expired].concat()
                    }
                    11 => {
                        let at_most = random.below(3) as usize;
                        let handed = queue.hand_out(now, at_most);
                        assert_eq!(handed, model.hand_out(now, at_most));
                        [handed.granted, handed.expired].concat()
                    }
                    12 | 13 if !model.waiters.is_empty() => {
                        let index = random.below(model.waiters.len() as u64) as usize;
                        let (id, item, _) = model.waiters.remove(index);
                        assert_eq!(queue.leave(id), Some(item));
                        assert_eq!(queue.leave(id), None);
                        vec![item]
                    }
                    14 => {
                        let limit = random.below(4) as usize;
                        let expired = queue.expire(now, limit);
                        assert_eq!(expired, model.expire(now, limit));
                        expired
                    }
                    15 if random.below(20) == 0 => {
                        let all: Vec<u32> = model.waiters.drain(..).map(|w| w.1).collect();
                        assert_eq!(queue.clear(), all);
                        all
                    }
                    _ => vec![],
                };
                for item in came_out {
                    assert!(out.insert(item), "item {item} came out twice");
                }
                assert_eq!((queue.used(), queue.waiting()), (model.used, model.waiters.len()));
                assert_eq!(queue.used() + queue.free(), queue.permits());
                assert!(queue.waiting() <= queue.max_waiters());
                assert_eq!(queue.next_deadline(), model.waiters.iter().map(|w| w.2).min());
            }
            out.extend(queue.clear());
            assert_eq!(out.len(), items as usize);
        }
    }
}

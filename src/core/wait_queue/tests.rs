//! The queue case by case, and against a model that is a list.

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
    assert_eq!(queue.give_back(t0), Handed { granted: vec![2], expired: vec![], refused: vec![] });
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
    assert_eq!(handed, Handed { granted: vec![2], expired: vec![1], refused: vec![] });
    assert_eq!(queue.next_deadline(), Some(t0 + ms(10)));
    assert_eq!(queue.expire(t0 + ms(10), 9), [(3, 1)]);
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
    assert_eq!(
        queue.hand_out(t0, 1, |_| true),
        Handed { granted: vec![1], expired: vec![], refused: vec![] }
    );
    assert_eq!(
        queue.hand_out(t0, 9, |_| true),
        Handed { granted: vec![2], expired: vec![], refused: vec![] }
    );
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
                assert!(self.waiters.len() >= self.max_waiters);
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
                    let grant = model.used < model.permits && !live;
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
                    let taken = model.used < model.permits && model.waiters.is_empty();
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
                    let handed = queue.hand_out(now, at_most, |_| true);
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
                    let expired = queue.expire(now, limit).into_iter();
                    let expired: Vec<u32> = expired.map(|(item, _)| item).collect();
                    assert_eq!(expired, model.expire(now, limit));
                    expired
                }
                15 if random.below(10) == 0 => {
                    model.permits = random.below(6) as usize;
                    model.max_waiters = random.below(8) as usize;
                    queue.resize(model.permits, model.max_waiters);
                    vec![]
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
            let free = model.permits.saturating_sub(model.used);
            assert_eq!((queue.free(), queue.permits()), (free, model.permits));
            assert_eq!(queue.next_deadline(), model.waiters.iter().map(|w| w.2).min());
        }
        out.extend(queue.clear());
        assert_eq!(out.len(), items as usize);
    }
}

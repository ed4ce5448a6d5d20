//! The gate case by case, and against a model that is a list.

use super::super::testing::{ms, start, Xorshift};
use super::*;
use std::collections::BTreeSet;

mod paused;
mod resized;

/// A gate of `permits` with items 0, 1 and 2 at it: 0 is the opener, the others wait.
fn three_at_the_door(permits: usize, t0: Instant) -> Gate<u32> {
    let mut gate = Gate::opening(permits, 2, permits);
    assert_eq!(gate.admit(0, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Granted(0));
    for item in 1..=2 {
        let entry = gate.admit(item, Asks::PATIENT, t0 + ms(50), t0);
        assert!(matches!(entry, GateEntry::Queued { position, .. } if position == item as usize));
    }
    gate
}

#[test]
fn the_first_caller_opens_and_the_others_wait_for_it() {
    let t0 = start();
    let mut gate = three_at_the_door(3, t0);
    assert!(!gate.try_take());
    let full = GateRefusal::QueueFull { used: 1, waiting: 2, limit: 2 };
    assert_eq!(gate.admit(3, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Refused(3, full));
    assert_eq!(gate.opened(t0), Handed { granted: vec![1, 2], expired: vec![], refused: vec![] });
    assert_eq!((gate.state(), gate.used(), gate.permits()), (GateState::Active, 3, 3));
    assert_eq!(gate.opened(t0), Handed::default());
    assert!(gate.failed().is_empty());
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert!(gate.try_take());
}

#[test]
fn an_opener_that_gives_up_passes_the_task_to_one_live_waiter() {
    let t0 = start();
    let mut gate = three_at_the_door(3, t0);
    assert_eq!(
        gate.finish(None, t0),
        Handed { granted: vec![1], expired: vec![], refused: vec![] }
    );
    assert_eq!((gate.state(), gate.used(), gate.waiting()), (GateState::Opening, 1, 1));
    assert_eq!(
        gate.finish(None, t0 + ms(50)),
        Handed { granted: vec![], expired: vec![2], refused: vec![] }
    );
    assert!(gate.is_abandoned());
    assert_eq!(gate.admit(3, Asks::PATIENT, t0, t0), GateEntry::Granted(3));
    assert!(!gate.is_abandoned());
}

#[test]
fn a_gate_that_failed_lets_everybody_out_and_nobody_in() {
    let t0 = start();
    let mut gate = three_at_the_door(1, t0);
    assert_eq!(gate.failed(), [1, 2]);
    assert_eq!(gate.state(), GateState::Closed);
    assert_eq!(
        gate.admit(3, Asks::PATIENT, t0 + ms(50), t0),
        GateEntry::Refused(3, GateRefusal::Closed)
    );
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert_eq!((gate.used(), gate.is_abandoned()), (0, false));
}

#[test]
fn a_draining_gate_takes_permits_back_and_gives_none() {
    let t0 = start();
    let mut gate = three_at_the_door(2, t0);
    assert_eq!(gate.drain(), [1, 2]);
    assert_eq!(gate.opened(t0), Handed::default());
    assert_eq!(
        gate.admit(3, Asks::PATIENT, t0 + ms(50), t0),
        GateEntry::Refused(3, GateRefusal::Draining)
    );
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert!(!gate.try_take());
    assert!(gate.close().is_empty());
    assert!(gate.drain().is_empty());
    assert_eq!(gate.state(), GateState::Closed);
}

fn of(caller: &str) -> Asks {
    Asks { caller: Some(CallerId::new(caller)), may_wait: true }
}

#[test]
fn a_caller_gets_no_more_than_its_share_and_others_are_served() {
    let t0 = start();
    let late = t0 + ms(50);
    let mut gate = Gate::opening(3, 9, 2);
    assert_eq!(gate.admit(0, of("a"), late, t0), GateEntry::Granted(0));
    assert_eq!(gate.opened(t0), Handed::default());
    assert_eq!(gate.admit(1, of("a"), late, t0), GateEntry::Granted(1));
    let limit = GateRefusal::CallerLimit { used: 2, limit: 2 };
    assert_eq!(gate.admit(2, of("a"), late, t0), GateEntry::Refused(2, limit));
    assert_eq!(gate.admit(3, of("b"), late, t0), GateEntry::Granted(3));
    // What is held shortly is not counted, and waits.
    assert!(matches!(gate.admit(4, Asks::PATIENT, late, t0), GateEntry::Queued { .. }));
    let next = gate.finish(Some(&CallerId::new("a")), t0);
    assert_eq!(next.granted, [4]);
    assert_eq!(gate.held_by(&CallerId::new("a")), 1);
}

#[test]
fn a_waiter_whose_caller_has_its_share_by_then_is_refused_in_its_turn() {
    let t0 = start();
    let late = t0 + ms(50);
    let mut gate = Gate::opening(2, 9, 1);
    assert_eq!(gate.admit(0, Asks::PATIENT, late, t0), GateEntry::Granted(0));
    for item in 1..=3 {
        let caller = if item == 3 { "b" } else { "a" };
        assert!(matches!(gate.admit(item, of(caller), late, t0), GateEntry::Queued { .. }));
    }
    let handed = gate.opened(t0);
    assert_eq!((handed.granted, handed.refused), (vec![1], vec![]));
    let handed = gate.finish(None, t0);
    assert_eq!((handed.granted, handed.refused), (vec![3], vec![2]));
}

#[test]
fn where_one_caller_may_have_all_there_is_it_waits_for_itself() {
    let t0 = start();
    let mut gate = Gate::opening(1, 9, 1);
    assert_eq!(gate.admit(0, of("a"), t0 + ms(50), t0), GateEntry::Granted(0));
    assert_eq!(gate.opened(t0), Handed::default());
    assert!(matches!(
        gate.admit(1, of("a"), t0 + ms(50), t0),
        GateEntry::Queued { position: 1, .. }
    ));
    assert_eq!(gate.finish(Some(&CallerId::new("a")), t0).granted, [1]);
}

#[test]
fn an_item_that_may_not_wait_is_granted_at_once_or_refused() {
    let t0 = start();
    let impatient = || Asks { caller: None, may_wait: false };
    let mut gate = Gate::opening(1, 9, 1);
    assert_eq!(gate.admit(0, impatient(), t0, t0), GateEntry::Granted(0));
    assert_eq!(gate.admit(1, impatient(), t0, t0), GateEntry::Refused(1, GateRefusal::MayNotWait));
    assert_eq!(gate.opened(t0), Handed::default());
    assert_eq!(gate.admit(2, impatient(), t0, t0), GateEntry::Refused(2, GateRefusal::MayNotWait));
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert_eq!(gate.admit(3, impatient(), t0, t0), GateEntry::Granted(3));
}

#[test]
fn a_postponed_waiter_keeps_its_place() {
    let t0 = start();
    let mut gate = Gate::opening(1, 9, 1);
    assert_eq!(gate.admit(0, Asks::PATIENT, t0, t0), GateEntry::Granted(0));
    let GateEntry::Queued { id, .. } = gate.admit(1, Asks::PATIENT, t0 + ms(10), t0) else {
        panic!("it waits");
    };
    assert!(matches!(gate.admit(2, Asks::PATIENT, t0 + ms(20), t0), GateEntry::Queued { .. }));
    assert!(gate.postpone(id, t0 + ms(30)));
    assert_eq!(gate.expire(t0 + ms(20), 9), [(2, 2)]);
    assert_eq!(gate.opened(t0 + ms(20)), Handed::default());
    assert_eq!(gate.finish(None, t0 + ms(20)).granted, [1]);
    assert!(!gate.postpone(id, t0));
}

/// The gate again, as a list and a state.
struct Model {
    state: GateState,
    permits: usize,
    max_waiters: usize,
    used: usize,
    waiters: Vec<(WaiterId, u32, Instant)>,
}

impl Model {
    /// How many permits may be given out at this moment.
    fn room(&self) -> usize {
        match self.state {
            GateState::Opening => usize::from(self.used == 0 && self.permits > 0),
            GateState::Active => self.permits.saturating_sub(self.used),
            GateState::Draining | GateState::Closed => 0,
        }
    }

    fn let_in(&mut self, now: Instant) -> Handed<u32> {
        let mut handed = Handed::default();
        while self.room() > 0 && !self.waiters.is_empty() {
            let (_, item, deadline) = self.waiters.remove(0);
            if deadline > now {
                self.used += 1;
                handed.granted.push(item);
            } else {
                handed.expired.push(item);
            }
        }
        handed
    }

    fn send_away(&mut self, state: GateState) -> Vec<u32> {
        self.state = state;
        self.waiters.drain(..).map(|waiter| waiter.1).collect()
    }

    fn admit(
        &mut self,
        gate: &mut Gate<u32>,
        item: u32,
        deadline: Instant,
        now: Instant,
    ) -> Vec<u32> {
        let live = self.waiters.iter().any(|waiter| waiter.2 > now);
        let full = self.waiters.len() >= self.max_waiters;
        let (used, waiting) = (self.used, self.waiters.len());
        match gate.admit(item, Asks::PATIENT, deadline, now) {
            GateEntry::Granted(out) => {
                assert!(self.room() > 0 && !live);
                self.used += 1;
                vec![out]
            }
            GateEntry::Queued { id, position } => {
                assert!(matches!(self.state, GateState::Opening | GateState::Active));
                assert!((self.room() == 0 || live) && !full);
                self.waiters.push((id, item, deadline));
                assert_eq!(position, self.waiters.len());
                vec![]
            }
            GateEntry::Refused(out, refusal) => {
                let expected = match self.state {
                    GateState::Draining => GateRefusal::Draining,
                    GateState::Closed => GateRefusal::Closed,
                    GateState::Opening | GateState::Active => {
                        assert!(full && (self.room() == 0 || live));
                        GateRefusal::QueueFull { used, waiting, limit: self.max_waiters }
                    }
                };
                assert_eq!(refusal, expected);
                vec![out]
            }
        }
    }
}

/// One random life of a gate, from `Opening` on.
fn live_and_compare(random: &mut Xorshift, steps: u32) {
    let (permits, max_waiters) = (1 + random.below(4) as usize, random.below(8) as usize);
    let mut gate = Gate::opening(permits, max_waiters, permits);
    let state = GateState::Opening;
    let mut model = Model { state, permits, max_waiters, used: 0, waiters: Vec::new() };
    let (mut now, mut items, mut out) = (start(), 0, BTreeSet::new());
    for _ in 0..steps {
        now += ms(random.below(4));
        let came_out = match random.below(200) {
            0..=69 => {
                items += 1;
                model.admit(&mut gate, items - 1, now + ms(random.below(40)), now)
            }
            70..=119 if model.used > 0 => {
                model.used -= 1;
                let handed = gate.finish(None, now);
                assert_eq!(handed, model.let_in(now));
                [handed.granted, handed.expired].concat()
            }
            120..=139 => {
                let taken = model.state == GateState::Active && model.room() > 0;
                let taken = taken && model.waiters.is_empty();
                assert_eq!(gate.try_take(), taken);
                model.used += usize::from(taken);
                vec![]
            }
            140..=159 if !model.waiters.is_empty() => {
                let index = random.below(model.waiters.len() as u64) as usize;
                let (id, item, _) = model.waiters.remove(index);
                assert_eq!(gate.leave(id), Some(item));
                vec![item]
            }
            160..=179 => {
                let mut due = model.waiters.clone();
                due.retain(|waiter| waiter.2 <= now);
                due.sort_by_key(|waiter| (waiter.2, waiter.0));
                due.truncate(random.below(3) as usize);
                model.waiters.retain(|waiter| !due.contains(waiter));
                let expired = gate.expire(now, due.len()).into_iter();
                let expired: Vec<u32> = expired.map(|(item, _)| item).collect();
                assert_eq!(expired, due.iter().map(|waiter| waiter.1).collect::<Vec<_>>());
                expired
            }
            180..=183 => {
                let was_opening = model.state == GateState::Opening;
                let handed = gate.opened(now);
                if was_opening {
                    model.state = GateState::Active;
                    assert_eq!(handed, model.let_in(now));
                }
                [handed.granted, handed.expired].concat()
            }
            184 => {
                let gone = gate.failed();
                if model.state == GateState::Opening {
                    assert_eq!(gone, model.send_away(GateState::Closed));
                }
                gone
            }
            185 if model.state != GateState::Closed => {
                let gone = gate.drain();
                assert_eq!(gone, model.send_away(GateState::Draining));
                gone
            }
            186 if random.below(3) == 0 => {
                let gone = gate.close();
                assert_eq!(gone, model.send_away(GateState::Closed));
                gone
            }
            187..=192 => {
                model.permits = 1 + random.below(6) as usize;
                model.max_waiters = random.below(8) as usize;
                let handed = gate.resize(model.permits, model.max_waiters, now);
                assert_eq!(handed, model.let_in(now));
                [handed.granted, handed.expired].concat()
            }
            _ => vec![],
        };
        for item in came_out {
            assert!(out.insert(item), "item {item} came out twice");
        }
        assert_eq!(gate.state(), model.state);
        assert_eq!((gate.used(), gate.waiting()), (model.used, model.waiters.len()));
        assert_eq!(gate.permits(), model.permits);
        assert_eq!(gate.next_deadline(), model.waiters.iter().map(|waiter| waiter.2).min());
        let opening = model.state == GateState::Opening;
        assert!(!opening || model.used == 1 || model.waiters.is_empty());
        assert_eq!(gate.is_abandoned(), opening && model.used == 0);
    }
    out.extend(gate.close());
    assert_eq!(out.len(), items as usize);
}

#[test]
fn random_runs_agree_with_a_plain_list_and_every_item_comes_out_once() {
    for seed in 1..=50 {
        live_and_compare(&mut Xorshift::new(seed), 400);
    }
    for seed in 51..=60 {
        live_and_compare(&mut Xorshift::new(seed), 3_000);
    }
}

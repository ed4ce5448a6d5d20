//! A line at random, against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::core::testing::Xorshift;

/// What is known about a line from outside.
#[derive(Default)]
struct Model {
    /// Loans by slot.
    loans: BTreeMap<SlotId, usize>,
    waiting: BTreeMap<u32, Ticket>,
    answered: BTreeSet<u32>,
}

impl Model {
    fn take(&mut self, lent: &LentChannel<u64>, before: &[ChannelView<u64>], most: usize) {
        let slot = before.iter().find(|view| view.slot == lent.slot);
        assert!(slot.is_none_or(|slot| slot.state != "draining"), "a draining one was lent");
        let loans = self.loans.entry(lent.slot).or_default();
        *loans += 1;
        assert!(*loans <= most, "lent too often");
    }

    fn obey(&mut self, duty: Duty<u64, u32>, before: &[ChannelView<u64>], most: usize) {
        let mut last = None;
        for (who, lent) in &duty.grants {
            let ticket = self.waiting.remove(who).expect("it waited");
            assert!(last.is_none_or(|last| last < ticket), "out of order");
            assert!(self.waiting.values().all(|other| ticket < *other), "passed over");
            last = Some(ticket);
            assert!(self.answered.insert(*who), "answered twice");
            self.take(lent, before, most);
        }
        for (who, _) in &duty.refused {
            assert!(self.waiting.remove(who).is_some() && self.answered.insert(*who));
        }
        for (channel, _) in &duty.dropped {
            assert_eq!(self.loans.get(&SlotId(*channel)).copied().unwrap_or(0), 0, "still lent");
        }
    }
}

#[test]
fn whatever_happens_loans_and_waiters_add_up() {
    for seed in 1..=60 {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut chance = Xorshift::new(seed);
    let most = 1 + chance.below(3) as usize;
    let balance = [Balance::RoundRobin, Balance::Random, Balance::PowerOfTwo, Balance::LeastBusy];
    let balance = balance[chance.below(4) as usize];
    let addresses = 1 + chance.below(3) as usize;
    let mut now = start();
    let least = [None, Some(1), Some(3)][chance.below(3) as usize];
    let settings = LineupSettings { balance, least, idle: ms(500), ..settings(4, most) };
    let mut line = line_of(settings, addresses, now);
    let mut model = Model::default();
    for who in 0..400 {
        now += ms(chance.below(60));
        let before = line.views();
        let some = |chance: &mut Xorshift| match before.len() as u64 {
            0 => None,
            count => Some(before[chance.below(count) as usize].slot),
        };
        match chance.below(12) {
            0..=3 => {
                let wait_for_ready = chance.below(2) == 0;
                let prefer = some(&mut chance).filter(|_| who % 2 == 0);
                let wants = CheckoutWants { wait_for_ready, avoid: Some(0), prefer, ..PLAIN };
                match line.checkout(None, || who, wants, chance.below(1 << 40), now) {
                    CheckoutOutcome::Lent(lent) => {
                        assert!(model.waiting.is_empty(), "somebody was passed over");
                        model.take(&lent, &before, most);
                    }
                    CheckoutOutcome::Wait(ticket) => {
                        model.waiting.insert(who, ticket);
                    }
                    CheckoutOutcome::Refused(_) => {}
                }
            }
            4..=6 => {
                let given = model.loans.iter().find(|(_, loans)| **loans > 0);
                if let Some(slot) = given.map(|(slot, _)| *slot) {
                    *model.loans.get_mut(&slot).unwrap() -= 1;
                    let duty = line.give_back(slot, chance.below(5) == 0, chance.below(9), now);
                    model.obey(duty, &before, most);
                }
            }
            7 => {
                if let Some((who, ticket)) = model.waiting.pop_first() {
                    assert!(line.leave(ticket) && model.answered.insert(who));
                    assert!(!line.leave(ticket));
                }
            }
            8 => {
                let duty = line.resize(1 + chance.below(6) as usize, now);
                model.obey(duty, &before, most);
            }
            9..=10 => {
                if let Some(slot) = some(&mut chance) {
                    let seen =
                        [ChannelSeen::Ready, ChannelSeen::Ready, ChannelSeen::Lost, failed()];
                    let seen = seen[chance.below(4) as usize].clone();
                    let (_, duty) = line.seen(slot, seen, chance.below(1 << 40), now);
                    model.obey(duty, &before, most);
                }
            }
            _ => {
                let duty = line.tend(chance.below(9), now);
                model.obey(duty, &before, most);
                let _ = dial(&mut line, now);
            }
        }
        check(&line, &model, most, now);
    }
    let before = line.views();
    let duty = line.close();
    model.obey(duty, &before, most);
    assert!(model.waiting.is_empty());
    for (slot, loans) in std::mem::take(&mut model.loans) {
        for _ in 0..loans {
            let _ = line.give_back(slot, false, 0, now);
        }
    }
    assert!(line.views().is_empty(), "seed {seed}");
}

fn check(line: &Line, model: &Model, most: usize, now: Instant) {
    let views = line.views();
    assert_eq!(line.lent(), model.loans.values().sum::<usize>());
    assert_eq!(line.waiting(), model.waiting.len());
    let live = views.iter().filter(|view| view.state != "draining").count();
    assert!(live <= line.wanted() && line.wanted() <= line.size());
    let is_free =
        |view: &ChannelView<u64>| matches!(view.state, "ready" | "lent") && view.lent < most;
    let free = views.iter().any(is_free);
    assert!(!free || model.waiting.is_empty(), "somebody waits beside a free channel");
    assert!(views.iter().all(|view| view.state != "draining" || view.lent > 0));
    let impatient = line.hopeless(now).is_some();
    assert!(!impatient || line.waiters.values().all(|waiter| waiter.wants.wait_for_ready));
}

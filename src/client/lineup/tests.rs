//! By hand, and at random against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::core::health::Round;
use crate::core::testing::{ms, start, Xorshift};

type Line = Lineup<u64, u32>;

const PATIENT: Wants = Wants { wait_for_ready: true, avoid: None, at: None };
const PLAIN: Wants = Wants { wait_for_ready: false, avoid: None, at: None };

fn settings(size: usize, calls_per_channel: usize) -> Settings {
    Settings {
        size,
        calls_per_channel,
        max_waiters: 3,
        connect_timeout: ms(5000),
        pauses: Pauses { min: ms(100), max: ms(1000) },
        balance: Balance::RoundRobin,
        checks: Checks { ping: Some(ms(25_000)), tries: 3, successes: 2 },
        max_age: None,
    }
}

/// Dials what is due; the channel of a slot has its number.
fn dial(line: &mut Line, now: Instant) -> Vec<SlotId> {
    let dials = line.dials(now);
    for (slot, _) in &dials {
        assert_eq!(line.dialled(*slot, slot.0), None);
    }
    dials.into_iter().map(|(slot, _)| slot).collect()
}

/// A line whose channels are all connected.
fn ready(settings: Settings, now: Instant) -> (Line, Vec<SlotId>) {
    let mut line = Line::new(settings, 1, now);
    let slots = dial(&mut line, now);
    for slot in &slots {
        let (news, duty) = line.seen(*slot, Seen::Ready, 0, now);
        assert!(news && duty.grants.is_empty());
    }
    (line, slots)
}

fn ask(line: &mut Line, who: u32, now: Instant) -> Checkout<u64> {
    line.checkout(None, || who, PLAIN, 0, now)
}

#[track_caller]
fn lent(checkout: Checkout<u64>) -> Lent<u64> {
    match checkout {
        Checkout::Lent(lent) => lent,
        other => panic!("{other:?}"),
    }
}

fn failed() -> Seen {
    Seen::Failed("connection refused".to_owned())
}

#[test]
fn channels_are_lent_in_turns_and_the_next_one_waits_for_the_first_given_back() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    let one = lent(ask(&mut line, 0, t0));
    let two = lent(ask(&mut line, 1, t0));
    assert_eq!([one.slot, two.slot], slots[..]);
    assert!(matches!(ask(&mut line, 2, t0), Checkout::Wait(_)));
    assert!(matches!(ask(&mut line, 3, t0), Checkout::Wait(_)));
    let duty = line.give_back(two.slot, false, 0, t0);
    assert_eq!(duty.grants, [(2, two.clone())]);
    assert_eq!(line.give_back(one.slot, false, 0, t0).grants, [(3, one)]);
    assert_eq!(line.give_back(two.slot, false, 0, t0).grants, []);
    assert_eq!((line.lent(), line.waiting()), (1, 0));
}

#[test]
fn a_shared_channel_is_lent_to_so_many_at_a_time() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 3), t0);
    for who in 0..3 {
        assert_eq!(lent(ask(&mut line, who, t0)).slot, slots[0]);
    }
    assert!(matches!(ask(&mut line, 3, t0), Checkout::Wait(_)));
    assert_eq!(line.give_back(slots[0], false, 0, t0).grants.len(), 1);
}

#[test]
fn nobody_passes_by_those_who_wait_and_only_so_many_do() {
    let t0 = start();
    let mut line = Line::new(settings(1, 1), 1, t0);
    for who in 0..3 {
        assert!(matches!(ask(&mut line, who, t0), Checkout::Wait(_)), "it is being connected");
    }
    assert_eq!(ask(&mut line, 3, t0), Checkout::Refused(Refusal::TooManyWaiters));
    let slot = dial(&mut line, t0)[0];
    let (_, duty) = line.seen(slot, Seen::Ready, 0, t0);
    assert_eq!(duty.grants.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_free_channel_is_for_those_who_wait_and_not_for_who_comes_later() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    line.next_ticket = 7;
    line.waiters.insert(Ticket(7), Waiter { who: 7, wants: PLAIN });
    assert_eq!(line.spare(PLAIN, 0, t0), None);
    assert_eq!(ask(&mut line, 8, t0), Checkout::Wait(Ticket(8)));
    let later = line.checkout(Some(Ticket(8)), || 8, PLAIN, 0, t0);
    assert_eq!(later, Checkout::Wait(Ticket(8)));
    // Who had its place before them is first.
    let earlier = line.checkout(Some(Ticket(3)), || 3, PLAIN, 0, t0);
    assert_eq!(lent(earlier).slot, slots[0]);
    let duty = line.give_back(slots[0], false, 0, t0);
    assert_eq!(duty.grants.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [7]);
}

#[test]
fn whoever_got_a_dead_channel_has_its_place_back() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    let _ = lent(ask(&mut line, 0, t0));
    let Checkout::Wait(first) = ask(&mut line, 1, t0) else { panic!("it waits") };
    let Checkout::Wait(second) = ask(&mut line, 2, t0) else { panic!("it waits") };
    assert_eq!(line.give_back(slots[0], false, 0, t0).grants.len(), 1);
    // It finds the connection lost, and gives it back.
    let _ = line.seen(slots[0], Seen::Lost, 0, t0 + ms(500));
    assert!(line.give_back(slots[0], false, 0, t0).grants.is_empty());
    let again = line.checkout(Some(first), || 1, PLAIN, 0, t0 + ms(500));
    assert_eq!(again, Checkout::Wait(first));
    let (_, duty) = line.seen(slots[0], Seen::Ready, 0, t0 + ms(600));
    assert_eq!(duty.grants.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [1]);
    assert!(!line.leave(first) && line.leave(second));
}

#[test]
fn when_all_is_down_only_the_patient_wait() {
    let t0 = start();
    let mut line = Line::new(settings(2, 1), 1, t0);
    let slots = dial(&mut line, t0);
    assert!(matches!(ask(&mut line, 0, t0), Checkout::Wait(_)));
    let _ = line.checkout(None, || 1, PATIENT, 0, t0);
    let (_, duty) = line.seen(slots[0], failed(), 0, t0);
    assert!(duty.refused.is_empty(), "the other may still come");
    let (_, duty) = line.seen(slots[1], failed(), 0, t0);
    let down = Down { error: "connection refused".to_owned(), since: t0 };
    assert_eq!(duty.refused, [(0, Refusal::NotConnected(down.clone()))]);
    assert_eq!(ask(&mut line, 2, t0), Checkout::Refused(Refusal::NotConnected(down)));
    assert_eq!(line.waiting(), 1);
    assert_eq!(line.next_dial(), Some(t0 + ms(100)));
}

#[test]
fn a_scout_looks_after_a_pause_that_grows_and_the_others_follow_it() {
    let t0 = start();
    let mut line = Line::new(settings(3, 1), 1, t0);
    for slot in dial(&mut line, t0) {
        let _ = line.seen(slot, failed(), 0, t0);
    }
    let mut now = t0;
    for pause in [100, 160, 256, 409, 655, 1000, 1000] {
        assert_eq!(dial(&mut line, now + ms(pause - 1)), []);
        let due = line.due().unwrap();
        assert!(due >= now + ms(pause) && due < now + ms(pause + 1), "{pause}");
        now = due;
        let scouts = dial(&mut line, now);
        assert_eq!(scouts.len(), 1);
        assert_eq!(line.due(), Some(now + ms(5000)), "one scout at a time");
        let _ = line.seen(scouts[0], failed(), 0, now);
    }
    now = line.due().unwrap();
    let scout = dial(&mut line, now)[0];
    assert!(line.seen(scout, Seen::Ready, 0, now).0);
    assert_eq!(dial(&mut line, now).len(), 2);
}

#[test]
fn a_connection_that_stood_is_dialled_again_at_once_and_one_that_did_not_is_not() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    assert!(line.seen(slots[0], Seen::Lost, 0, t0 + ms(100)).0);
    assert_eq!((line.ready(), line.views()[0].state), (0, "connecting"));
    let _ = line.seen(slots[0], Seen::Ready, 0, t0 + ms(101));
    let (_, duty) = line.seen(slots[0], Seen::Lost, 0, t0 + ms(102));
    assert_eq!(duty.dropped, [(slots[0].0, Reason::Lost)]);
    assert_eq!(dial(&mut line, t0 + ms(102)), []);
    assert_eq!(line.down().unwrap().error, "closed by the server after 1 ms");
}

#[test]
fn an_attempt_that_takes_too_long_has_failed() {
    let t0 = start();
    let mut line = Line::new(settings(1, 1), 1, t0);
    let _ = dial(&mut line, t0);
    assert!(line.tend(0, t0 + ms(4999)).dropped.is_empty());
    assert_eq!(line.tend(0, t0 + ms(5000)).dropped.len(), 1);
    assert_eq!(line.down().unwrap().error, "no connection within 5 s");
}

#[test]
fn a_channel_that_is_lent_is_dropped_when_it_comes_back_and_not_before() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    let one = lent(ask(&mut line, 0, t0));
    let (_, duty) = line.seen(one.slot, failed(), 0, t0 + ms(500));
    assert!(duty.dropped.is_empty());
    assert_eq!(line.give_back(one.slot, false, 0, t0).dropped, [(one.channel, Reason::Lost)]);
    let two = lent(ask(&mut line, 0, t0 + ms(500)));
    assert_eq!(two.slot, slots[1]);
    assert_eq!(line.give_back(two.slot, true, 0, t0).dropped, [(two.channel, Reason::Broken)]);
    assert_eq!(line.give_back(two.slot, false, 0, t0).grants, [], "it is gone");
}

#[test]
fn a_smaller_pool_lets_idle_channels_go_first() {
    let t0 = start();
    let (mut line, slots) = ready(settings(3, 1), t0);
    let one = lent(ask(&mut line, 0, t0));
    assert_eq!(line.resize(2, t0).dropped, [(slots[2].0, Reason::Resize)]);
    assert_eq!(line.resize(1, t0).dropped, [(slots[1].0, Reason::Resize)]);
    let two = line.resize(3, t0);
    assert!(two.dropped.is_empty() && dial(&mut line, t0).len() == 2);
    assert_eq!(line.give_back(one.slot, false, 0, t0).dropped, []);
}

#[test]
fn a_stopped_pool_answers_all_and_keeps_what_is_lent() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    let one = lent(ask(&mut line, 0, t0));
    let two = lent(ask(&mut line, 1, t0));
    let _ = ask(&mut line, 2, t0);
    assert_eq!(line.give_back(two.slot, false, 0, t0).grants.len(), 1);
    let _ = ask(&mut line, 3, t0);
    let duty = line.close();
    assert_eq!(duty.refused, [(3, Refusal::Closed)]);
    assert!(duty.dropped.is_empty());
    assert_eq!(ask(&mut line, 4, t0), Checkout::Refused(Refusal::Closed));
    assert_eq!(line.give_back(one.slot, false, 0, t0).dropped, [(slots[0].0, Reason::Stopped)]);
    assert_eq!(dial(&mut line, t0 + ms(9000)), []);
    assert_eq!(line.due(), None);
}

#[test]
fn channels_are_spread_and_come_back_to_an_address_that_was_down() {
    let t0 = start();
    let mut line = Line::new(settings(4, 1), 2, t0);
    let dials = line.dials(t0);
    assert_eq!(dials.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [0, 1, 0, 1]);
    for (slot, address) in dials {
        let _ = line.dialled(slot, slot.0);
        let seen = if address == 0 { Seen::Ready } else { failed() };
        let _ = line.seen(slot, seen, 0, t0);
    }
    // One of the two that are missing is kept for the scout.
    let dials = line.dials(t0);
    assert_eq!(dials.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [0]);
    let _ = line.seen(dials[0].0, Seen::Ready, 0, t0);
    let later = t0 + ms(120);
    let dials = line.dials(later);
    assert_eq!(dials.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [1]);
    let _ = line.seen(dials[0].0, Seen::Ready, 0, later);
    assert_eq!(line.tend(0, later).dropped, [(1, Reason::Moved)]);
    assert_eq!(line.dials(later).iter().map(|(_, address)| *address).collect::<Vec<_>>(), [1]);
}

/// What is known about a line from outside.
#[derive(Default)]
struct Model {
    /// Loans by slot.
    loans: BTreeMap<SlotId, usize>,
    waiting: BTreeMap<u32, Ticket>,
    answered: BTreeSet<u32>,
}

impl Model {
    fn take(&mut self, lent: &Lent<u64>, before: &[View<u64>], most: usize) {
        let slot = before.iter().find(|view| view.slot == lent.slot);
        assert!(slot.is_none_or(|slot| slot.state != "draining"), "a draining one was lent");
        let loans = self.loans.entry(lent.slot).or_default();
        *loans += 1;
        assert!(*loans <= most, "lent too often");
    }

    fn obey(&mut self, duty: Duty<u64, u32>, before: &[View<u64>], most: usize) {
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
    let mut line = Line::new(Settings { balance, ..settings(4, most) }, addresses, now);
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
                let wants = Wants { wait_for_ready, avoid: Some(0), at: None };
                match line.checkout(None, || who, wants, chance.below(1 << 40), now) {
                    Checkout::Lent(lent) => {
                        assert!(model.waiting.is_empty(), "somebody was passed over");
                        model.take(&lent, &before, most);
                    }
                    Checkout::Wait(ticket) => {
                        model.waiting.insert(who, ticket);
                    }
                    Checkout::Refused(_) => {}
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
                    let seen = [Seen::Ready, Seen::Ready, Seen::Lost, failed()];
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
    assert!(live <= line.size());
    let is_free = |view: &View<u64>| matches!(view.state, "ready" | "lent") && view.lent < most;
    let free = views.iter().any(is_free);
    assert!(!free || model.waiting.is_empty(), "somebody waits beside a free channel");
    assert!(views.iter().all(|view| view.state != "draining" || view.lent > 0));
    let impatient = line.hopeless(now).is_some();
    assert!(!impatient || line.waiters.values().all(|waiter| waiter.wants.wait_for_ready));
}

/// The slots that are probed now.
fn probed(line: &mut Line, now: Instant) -> Vec<SlotId> {
    line.probes(now).into_iter().map(|(slot, ..)| slot).collect()
}

#[test]
fn idle_channels_are_probed_when_it_is_time_and_lent_ones_never() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    assert_eq!(line.due(), Some(t0 + ms(25_000)));
    let Checkout::Lent(lent) = line.checkout(None, || 1, PLAIN, 0, t0) else {
        panic!("it is free");
    };
    let t1 = t0 + ms(25_000);
    let idle: Vec<SlotId> = slots.iter().copied().filter(|slot| *slot != lent.slot).collect();
    assert_eq!(probed(&mut line, t1), idle);
    assert_eq!(probed(&mut line, t1), [], "one probe at a time");
    let _ = line.give_back(lent.slot, false, 0, t1);
    assert_eq!(probed(&mut line, t1), [], "it was used just now");
    let _ = line.checked(idle[0], &Found::Alive, 0, t1);
    assert_eq!(probed(&mut line, t1 + ms(25_000)).len(), 2);
}

#[test]
fn without_pings_only_rounds_probe_and_a_round_ends_with_its_last_answer() {
    let t0 = start();
    let checks = Checks { ping: None, tries: 3, successes: 2 };
    let (mut line, slots) = ready(Settings { checks, ..settings(2, 1) }, t0);
    assert_eq!((line.due(), probed(&mut line, t0 + ms(1_000_000))), (None, vec![]));
    line.begin_round();
    assert_eq!(probed(&mut line, t0), slots);
    assert!(line.round().is_none());
    let _ = line.checked(slots[0], &Found::Alive, 0, t0);
    assert!(line.round().is_none());
    let _ = line.checked(slots[1], &Found::NotServing, 0, t0);
    assert_eq!(line.round(), Some(Round { working: 1, failed: 1 }));
}

#[test]
fn a_channel_whose_server_does_not_serve_is_not_lent_until_two_good_answers() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    let check = |line: &mut Line, found: Found, at: Instant| {
        line.begin_round();
        assert_eq!(probed(line, at), slots);
        line.checked(slots[0], &found, 0, at).0
    };
    assert_eq!(check(&mut line, Found::NotServing, t0), Some(Change::Sick));
    assert_eq!(check(&mut line, Found::NotServing, t0), None);
    let refused = line.checkout(None, || 1, PLAIN, 0, t0);
    let Checkout::Refused(Refusal::NotConnected(down)) = refused else { panic!("{refused:?}") };
    assert!(down.error.contains("does not serve"), "{down:?}");
    let waits = line.checkout(None, || 2, PATIENT, 0, t0);
    assert!(matches!(waits, Checkout::Wait(_)));
    assert_eq!(line.due(), Some(t0 + ms(5000)), "it is asked again");
    assert_eq!(check(&mut line, Found::Alive, t0), None);
    line.begin_round();
    assert_eq!(probed(&mut line, t0), slots);
    let (change, duty) = line.checked(slots[0], &Found::Alive, 0, t0);
    assert_eq!(change, Some(Change::Well));
    assert_eq!(duty.grants.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_channel_that_does_not_answer_three_times_in_a_row_is_replaced() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    let silent = Found::Silent("deadline".to_owned());
    for (found, stands) in
        [(&silent, 1), (&silent, 1), (&Found::Alive, 1), (&silent, 1), (&silent, 1), (&silent, 0)]
    {
        line.begin_round();
        assert_eq!(probed(&mut line, t0), slots);
        let (_, duty) = line.checked(slots[0], found, 0, t0);
        assert_eq!(duty.dropped.len(), 1 - stands, "{found:?}");
        assert_eq!(line.ready(), stands);
    }
    assert_eq!(dial(&mut line, t0).len(), 1, "at once");
    let stale = line.checked(slots[0], &Found::NotServing, 0, t0);
    assert_eq!(stale.0, None);
}

#[test]
fn a_renewed_channel_goes_when_another_stands_and_a_lent_one_when_it_comes_back() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    let Checkout::Lent(lent) = line.checkout(None, || 1, PLAIN, 0, t0) else {
        panic!("it is free");
    };
    assert!(line.renew(Reason::Tls).dropped.is_empty());
    assert_eq!((line.ready(), line.due()), (2, line.due()), "all may be lent on");
    let fresh = dial(&mut line, t0);
    assert_eq!((fresh.len(), dial(&mut line, t0)), (2, vec![]));
    let (_, duty) = line.seen(fresh[0], Seen::Ready, 0, t0);
    let idle = slots.iter().find(|slot| **slot != lent.slot).unwrap();
    assert_eq!(duty.dropped, [(idle.0, Reason::Tls)], "the idle one goes first");
    let (_, duty) = line.seen(fresh[1], Seen::Ready, 0, t0);
    assert_eq!((duty.dropped.len(), line.ready()), (0, 2));
    let duty = line.give_back(lent.slot, false, 0, t0);
    assert_eq!(duty.dropped, [(lent.slot.0, Reason::Tls)]);
}

#[test]
fn what_cannot_be_replaced_stays() {
    let t0 = start();
    let (mut line, _) = ready(settings(2, 1), t0);
    let _ = line.renew(Reason::Tls);
    for slot in dial(&mut line, t0) {
        let _ = line.seen(slot, Seen::Failed("handshake".to_owned()), 0, t0);
    }
    assert_eq!(line.ready(), 2);
    assert!(matches!(line.checkout(None, || 1, PLAIN, 0, t0), Checkout::Lent(_)));
    let duty = line.resize(1, t0);
    assert!(duty.dropped.is_empty());
    let duty = line.tend(0, t0);
    assert_eq!((duty.dropped.len(), line.ready()), (1, 1), "there are too many");
}

#[test]
fn channels_that_are_too_old_are_replaced_one_after_the_other() {
    let t0 = start();
    let settings = Settings { max_age: Some(ms(10_000)), ..settings(3, 1) };
    let (mut line, slots) = ready(settings, t0);
    assert_eq!(line.due(), Some(t0 + ms(10_000)));
    let mut now = t0 + ms(10_000);
    for gone in 1..=3 {
        assert!(line.tend(1023, now).dropped.is_empty());
        let fresh = dial(&mut line, now);
        assert_eq!(fresh.len(), 1, "one after the other");
        assert!(line.tend(1023, now).dropped.is_empty() && dial(&mut line, now).is_empty());
        let (_, duty) = line.seen(fresh[0], Seen::Ready, 0, now);
        assert!(matches!(duty.dropped[..], [(_, Reason::Age)]), "{gone}: {duty:?}");
        now += ms(1);
    }
    let kept: Vec<SlotId> = line.views().iter().map(|view| view.slot).collect();
    assert!(!slots.iter().any(|slot| kept.contains(slot)), "{kept:?}");
    let due = line.due().unwrap();
    assert!(due > now + ms(8900) && due < now + ms(9100), "a tenth earlier by chance");
}

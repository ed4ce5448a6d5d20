//! A line by hand: loans, waiters, dials.

mod ejection;
mod probes;
mod random;
mod sites;
mod size;

use super::*;
use crate::core::testing::{ms, start};

type Line = Lineup<u64, u32>;

const PLAIN: CheckoutWants =
    CheckoutWants { wait_for_ready: false, avoid: None, exclusive: false, prefer: None, by: None };
const PATIENT: CheckoutWants = CheckoutWants { wait_for_ready: true, ..PLAIN };
const ALONE: CheckoutWants = CheckoutWants { exclusive: true, ..PLAIN };

fn settings(size: usize, calls_per_channel: usize) -> LineupSettings {
    LineupSettings {
        size,
        least: None,
        outlier: None,
        idle: ms(60_000),
        calls_per_channel,
        max_waiters: 3,
        connect_timeout: ms(5000),
        pauses: Pauses { min: ms(100), max: ms(1000) },
        balance: Balance::RoundRobin,
        checks: Checks { ping: Some(ms(25_000)), tries: 3, successes: 2 },
        max_age: None,
    }
}

/// A line for so many addresses.
fn line_of(settings: LineupSettings, addresses: usize, now: Instant) -> Line {
    let mut line = Line::new(settings, now);
    let site = |number| Site { number, name: number, second: false };
    let duty = line.move_to(&(0..addresses).map(site).collect::<Vec<_>>(), now);
    assert!(duty.dropped.is_empty());
    line
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
fn ready(settings: LineupSettings, now: Instant) -> (Line, Vec<SlotId>) {
    let mut line = line_of(settings, 1, now);
    let slots = dial(&mut line, now);
    for slot in &slots {
        let (news, duty) = line.seen(*slot, ChannelSeen::Ready, 0, now);
        assert!(news && duty.grants.is_empty());
    }
    (line, slots)
}

fn ask(line: &mut Line, who: u32, now: Instant) -> CheckoutOutcome<u64> {
    line.checkout(None, || who, PLAIN, 0, now)
}

#[track_caller]
fn lent(checkout: CheckoutOutcome<u64>) -> LentChannel<u64> {
    match checkout {
        CheckoutOutcome::Lent(lent) => lent,
        other => panic!("{other:?}"),
    }
}

fn failed() -> ChannelSeen {
    ChannelSeen::Failed("connection refused".to_owned())
}

#[test]
fn channels_are_lent_in_turns_and_the_next_one_waits_for_the_first_given_back() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    let one = lent(ask(&mut line, 0, t0));
    let two = lent(ask(&mut line, 1, t0));
    assert_eq!([one.slot, two.slot], slots[..]);
    assert!(matches!(ask(&mut line, 2, t0), CheckoutOutcome::Wait(_)));
    assert!(matches!(ask(&mut line, 3, t0), CheckoutOutcome::Wait(_)));
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
    assert!(matches!(ask(&mut line, 3, t0), CheckoutOutcome::Wait(_)));
    assert_eq!(line.give_back(slots[0], false, 0, t0).grants.len(), 1);
}

#[test]
fn who_wants_a_shared_channel_alone_gets_one_that_nobody_has_nor_gets() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 3), t0);
    assert_eq!(lent(ask(&mut line, 0, t0)).slot, slots[0]);
    let alone = lent(line.checkout(None, || 1, ALONE, 0, t0)).slot;
    assert_eq!(alone, slots[1]);
    assert_eq!(lent(ask(&mut line, 2, t0)).slot, slots[0], "nobody else gets it");
    let wait = line.checkout(None, || 3, ALONE, 0, t0);
    assert!(matches!(wait, CheckoutOutcome::Wait(_)), "{wait:?}");
    assert!(matches!(ask(&mut line, 4, t0), CheckoutOutcome::Wait(_)), "nobody is passed over");
    assert_eq!(line.give_back(slots[0], false, 0, t0).grants, []);
    let granted = line.give_back(slots[0], false, 0, t0).grants;
    assert_eq!(
        granted.iter().map(|(who, lent)| (*who, lent.slot)).collect::<Vec<_>>(),
        [(3, slots[0])]
    );
    let granted = line.give_back(alone, false, 0, t0).grants;
    assert_eq!(granted.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [4]);
    assert_eq!(lent(ask(&mut line, 5, t0)).slot, alone, "it is shared again");
}

#[test]
fn a_channel_that_its_holder_shares_is_free_when_both_loans_are_back() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    assert_eq!(lent(line.checkout(None, || 0, ALONE, 0, t0)).slot, slots[0]);
    line.share(slots[0]);
    assert!(matches!(ask(&mut line, 1, t0), CheckoutOutcome::Wait(_)));
    assert_eq!((line.give_back(slots[0], false, 0, t0).grants, line.lent()), (vec![], 1));
    assert_eq!(line.give_back(slots[0], false, 0, t0).grants.len(), 1);
}

#[test]
fn nobody_passes_by_those_who_wait_and_only_so_many_do() {
    let t0 = start();
    let mut line = line_of(settings(1, 1), 1, t0);
    for who in 0..3 {
        assert!(
            matches!(ask(&mut line, who, t0), CheckoutOutcome::Wait(_)),
            "it is being connected"
        );
    }
    assert_eq!(ask(&mut line, 3, t0), CheckoutOutcome::Refused(CheckoutRefusal::TooManyWaiters));
    let slot = dial(&mut line, t0)[0];
    let (_, duty) = line.seen(slot, ChannelSeen::Ready, 0, t0);
    assert_eq!(duty.grants.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_free_channel_is_for_those_who_wait_and_not_for_who_comes_later() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    line.next_ticket = 7;
    line.waiters.insert(Ticket(7), Waiter { who: 7, wants: PLAIN });
    assert_eq!(line.spare(PLAIN, 0, t0), None);
    assert_eq!(ask(&mut line, 8, t0), CheckoutOutcome::Wait(Ticket(8)));
    let later = line.checkout(Some(Ticket(8)), || 8, PLAIN, 0, t0);
    assert_eq!(later, CheckoutOutcome::Wait(Ticket(8)));
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
    let CheckoutOutcome::Wait(first) = ask(&mut line, 1, t0) else { panic!("it waits") };
    let CheckoutOutcome::Wait(second) = ask(&mut line, 2, t0) else { panic!("it waits") };
    assert_eq!(line.give_back(slots[0], false, 0, t0).grants.len(), 1);
    // It finds the connection lost, and gives it back.
    let _ = line.seen(slots[0], ChannelSeen::Lost, 0, t0 + ms(500));
    assert!(line.give_back(slots[0], false, 0, t0).grants.is_empty());
    let again = line.checkout(Some(first), || 1, PLAIN, 0, t0 + ms(500));
    assert_eq!(again, CheckoutOutcome::Wait(first));
    let (_, duty) = line.seen(slots[0], ChannelSeen::Ready, 0, t0 + ms(600));
    assert_eq!(duty.grants.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [1]);
    assert!(!line.leave(first) && line.leave(second));
}

#[test]
fn when_all_is_down_only_the_patient_wait() {
    let t0 = start();
    let mut line = line_of(settings(2, 1), 1, t0);
    let slots = dial(&mut line, t0);
    assert!(matches!(ask(&mut line, 0, t0), CheckoutOutcome::Wait(_)));
    let _ = line.checkout(None, || 1, PATIENT, 0, t0);
    let (_, duty) = line.seen(slots[0], failed(), 0, t0);
    assert!(duty.refused.is_empty(), "the other may still come");
    let (_, duty) = line.seen(slots[1], failed(), 0, t0);
    let down = Down { error: "connection refused".to_owned(), since: t0 };
    assert_eq!(duty.refused, [(0, CheckoutRefusal::NotConnected(down.clone()))]);
    assert_eq!(
        ask(&mut line, 2, t0),
        CheckoutOutcome::Refused(CheckoutRefusal::NotConnected(down))
    );
    assert_eq!(line.waiting(), 1);
    assert_eq!(line.next_dial(), Some(t0 + ms(100)));
}

#[test]
fn a_scout_looks_after_a_pause_that_grows_and_the_others_follow_it() {
    let t0 = start();
    let mut line = line_of(settings(3, 1), 1, t0);
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
    assert!(line.seen(scout, ChannelSeen::Ready, 0, now).0);
    assert_eq!(dial(&mut line, now).len(), 2);
}

#[test]
fn a_connection_that_stood_is_dialled_again_at_once_and_one_that_did_not_is_not() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    assert!(line.seen(slots[0], ChannelSeen::Lost, 0, t0 + ms(100)).0);
    assert_eq!((line.ready(), line.views()[0].state), (0, "connecting"));
    let _ = line.seen(slots[0], ChannelSeen::Ready, 0, t0 + ms(101));
    let (_, duty) = line.seen(slots[0], ChannelSeen::Lost, 0, t0 + ms(102));
    assert_eq!(duty.dropped, [(slots[0].0, Reason::Lost)]);
    assert_eq!(dial(&mut line, t0 + ms(102)), []);
    assert_eq!(line.down().unwrap().error, "closed by the server after 1 ms");
}

#[test]
fn an_attempt_that_takes_too_long_has_failed() {
    let t0 = start();
    let mut line = line_of(settings(1, 1), 1, t0);
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
    assert_eq!(duty.refused, [(3, CheckoutRefusal::Closed)]);
    assert!(duty.dropped.is_empty());
    assert_eq!(ask(&mut line, 4, t0), CheckoutOutcome::Refused(CheckoutRefusal::Closed));
    assert_eq!(line.give_back(one.slot, false, 0, t0).dropped, [(slots[0].0, Reason::Stopped)]);
    assert_eq!(dial(&mut line, t0 + ms(9000)), []);
    assert_eq!(line.due(), None);
}

#[test]
fn channels_are_spread_and_come_back_to_an_address_that_was_down() {
    let t0 = start();
    let mut line = line_of(settings(4, 1), 2, t0);
    let dials = line.dials(t0);
    assert_eq!(dials.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [0, 1, 0, 1]);
    for (slot, address) in dials {
        let _ = line.dialled(slot, slot.0);
        let seen = if address == 0 { ChannelSeen::Ready } else { failed() };
        let _ = line.seen(slot, seen, 0, t0);
    }
    // One of the two that are missing is kept for the scout.
    let dials = line.dials(t0);
    assert_eq!(dials.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [0]);
    let _ = line.seen(dials[0].0, ChannelSeen::Ready, 0, t0);
    let later = t0 + ms(120);
    let dials = line.dials(later);
    assert_eq!(dials.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [1]);
    let _ = line.seen(dials[0].0, ChannelSeen::Ready, 0, later);
    assert_eq!(line.tend(0, later).dropped, [(1, Reason::Moved)]);
    assert_eq!(line.dials(later).iter().map(|(_, address)| *address).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_channel_that_is_preferred_is_lent_if_it_is_free_and_another_one_else() {
    let t0 = start();
    let (mut line, slots) = ready(settings(3, 1), t0);
    let free = |line: &Line| line.free(PLAIN).iter().map(|one| one.slot).collect::<Vec<_>>();
    assert_eq!(free(&line), slots);
    let last = CheckoutWants { prefer: Some(slots[2]), ..PLAIN };
    let one = lent(line.checkout(None, || 0, last, 0, t0));
    assert_eq!((one.slot, free(&line)), (slots[2], slots[..2].to_vec()));
    assert_eq!(lent(line.checkout(None, || 1, last, 0, t0)).slot, slots[0]);
    let gone = CheckoutWants { prefer: Some(SlotId(99)), ..PLAIN };
    assert_eq!(line.spare(gone, 0, t0).unwrap().slot, slots[1]);
    assert!(matches!(line.checkout(None, || 2, last, 0, t0), CheckoutOutcome::Wait(_)));
    // It waits for any.
    assert_eq!(line.give_back(slots[1], false, 0, t0).grants.len(), 1);
}

#[test]
fn it_is_told_when_an_address_is_back_that_had_lost_a_connection_or_had_none() {
    let (t0, t1) = (start(), start() + ms(500));
    let (mut line, slots) = ready(settings(2, 1), t0);
    let back = |line: &mut Line, slot, seen, now| line.seen(slot, seen, 0, now).1.back;
    // All are lost, or one: the first that stands again is told, and no other.
    assert!(!back(&mut line, slots[0], ChannelSeen::Lost, t1));
    assert!(!back(&mut line, slots[1], ChannelSeen::Lost, t1));
    assert!(back(&mut line, slots[0], ChannelSeen::Ready, t1));
    assert!(!back(&mut line, slots[1], ChannelSeen::Ready, t1));
    assert!(!back(&mut line, slots[1], ChannelSeen::Lost, t1 + ms(500)));
    assert!(back(&mut line, slots[1], ChannelSeen::Ready, t1 + ms(500)));
    // One more is no return.
    let _ = line.resize(3, t1);
    let more = dial(&mut line, t1);
    assert!(!back(&mut line, more[0], ChannelSeen::Ready, t1));
    // Those that are all replaced, because they do not answer, and the scout after a failure.
    let _ = line.renew(Reason::Broken);
    let new = dial(&mut line, t1 + ms(600));
    for slot in new {
        assert!(!back(&mut line, slot, failed(), t1 + ms(600)));
    }
    let scout = dial(&mut line, t1 + ms(9000));
    assert!(back(&mut line, scout[0], ChannelSeen::Ready, t1 + ms(9000)));
}

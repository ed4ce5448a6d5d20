//! A line that grows and shrinks.

use super::*;

fn elastic(size: usize, least: usize, calls_per_channel: usize) -> LineupSettings {
    let settings = settings(size, calls_per_channel);
    LineupSettings { least: Some(least), idle: ms(1000), max_waiters: 100, ..settings }
}

/// Dials what is due, and connects it.
fn connect(line: &mut Line, now: Instant) -> usize {
    let slots = dial(line, now);
    for slot in &slots {
        let _ = line.seen(*slot, ChannelSeen::Ready, 0, now);
    }
    slots.len()
}

#[test]
fn it_begins_with_the_least_grows_while_somebody_waits_and_shrinks_after_a_while() {
    let t0 = start();
    let (mut line, slots) = ready(elastic(4, 1, 1), t0);
    assert_eq!((slots.len(), line.wanted(), line.size()), (1, 1, 4));
    let one = lent(ask(&mut line, 0, t0));
    assert_eq!(dial(&mut line, t0), [], "nobody waits");
    for who in 1..9 {
        assert!(matches!(ask(&mut line, who, t0), CheckoutOutcome::Wait(_)));
    }
    assert_eq!((line.wanted(), connect(&mut line, t0)), (4, 3));
    assert_eq!((line.lent(), line.waiting()), (4, 5));
    let views = line.views();
    for _ in 0..6 {
        let _ = line.give_back(one.slot, false, 0, t0 + ms(10));
    }
    assert_eq!((line.lent(), line.waiting()), (3, 0));
    // Three are needed until 500, and none after that.
    let t1 = t0 + ms(500);
    for view in views.iter().filter(|view| view.slot != one.slot) {
        assert!(line.give_back(view.slot, false, 0, t1).dropped.is_empty());
    }
    assert_eq!(line.due(), Some(t0 + ms(1010)));
    assert!(line.tend(0, t0 + ms(1009)).dropped.is_empty());
    let dropped = line.tend(0, t0 + ms(1010)).dropped;
    assert!(matches!(dropped[..], [(_, Reason::Idle)]), "{dropped:?}");
    assert_eq!(line.tend(0, t0 + ms(1500)).dropped.len(), 2);
    assert_eq!((line.wanted(), line.ready()), (1, 1));
    assert_eq!(line.due(), Some(t0 + ms(25_010)), "the next is a probe");
    assert!(matches!(ask(&mut line, 9, t0 + ms(2000)), CheckoutOutcome::Lent(_)));
}

#[test]
fn what_is_lent_for_long_is_looked_at_now_and_then() {
    let t0 = start();
    let (mut line, _) = ready(elastic(2, 1, 1), t0);
    let one = lent(ask(&mut line, 0, t0));
    assert!(matches!(ask(&mut line, 1, t0), CheckoutOutcome::Wait(_)));
    assert_eq!(connect(&mut line, t0), 1);
    assert_eq!(line.due(), Some(t0 + ms(1000)));
    let later = t0 + ms(1000);
    assert!(line.tend(0, later).dropped.is_empty());
    assert_eq!(line.due(), Some(later + ms(1000)), "both are lent");
    let _ = line.give_back(one.slot, false, 0, later + ms(500));
    assert!(line.tend(0, later + ms(1000)).dropped.is_empty());
    assert_eq!(line.due(), Some(later + ms(1500)));
    assert_eq!(line.tend(0, later + ms(1500)).dropped, [(one.channel, Reason::Idle)]);
}

#[test]
fn a_channel_that_somebody_waits_for_is_not_given_up_while_it_is_connected() {
    let t0 = start();
    let (mut line, _) = ready(elastic(2, 1, 1), t0);
    let one = lent(ask(&mut line, 0, t0));
    let CheckoutOutcome::Wait(ticket) = ask(&mut line, 1, t0) else { panic!("it is lent") };
    let slots = dial(&mut line, t0);
    // Longer than others may be idle.
    let later = t0 + ms(3000);
    assert!(line.tend(0, later).dropped.is_empty());
    assert_eq!((line.wanted(), line.due()), (2, Some(later + ms(1000))));
    // Once nobody waits for it, it is given up as any other.
    assert!(line.leave(ticket));
    let _ = line.seen(slots[0], ChannelSeen::Ready, 0, later);
    assert_eq!(line.tend(0, later + ms(1000)).dropped.len(), 1);
    let _ = line.give_back(one.slot, false, 0, later);
}

#[test]
fn those_who_wait_have_no_more_channels_than_they_need() {
    let t0 = start();
    let (mut line, _) = ready(elastic(9, 1, 2), t0);
    for who in 0..2 {
        let _ = lent(ask(&mut line, who, t0));
    }
    for (who, wanted) in [(2, 2), (3, 2), (4, 3), (5, 3), (6, 4)] {
        assert!(matches!(ask(&mut line, who, t0), CheckoutOutcome::Wait(_)));
        assert_eq!(line.wanted(), wanted, "two have one channel");
    }
}

#[test]
fn while_nothing_answers_it_does_not_grow() {
    let t0 = start();
    let mut line = line_of(elastic(9, 1, 1), 1, t0);
    let slot = dial(&mut line, t0)[0];
    let _ = line.seen(slot, failed(), 0, t0);
    for _ in 0..5 {
        assert!(matches!(line.checkout(None, || 1, PATIENT, 0, t0), CheckoutOutcome::Wait(_)));
    }
    assert_eq!(line.wanted(), 1);
}

#[test]
fn a_larger_size_is_room_to_grow_and_a_smaller_one_holds_at_once() {
    let t0 = start();
    let (mut line, _) = ready(elastic(4, 3, 1), t0);
    assert!(line.resize(9, t0).dropped.is_empty());
    assert_eq!((line.wanted(), line.size()), (3, 9));
    let loans: Vec<_> = (0..3).map(|who| lent(ask(&mut line, who, t0))).collect();
    for who in 3..8 {
        assert!(matches!(ask(&mut line, who, t0), CheckoutOutcome::Wait(_)));
    }
    assert_eq!((line.wanted(), connect(&mut line, t0)), (8, 5));
    assert!(line.resize(2, t0).dropped.is_empty(), "all are lent");
    assert_eq!((line.wanted(), line.least()), (2, 2), "the least is more than there may be");
    for one in loans {
        let _ = line.give_back(one.slot, false, 0, t0);
    }
    for view in line.views().into_iter().filter(|view| view.lent > 0) {
        let _ = line.give_back(view.slot, false, 0, t0);
    }
    assert_eq!(line.views().len(), 2);
    assert!(line.resize(6, t0).dropped.is_empty());
    assert_eq!((line.wanted(), connect(&mut line, t0)), (3, 1), "the least holds again");
}

#[test]
fn a_channel_with_fewer_loans_goes_first_and_is_not_lent_any_more() {
    let t0 = start();
    let (mut line, slots) =
        ready(LineupSettings { balance: Balance::LeastBusy, ..settings(3, 4) }, t0);
    let loans: Vec<_> = (0..5).map(|who| lent(ask(&mut line, who, t0)).slot).collect();
    assert_eq!(loans, [slots[0], slots[1], slots[2], slots[0], slots[1]]);
    assert!(line.resize(2, t0).dropped.is_empty());
    let draining = line.views().into_iter().find(|view| view.state == "draining").unwrap();
    assert_eq!(draining.slot, slots[2]);
    assert_eq!(line.give_back(slots[2], false, 0, t0).dropped, [(slots[2].0, Reason::Resize)]);
}

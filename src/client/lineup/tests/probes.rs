//! Probes, and the replacement of channels that stand.

use super::*;
use crate::core::health::Round;

/// The slots that are probed now.
fn probed(line: &mut Line, now: Instant) -> Vec<SlotId> {
    line.probes(now).into_iter().map(|(slot, ..)| slot).collect()
}

#[test]
fn idle_channels_are_probed_when_it_is_time_and_lent_ones_never() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    assert_eq!(line.due(), Some(t0 + ms(25_000)));
    let CheckoutOutcome::Lent(lent) = line.checkout(None, || 1, PLAIN, 0, t0) else {
        panic!("it is free");
    };
    let t1 = t0 + ms(25_000);
    let idle: Vec<SlotId> = slots.iter().copied().filter(|slot| *slot != lent.slot).collect();
    assert_eq!(probed(&mut line, t1), idle);
    assert_eq!(probed(&mut line, t1), [], "one probe at a time");
    let _ = line.give_back(lent.slot, false, 0, t1);
    assert_eq!(probed(&mut line, t1), [], "it was used just now");
    let _ = line.checked(idle[0], &ProbeOutcome::Alive, 0, t1);
    assert_eq!(probed(&mut line, t1 + ms(25_000)).len(), 2);
}

#[test]
fn without_pings_only_rounds_probe_and_a_round_ends_with_its_last_answer() {
    let t0 = start();
    let checks = Checks { ping: None, tries: 3, successes: 2 };
    let (mut line, slots) = ready(LineupSettings { checks, ..settings(2, 1) }, t0);
    assert_eq!((line.due(), probed(&mut line, t0 + ms(1_000_000))), (None, vec![]));
    line.begin_round();
    assert_eq!(probed(&mut line, t0), slots);
    assert!(line.round().is_none());
    let _ = line.checked(slots[0], &ProbeOutcome::Alive, 0, t0);
    assert!(line.round().is_none());
    let _ = line.checked(slots[1], &ProbeOutcome::NotServing, 0, t0);
    assert_eq!(line.round(), Some(Round { working: 1, failed: 1 }));
}

#[test]
fn a_channel_whose_server_does_not_serve_is_not_lent_until_two_good_answers() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    let check = |line: &mut Line, found: ProbeOutcome, at: Instant| {
        line.begin_round();
        assert_eq!(probed(line, at), slots);
        line.checked(slots[0], &found, 0, at).0
    };
    assert_eq!(check(&mut line, ProbeOutcome::NotServing, t0), Some(HealthChange::Sick));
    assert_eq!(check(&mut line, ProbeOutcome::NotServing, t0), None);
    let refused = line.checkout(None, || 1, PLAIN, 0, t0);
    let CheckoutOutcome::Refused(CheckoutRefusal::NotConnected(down)) = refused else {
        panic!("{refused:?}")
    };
    assert!(down.error.contains("does not serve"), "{down:?}");
    let waits = line.checkout(None, || 2, PATIENT, 0, t0);
    assert!(matches!(waits, CheckoutOutcome::Wait(_)));
    assert_eq!(line.due(), Some(t0 + ms(5000)), "it is asked again");
    assert_eq!(check(&mut line, ProbeOutcome::Alive, t0), None);
    line.begin_round();
    assert_eq!(probed(&mut line, t0), slots);
    let (change, duty) = line.checked(slots[0], &ProbeOutcome::Alive, 0, t0);
    assert_eq!(change, Some(HealthChange::Well));
    assert_eq!(duty.grants.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_channel_that_does_not_answer_three_times_in_a_row_is_replaced() {
    let t0 = start();
    let (mut line, slots) = ready(settings(1, 1), t0);
    let silent = ProbeOutcome::Silent("deadline".to_owned());
    for (found, stands) in [
        (&silent, 1),
        (&silent, 1),
        (&ProbeOutcome::Alive, 1),
        (&silent, 1),
        (&silent, 1),
        (&silent, 0),
    ] {
        line.begin_round();
        assert_eq!(probed(&mut line, t0), slots);
        let (_, duty) = line.checked(slots[0], found, 0, t0);
        assert_eq!(duty.dropped.len(), 1 - stands, "{found:?}");
        assert_eq!(line.ready(), stands);
    }
    assert_eq!(dial(&mut line, t0).len(), 1, "at once");
    let stale = line.checked(slots[0], &ProbeOutcome::NotServing, 0, t0);
    assert_eq!(stale.0, None);
}

#[test]
fn a_renewed_channel_goes_when_another_stands_and_a_lent_one_when_it_comes_back() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    let CheckoutOutcome::Lent(lent) = line.checkout(None, || 1, PLAIN, 0, t0) else {
        panic!("it is free");
    };
    assert!(line.renew(Reason::Tls).dropped.is_empty());
    assert_eq!((line.ready(), line.due()), (2, line.due()), "all may be lent on");
    let fresh = dial(&mut line, t0);
    assert_eq!((fresh.len(), dial(&mut line, t0)), (2, vec![]));
    let (_, duty) = line.seen(fresh[0], ChannelSeen::Ready, 0, t0);
    let idle = slots.iter().find(|slot| **slot != lent.slot).unwrap();
    assert_eq!(duty.dropped, [(idle.0, Reason::Tls)], "the idle one goes first");
    let (_, duty) = line.seen(fresh[1], ChannelSeen::Ready, 0, t0);
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
        let _ = line.seen(slot, ChannelSeen::Failed("handshake".to_owned()), 0, t0);
    }
    assert_eq!(line.ready(), 2);
    assert!(matches!(line.checkout(None, || 1, PLAIN, 0, t0), CheckoutOutcome::Lent(_)));
    let duty = line.resize(1, t0);
    assert!(duty.dropped.is_empty());
    let duty = line.tend(0, t0);
    assert_eq!((duty.dropped.len(), line.ready()), (1, 1), "there are too many");
}

#[test]
fn channels_that_are_too_old_are_replaced_one_after_the_other() {
    let t0 = start();
    let settings = LineupSettings { max_age: Some(ms(10_000)), ..settings(3, 1) };
    let (mut line, slots) = ready(settings, t0);
    assert_eq!(line.due(), Some(t0 + ms(10_000)));
    let mut now = t0 + ms(10_000);
    for gone in 1..=3 {
        assert!(line.tend(1023, now).dropped.is_empty());
        let fresh = dial(&mut line, now);
        assert_eq!(fresh.len(), 1, "one after the other");
        assert!(line.tend(1023, now).dropped.is_empty() && dial(&mut line, now).is_empty());
        let (_, duty) = line.seen(fresh[0], ChannelSeen::Ready, 0, now);
        assert!(matches!(duty.dropped[..], [(_, Reason::Age)]), "{gone}: {duty:?}");
        now += ms(1);
    }
    let kept: Vec<SlotId> = line.views().iter().map(|view| view.slot).collect();
    assert!(!slots.iter().any(|slot| kept.contains(slot)), "{kept:?}");
    let due = line.due().unwrap();
    assert!(due > now + ms(8900) && due < now + ms(9100), "a tenth earlier by chance");
}

#[test]
fn the_word_of_a_server_holds_for_all_its_channels_and_later_ones() {
    let t0 = start();
    let (mut line, slots) = ready(settings(2, 1), t0);
    let number = line.slots[0].address;
    assert_eq!(line.standing().into_iter().collect::<Vec<_>>(), [number]);
    let (change, duty) = line.heard(number, Word::Refuses, 0, t0);
    assert!(change == Some(HealthChange::Sick) && duty.is_empty());
    assert_eq!(line.heard(number, Word::Refuses, 0, t0).0, None, "it is known");
    assert!(matches!(
        ask(&mut line, 0, t0),
        CheckoutOutcome::Refused(CheckoutRefusal::NotConnected(_))
    ));

    // A probe cannot know better, and a channel that is connected anew is not lent either.
    let t1 = t0 + ms(6000);
    for _ in 0..3 {
        let _ = probed(&mut line, t1);
        let _ = line.checked(slots[0], &ProbeOutcome::Alive, 0, t1);
    }
    let _ = line.seen(slots[1], ChannelSeen::Lost, 0, t1);
    let _ = line.seen(slots[1], ChannelSeen::Ready, 0, t1);
    assert_eq!(line.ready(), 0);

    let wait = line.checkout(None, || 7, PATIENT, 0, t1);
    assert!(matches!(wait, CheckoutOutcome::Wait(_)));
    let (change, duty) = line.heard(number, Word::Serves, 0, t1);
    assert_eq!((change, duty.grants.len()), (Some(HealthChange::Well), 1));

    // One that tells no more is found out by probes.
    let _ = line.heard(number, Word::Refuses, 0, t1);
    let _ = line.heard(number, Word::Silent, 0, t1);
    assert_eq!(line.ready(), 0);
    let t2 = t1 + ms(6000);
    let idle = probed(&mut line, t2);
    let _ = line.checked(idle[0], &ProbeOutcome::Alive, 0, t2);
    let _ = probed(&mut line, t2 + ms(6000));
    let (change, _) = line.checked(idle[0], &ProbeOutcome::Alive, 0, t2 + ms(6000));
    assert_eq!(change, Some(HealthChange::Well));
    assert_eq!(line.heard(number + 1, Word::Refuses, 0, t2).0, None, "nobody knows it");
}

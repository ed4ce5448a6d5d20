//! Addresses that come and go.

use super::*;

fn site(number: usize) -> Site {
    Site { number, name: 0, second: false }
}

fn second(number: usize) -> Site {
    Site { second: true, ..site(number) }
}

/// The numbers of the addresses that are dialled now; all are connected, but those to `down`.
fn dialled(line: &mut Line, down: &[usize], now: Instant) -> Vec<usize> {
    let dials = line.dials(now);
    for (slot, address) in &dials {
        assert_eq!(line.dialled(*slot, slot.0), None);
        let seen = if down.contains(address) { failed() } else { ChannelSeen::Ready };
        let _ = line.seen(*slot, seen, 0, now);
    }
    dials.into_iter().map(|(_, address)| address).collect()
}

fn at(line: &Line) -> Vec<(usize, &'static str)> {
    line.views().iter().map(|view| (view.address, view.state)).collect()
}

#[test]
fn a_channel_to_an_address_that_vanishes_goes_when_another_stands() {
    let t0 = start();
    let mut line = Line::new(settings(2, 1), t0);
    let _ = line.move_to(&[site(0), site(1)], t0);
    assert_eq!(dialled(&mut line, &[], t0), [0, 1]);
    let one = lent(ask(&mut line, 0, t0));
    assert_eq!(one.address, 0);
    assert!(line.move_to(&[site(1), site(2)], t0).dropped.is_empty());
    assert_eq!(at(&line), [(0, "lent"), (1, "ready")], "nothing else stands yet");
    let dials = line.dials(t0);
    assert_eq!(dials.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [2]);
    let _ = line.seen(dials[0].0, ChannelSeen::Ready, 0, t0);
    assert_eq!(at(&line), [(0, "draining"), (1, "ready"), (2, "ready")]);
    assert_eq!(line.numbers().into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(line.give_back(one.slot, false, 0, t0).dropped, [(one.channel, Reason::Moved)]);
    let _ = line.tend(0, t0);
    assert_eq!(line.numbers().into_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_dial_to_an_address_that_vanishes_ends_and_what_fails_to_one_is_no_failure_of_others() {
    let t0 = start();
    let mut line = Line::new(settings(2, 1), t0);
    let _ = line.move_to(&[site(0)], t0);
    let slots = dial(&mut line, t0);
    let _ = line.seen(slots[0], ChannelSeen::Ready, 0, t0);
    let duty = line.move_to(&[site(1)], t0);
    assert_eq!(duty.dropped, [(slots[1].0, Reason::Moved)]);
    let (_, duty) = line.seen(slots[0], ChannelSeen::Lost, 0, t0);
    assert_eq!(duty.dropped, [(slots[0].0, Reason::Lost)]);
    assert_eq!((line.down(), line.hopeless(t0)), (None, None));
    assert_eq!(dialled(&mut line, &[], t0), [1, 1]);
}

#[test]
fn if_nothing_new_can_be_reached_the_old_ones_stay_in_use() {
    let t0 = start();
    let mut line = Line::new(settings(1, 1), t0);
    let _ = line.move_to(&[site(0)], t0);
    assert_eq!(dialled(&mut line, &[], t0), [0]);
    let _ = line.move_to(&[site(1)], t0);
    assert_eq!(dialled(&mut line, &[1], t0), [1]);
    assert_eq!(lent(ask(&mut line, 0, t0)).address, 0);
}

#[test]
fn a_small_pool_uses_as_many_addresses_as_it_has_channels_and_others_when_they_fail() {
    let t0 = start();
    let mut line = Line::new(settings(2, 1), t0);
    let _ = line.move_to(&[site(4), site(3), site(2), site(1)], t0);
    assert_eq!(dialled(&mut line, &[4], t0), [4, 3]);
    assert_eq!(dialled(&mut line, &[], t0), [2]);
    assert_eq!((line.down(), line.due()), (None, Some(t0 + ms(25_000))), "it is not missed");
    assert_eq!(line.addresses(), (3, 1));
    let later = t0 + ms(500);
    let _ = line.seen(SlotId(2), failed(), 0, later);
    let _ = line.seen(SlotId(3), failed(), 0, later);
    assert_eq!(dialled(&mut line, &[4, 1], later), [4, 1], "one may have come back by now");
    assert!(line.down().is_some());
    let scouts = dialled(&mut line, &[3, 2], later + ms(200));
    assert_eq!(scouts, [3, 2], "two at most, those first that were not tried for longest");
    let scouts = dialled(&mut line, &[], later + ms(200));
    assert_eq!(scouts, [1, 4], "all have their turn");
}

#[test]
fn the_second_family_is_used_while_the_first_does_not_answer() {
    let t0 = start();
    let mut line = Line::new(settings(3, 1), t0);
    let _ = line.move_to(&[second(1), site(0)], t0);
    assert!(matches!(ask(&mut line, 0, t0), CheckoutOutcome::Wait(_)));
    let slots = line.dials(t0);
    assert!(slots.iter().all(|(_, address)| *address == 0), "{slots:?}");
    for (slot, _) in &slots {
        let (_, duty) = line.seen(*slot, failed(), 0, t0);
        assert!(duty.refused.is_empty(), "the other family may answer");
    }
    assert_eq!(dialled(&mut line, &[], t0), [1, 1, 1]);
    assert_eq!((line.addresses(), line.down()), ((1, 0), None));
    assert_eq!((line.ready(), line.due()), (3, Some(t0 + ms(25_000))), "nobody scouts the first");
    // When neither answers, both are scouted.
    let later = t0 + ms(500);
    for view in line.views() {
        let _ = line.seen(view.slot, failed(), 0, later);
    }
    assert_eq!(line.addresses(), (0, 2));
    let mut scouts = dialled(&mut line, &[1], later + ms(200));
    scouts.sort_unstable();
    assert_eq!(scouts, [0, 1]);
    assert_eq!(dialled(&mut line, &[], later + ms(200)), [0, 0]);
}

#[test]
fn whoever_comes_before_a_name_is_known_waits_and_fails_when_it_cannot_be() {
    let t0 = start();
    let mut line = Line::new(settings(1, 1), t0);
    let _ = line.looked_up(LookUps { pending: true, down: None }, t0);
    assert!(matches!(ask(&mut line, 0, t0), CheckoutOutcome::Wait(_)));
    let down = Down { error: "a cannot be resolved: no".to_owned(), since: t0 };
    let failed = LookUps { pending: false, down: Some(down.clone()) };
    let duty = line.looked_up(failed, t0);
    assert_eq!(duty.refused, [(0, CheckoutRefusal::NotConnected(down.clone()))]);
    assert_eq!(
        ask(&mut line, 1, t0),
        CheckoutOutcome::Refused(CheckoutRefusal::NotConnected(down))
    );
    let _ = line.move_to(&[site(0)], t0);
    let _ = line.looked_up(LookUps::default(), t0);
    assert!(matches!(ask(&mut line, 2, t0), CheckoutOutcome::Wait(_)));
    assert_eq!(dialled(&mut line, &[], t0), [0]);
}

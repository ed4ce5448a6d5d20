//! Addresses that are taken out, and come back.

use super::*;
use crate::client::outlier::{OutlierConfig, Outlying};

fn settings_of(size: usize) -> LineupSettings {
    let outlier =
        OutlierConfig { failures: 2, ejection_time: ms(1000), ..OutlierConfig::default() };
    LineupSettings { outlier: Some(outlier), ..settings(size, 1) }
}

/// The addresses that are dialled, and connected but for those that are down.
fn connect(line: &mut Line, down: &[usize], now: Instant) -> Vec<usize> {
    let dials = line.dials(now);
    for (slot, address) in &dials {
        assert_eq!(line.dialled(*slot, slot.0), None);
        let seen = if down.contains(address) { failed() } else { ChannelSeen::Ready };
        let _ = line.seen(*slot, seen, 0, now);
    }
    dials.into_iter().map(|(_, address)| address).collect()
}

fn fail(line: &mut Line, address: usize, now: Instant) -> Option<Ejection> {
    let first = line.attempted(address, true, now).0;
    assert_eq!(first, None);
    line.attempted(address, true, now).0
}

#[test]
fn the_channels_of_an_address_that_fails_go_elsewhere_and_come_back_by_themselves() {
    let t0 = start();
    let mut line = line_of(settings_of(4), 2, t0);
    assert_eq!(connect(&mut line, &[], t0), [0, 1, 0, 1]);
    let held = lent(ask(&mut line, 0, t0));
    assert_eq!(held.address, 0);
    assert_eq!(line.attempted(0, true, t0).0, None);
    let (ejection, duty) = line.attempted(0, true, t0);
    assert_eq!(ejection, Some(Ejection { why: Outlying::Failures, time: ms(1000) }));
    assert_eq!(duty.dropped, [(3, Reason::Ejected)], "the other one is lent");
    assert_eq!((line.addresses(), line.ejected()), ((1, 0), 1));
    assert_eq!(connect(&mut line, &[], t0), [1, 1]);
    assert_eq!(line.give_back(held.slot, false, 0, t0).dropped, [(held.channel, Reason::Ejected)]);
    assert_eq!((line.ready(), line.due()), (4, Some(t0 + ms(1000))));
    assert_eq!(line.restore(t0 + ms(999)), []);
    assert_eq!(line.restore(t0 + ms(1000)), [0]);
    assert_eq!((line.addresses(), line.ejected()), ((2, 0), 0));
    let dropped = line.tend(0, t0 + ms(1000)).dropped;
    assert!(matches!(dropped[..], [(_, Reason::Moved)]), "{dropped:?}");
    assert_eq!(connect(&mut line, &[], t0 + ms(1000)), [0]);
}

#[test]
fn no_more_than_a_part_is_out_and_the_last_that_answers_never() {
    let t0 = start();
    let mut line = line_of(settings_of(5), 5, t0);
    assert_eq!(connect(&mut line, &[], t0).len(), 5);
    assert!(fail(&mut line, 0, t0).is_some() && fail(&mut line, 1, t0).is_some());
    assert_eq!(fail(&mut line, 2, t0), None, "two of five are a half");
    let mut line = line_of(settings_of(2), 2, t0);
    assert_eq!(connect(&mut line, &[1], t0), [0, 1]);
    assert_eq!(fail(&mut line, 0, t0), None, "the other is down");
    let mut line = line_of(settings_of(2), 1, t0);
    assert_eq!(connect(&mut line, &[], t0), [0, 0]);
    assert_eq!(fail(&mut line, 0, t0), None, "there is no other");
}

#[test]
fn when_no_other_answers_any_more_it_is_taken_in_before_its_time() {
    let t0 = start();
    let mut line = line_of(settings_of(1), 2, t0);
    assert_eq!(connect(&mut line, &[], t0), [0]);
    assert!(fail(&mut line, 0, t0).is_some());
    assert!(matches!(ask(&mut line, 0, t0), CheckoutOutcome::Wait(_)));
    let dials = line.dials(t0);
    assert_eq!(dials[0].1, 1);
    let (_, duty) = line.seen(dials[0].0, failed(), 0, t0);
    assert!(duty.refused.is_empty(), "the first may still answer");
    assert_eq!(line.restore(t0), [0]);
    assert_eq!(connect(&mut line, &[], t0), [0]);
    assert_eq!(line.lent(), 1);
}

#[test]
fn the_other_family_of_the_same_server_is_no_other_address() {
    let t0 = start();
    let mut line = Line::new(settings_of(1), t0);
    let site = |number, second| Site { number, name: 0, second };
    let _ = line.move_to(&[site(0, false), site(1, true)], t0);
    assert_eq!(connect(&mut line, &[], t0), [0]);
    assert_eq!(fail(&mut line, 0, t0), None);
}

#[test]
fn attempts_at_an_address_that_is_gone_or_out_count_for_nothing() {
    let t0 = start();
    let mut line = line_of(settings_of(3), 3, t0);
    assert_eq!(connect(&mut line, &[], t0).len(), 3);
    assert!(fail(&mut line, 0, t0).is_some());
    assert_eq!(fail(&mut line, 0, t0), None);
    assert_eq!(fail(&mut line, 99, t0), None);
    let mut off = line_of(LineupSettings { outlier: None, ..settings_of(2) }, 2, t0);
    assert_eq!(connect(&mut off, &[], t0).len(), 2);
    assert_eq!(fail(&mut off, 0, t0), None);
}

//! A gate whose permits and places to wait become more or fewer.

use super::*;

/// An active gate of two permits, both in use, at which items 2 and 3 wait.
fn busy(t0: Instant) -> Gate<u32> {
    let mut gate = Gate::opening(2, 2, 9);
    assert_eq!(gate.admit(0, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Granted(0));
    assert_eq!(gate.opened(t0), Handed::default());
    assert_eq!(gate.admit(1, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Granted(1));
    for item in 2..=3 {
        let entry = gate.admit(item, Asks::PATIENT, t0 + ms(50), t0);
        assert!(matches!(entry, GateEntry::Queued { .. }));
    }
    gate
}

fn granted(items: &[u32]) -> Handed<u32> {
    Handed { granted: items.to_vec(), expired: vec![], refused: vec![] }
}

#[test]
fn more_permits_are_granted_at_once_in_the_order_of_arrival() {
    let t0 = start();
    let mut gate = busy(t0);
    assert_eq!(gate.resize(3, 2, t0), granted(&[2]));
    assert_eq!(gate.resize(9, 2, t0), granted(&[3]));
    assert_eq!((gate.used(), gate.permits(), gate.waiting()), (4, 9, 0));
    assert_eq!(gate.admit(4, Asks::PATIENT, t0, t0), GateEntry::Granted(4));
}

#[test]
fn of_fewer_permits_none_is_granted_until_enough_are_finished() {
    let t0 = start();
    let mut gate = busy(t0);
    assert_eq!(gate.resize(1, 2, t0), Handed::default());
    assert_eq!((gate.used(), gate.permits()), (2, 1));
    assert!(!gate.try_take());
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert_eq!(gate.finish(None, t0), granted(&[2]));
    assert_eq!(gate.finish(None, t0), granted(&[3]));
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert!(gate.try_take());
    assert!(!gate.try_take());
}

#[test]
fn who_waits_already_may_wait_on_and_a_new_one_only_where_there_is_a_place() {
    let t0 = start();
    let mut gate = busy(t0);
    assert_eq!(gate.resize(2, 1, t0), Handed::default());
    assert_eq!(gate.waiting(), 2);
    let full = |waiting| GateRefusal::QueueFull { used: 2, waiting, limit: 1 };
    assert_eq!(gate.admit(4, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Refused(4, full(2)));
    assert_eq!(gate.finish(None, t0), granted(&[2]));
    assert_eq!(gate.admit(5, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Refused(5, full(1)));
    assert_eq!(gate.finish(None, t0), granted(&[3]));
    let entry = gate.admit(6, Asks::PATIENT, t0 + ms(50), t0);
    assert!(matches!(entry, GateEntry::Queued { position: 1, .. }));
}

#[test]
fn while_the_tenant_is_opened_or_ends_more_permits_change_nothing() {
    let t0 = start();
    let mut gate = three_at_the_door(1, t0);
    assert_eq!(gate.resize(3, 2, t0), Handed::default());
    assert_eq!((gate.used(), gate.waiting()), (1, 2));
    assert_eq!(gate.opened(t0), granted(&[1, 2]));
    assert!(gate.drain().is_empty());
    assert_eq!(gate.resize(9, 2, t0), Handed::default());
    assert_eq!(gate.admit(3, Asks::PATIENT, t0, t0), GateEntry::Refused(3, GateRefusal::Draining));
}

#[test]
fn with_more_permits_than_a_caller_may_hold_its_limit_counts_again() {
    let t0 = start();
    let mut gate = Gate::opening(1, 9, 1);
    assert_eq!(gate.admit(0, of("a"), t0 + ms(50), t0), GateEntry::Granted(0));
    assert_eq!(gate.opened(t0), Handed::default());
    for (item, caller) in [(1, "a"), (2, "b")] {
        let entry = gate.admit(item, of(caller), t0 + ms(50), t0);
        assert!(matches!(entry, GateEntry::Queued { .. }));
    }
    let handed = gate.resize(2, 9, t0);
    assert_eq!((handed.granted, handed.refused), (vec![2], vec![1]));
}

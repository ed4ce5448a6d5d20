//! A gate that grants nothing for a while.

use super::*;

/// An active gate of two permits, one in use.
fn active(t0: Instant) -> Gate<u32> {
    let mut gate = Gate::opening(2, 3, 9);
    assert_eq!(gate.admit(0, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Granted(0));
    assert_eq!(gate.opened(t0), Handed::default());
    gate
}

fn waits(gate: &mut Gate<u32>, item: u32, deadline: Instant, now: Instant) {
    let entry = gate.admit(item, Asks::PATIENT, deadline, now);
    assert!(matches!(entry, GateEntry::Queued { .. }), "{entry:?}");
}

fn granted(items: &[u32]) -> Handed<u32> {
    Handed { granted: items.to_vec(), expired: vec![], refused: vec![] }
}

#[test]
fn items_wait_at_a_paused_gate_and_are_granted_in_their_order_when_it_goes_on() {
    let t0 = start();
    let mut gate = active(t0);
    assert!(gate.pause(Pause::Wait).is_empty());
    assert_eq!(gate.paused(), Some(Pause::Wait));
    for item in 1..=3 {
        waits(&mut gate, item, t0 + ms(50), t0);
    }
    let full = GateRefusal::QueueFull { used: 1, waiting: 3, limit: 3 };
    assert_eq!(gate.admit(4, Asks::PATIENT, t0 + ms(50), t0), GateEntry::Refused(4, full));
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert_eq!(gate.resize(2, 9, t0), Handed::default());
    assert_eq!((gate.used(), gate.waiting()), (0, 3));
    // The service's own work goes on: none of those who wait could have the permit.
    assert!(gate.try_take());
    assert_eq!(gate.finish(None, t0), Handed::default());
    assert_eq!(gate.resume(t0), granted(&[1, 2]));
    assert_eq!((gate.paused(), gate.used(), gate.waiting()), (None, 2, 1));
    assert!(!gate.try_take());
    assert_eq!(gate.finish(None, t0), granted(&[3]));
}

#[test]
fn who_waits_at_a_paused_gate_waits_no_longer_than_it_may() {
    let t0 = start();
    let mut gate = active(t0);
    let _ = gate.pause(Pause::Wait);
    waits(&mut gate, 1, t0 + ms(10), t0);
    waits(&mut gate, 2, t0 + ms(50), t0);
    assert_eq!(gate.expire(t0 + ms(10), 9), [(1, 1)]);
    assert_eq!(gate.resume(t0 + ms(20)), granted(&[2]));
    let may_not = Asks { may_wait: false, ..Asks::PATIENT };
    let _ = gate.pause(Pause::Wait);
    let entry = gate.admit(3, may_not, t0 + ms(50), t0);
    assert_eq!(entry, GateEntry::Refused(3, GateRefusal::MayNotWait));
}

#[test]
fn a_gate_that_refuses_lets_go_of_those_who_wait_and_can_change_its_mind() {
    let t0 = start();
    let mut gate = active(t0);
    let _ = gate.pause(Pause::Wait);
    waits(&mut gate, 1, t0 + ms(50), t0);
    assert_eq!(gate.pause(Pause::Refuse), [1]);
    let refused = GateEntry::Refused(2, GateRefusal::Paused);
    assert_eq!(gate.admit(2, Asks::PATIENT, t0 + ms(50), t0), refused);
    assert!(gate.pause(Pause::Wait).is_empty());
    waits(&mut gate, 3, t0 + ms(50), t0);
    assert_eq!(gate.drain(), [3]);
    assert_eq!((gate.paused(), gate.resume(t0)), (None, Handed::default()));
    let draining = GateEntry::Refused(4, GateRefusal::Draining);
    assert_eq!(gate.admit(4, Asks::PATIENT, t0 + ms(50), t0), draining);
}

#[test]
fn a_gate_that_is_being_opened_is_paused_as_soon_as_it_is_open() {
    let t0 = start();
    let mut gate = three_at_the_door(3, t0);
    assert!(gate.pause(Pause::Refuse).is_empty(), "they wait for the opener's result");
    let _ = gate.pause(Pause::Wait);
    assert_eq!(gate.opened(t0), Handed::default());
    assert_eq!((gate.state(), gate.used(), gate.waiting()), (GateState::Active, 1, 2));
    assert_eq!(gate.resume(t0), granted(&[1, 2]));
}

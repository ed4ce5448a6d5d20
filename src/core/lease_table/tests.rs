//! The table case by case.

mod model;
mod random;

use super::super::testing::{facts, id, ms, start, tenant, Xorshift};
use super::*;
use std::collections::BTreeSet;

/// A checkout cannot be copied, so that the compiler sees to it that it is in one place.
#[derive(Debug, PartialEq, Eq)]
struct Checkout(u32);

type Table = LeaseTable<Checkout, u32>;

const AGE: Duration = Duration::from_secs(600);
const TERMS: Terms = Terms {
    ttl: Duration::from_millis(100),
    idle_in_transaction: Duration::from_millis(40),
    max_lifetime: Duration::from_millis(1000),
};

fn tombstone(n: u32, reason: EndReason, ended_at: Instant) -> Tombstone {
    Tombstone { lease_name: format!("lease-{n}"), tenant: tenant(), reason, ended_at }
}

/// A table with lease 1, granted at `t0`.
fn one_lease(t0: Instant) -> Table {
    let mut table = Table::new(10, AGE);
    let view = table.grant(id(1), facts(1), TERMS, Checkout(1), t0);
    assert_eq!((view.state, view.ttl_remaining), (LeaseState::Idle, ms(100)));
    table
}

/// The same while an operation runs that began at `t0`.
fn one_busy_lease(t0: Instant) -> Table {
    let mut table = one_lease(t0);
    assert_eq!(table.begin(&id(1), Via::Call, 7, t0).unwrap().0, Checkout(1));
    table
}

fn ended(n: u32, reason: EndReason, at: Instant) -> Denied {
    Denied::Ended(tombstone(n, reason, at))
}

#[test]
fn an_operation_moves_the_session_out_and_back() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let denied = table.begin(&id(1), Via::Call, 8, t0).unwrap_err();
    assert!(matches!(denied, Denied::Busy(view) if view.state == LeaseState::Busy));
    let Ended::Kept(view) = table.end(&id(1), Checkout(1), TransactionState::None, t0 + ms(30))
    else {
        panic!("the lease should go on");
    };
    assert_eq!((view.ttl_remaining, view.lifetime_remaining), (ms(100), ms(970)));
    assert_eq!(view.last_used_at, t0 + ms(30));
    assert_eq!(table.release(&id(1), Via::Call, t0 + ms(30)).unwrap().0, Checkout(1));
    assert!(table.is_empty());
}

#[test]
fn an_unknown_id_is_not_found() {
    let t0 = start();
    let mut table = one_lease(t0);
    assert_eq!(table.begin(&id(2), Via::Call, 7, t0), Err(Denied::NotFound));
    assert_eq!(table.release(&id(2), Via::Call, t0), Err(Denied::NotFound));
    assert_eq!(table.revoke(&id(2), EndReason::Revoked, t0), Err(Denied::NotFound));
    assert_eq!(table.renew(&id(2), None, t0), Err(Denied::NotFound));
    assert_eq!(table.view(&id(2), t0), Err(Denied::NotFound));
    assert_eq!(table.lost(&id(2), EndReason::BackendLost, t0), None);
}

#[test]
fn a_session_nobody_began_with_is_handed_back() {
    let t0 = start();
    let mut table = one_lease(t0);
    for n in [1, 2] {
        let outcome = table.end(&id(n), Checkout(9), TransactionState::None, t0);
        assert_eq!(outcome, Ended::Unknown(Checkout(9)));
    }
    assert_eq!(table.begin(&id(1), Via::Call, 7, t0).unwrap().0, Checkout(1));
}

#[test]
fn a_lease_whose_ttl_ran_out_is_over_before_the_reaper_comes() {
    let t0 = start();
    let mut table = one_lease(t0);
    let over = Err(ended(1, EndReason::Ttl, t0 + ms(100)));
    assert!(table.view(&id(1), t0 + ms(99)).is_ok());
    let late = t0 + ms(150);
    assert_eq!(table.begin(&id(1), Via::Call, 7, late).map(drop), over);
    assert_eq!(table.renew(&id(1), Some(ms(900)), late).map(drop), over);
    assert_eq!(table.release(&id(1), Via::Call, late).map(drop), over);
    assert_eq!(table.revoke(&id(1), EndReason::Revoked, late).map(drop), over);
    assert_eq!(table.view(&id(1), late).map(drop), over);
    assert_eq!((table.len(), table.next_deadline()), (1, Some(t0 + ms(100))));
    let due = table.due(late, 10);
    assert!(matches!(&due[..], [Due::Over { checkout: Checkout(1), reason: EndReason::Ttl, .. }]));
    assert_eq!(table.begin(&id(1), Via::Call, 7, late).map(drop), over);
    assert_eq!((table.len(), table.next_deadline()), (0, None));
}

#[test]
fn a_busy_lease_does_not_end_by_ttl() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    assert!(table.due(t0 + ms(999), 10).is_empty());
    assert_eq!(table.view(&id(1), t0 + ms(999)).unwrap().ttl_remaining, ms(100));
    let outcome = table.end(&id(1), Checkout(1), TransactionState::None, t0 + ms(500));
    assert!(matches!(outcome, Ended::Kept(_)));
    assert_eq!(table.next_deadline(), Some(t0 + ms(600)));
}

#[test]
fn a_renewal_restarts_the_ttl_but_not_the_transaction_clock() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let outcome = table.end(&id(1), Checkout(1), TransactionState::Failed, t0 + ms(10));
    let Ended::Kept(view) = outcome else { panic!("the lease should go on") };
    assert_eq!(view.transaction_since, Some(t0 + ms(10)));
    let view = table.renew(&id(1), Some(ms(300)), t0 + ms(30)).unwrap();
    assert_eq!((view.ttl, view.ttl_remaining), (ms(300), ms(300)));
    assert_eq!(table.next_deadline(), Some(t0 + ms(50)));
    let denied = table.begin(&id(1), Via::Call, 7, t0 + ms(50)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::IdleInTransaction, t0 + ms(50)));
}

#[test]
fn an_operation_restarts_the_transaction_clock_but_the_transaction_keeps_its_age() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let _ = table.end(&id(1), Checkout(1), TransactionState::Open, t0 + ms(10));
    let (checkout, _) = table.begin(&id(1), Via::Call, 7, t0 + ms(40)).unwrap();
    let outcome = table.end(&id(1), checkout, TransactionState::Open, t0 + ms(45));
    let Ended::Kept(view) = outcome else { panic!("the lease should go on") };
    assert_eq!(view.transaction_since, Some(t0 + ms(10)));
    assert_eq!(table.next_deadline(), Some(t0 + ms(85)));
    let (checkout, _) = table.begin(&id(1), Via::Call, 7, t0 + ms(50)).unwrap();
    let outcome = table.end(&id(1), checkout, TransactionState::None, t0 + ms(55));
    let Ended::Kept(view) = outcome else { panic!("the lease should go on") };
    assert_eq!(view.transaction_since, None);
    assert_eq!(table.next_deadline(), Some(t0 + ms(155)));
}

#[test]
fn a_busy_lease_past_its_lifetime_is_overdue_once_and_ends_with_its_operation() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let due = table.due(t0 + ms(1000), 10);
    assert!(matches!(&due[..], [Due::Overdue { handle: 7, .. }]));
    assert!(table.due(t0 + ms(2000), 10).is_empty());
    assert_eq!(table.next_deadline(), None);
    let outcome = table.end(&id(1), Checkout(1), TransactionState::None, t0 + ms(2000));
    assert!(matches!(outcome, Ended::Over { reason: EndReason::MaxLifetime, .. }));
    let denied = table.view(&id(1), t0 + ms(2000)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::MaxLifetime, t0 + ms(2000)));
}

#[test]
fn an_operation_that_ends_past_the_lifetime_ends_the_lease_though_nobody_looked() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let outcome = table.end(&id(1), Checkout(1), TransactionState::None, t0 + ms(1000));
    assert!(matches!(outcome, Ended::Over { reason: EndReason::MaxLifetime, .. }));
}

#[test]
fn a_lease_cannot_be_renewed_past_its_lifetime() {
    let t0 = start();
    let mut table = one_lease(t0);
    for n in 1..=13 {
        table.renew(&id(1), None, t0 + ms(75 * n)).unwrap();
    }
    let denied = table.renew(&id(1), None, t0 + ms(1000)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::MaxLifetime, t0 + ms(1000)));
}

#[test]
fn the_first_reason_to_end_a_busy_lease_stays() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    for reason in [EndReason::Revoked, EndReason::TenantRemoved] {
        let revoked = table.revoke(&id(1), reason, t0).unwrap();
        assert!(matches!(revoked, Revoked::Ending { handle: 7, .. }));
    }
    let (idle, busy) = table.end_all(EndReason::Shutdown, t0);
    assert_eq!((idle.len(), busy.len()), (0, 1));
    let (view, reason) = table.lost(&id(1), EndReason::BackendLost, t0 + ms(5)).unwrap();
    assert_eq!((view.state, reason), (LeaseState::Busy, EndReason::Revoked));
    let outcome = table.end(&id(1), Checkout(1), TransactionState::None, t0 + ms(6));
    assert_eq!(outcome, Ended::Unknown(Checkout(1)));
    let denied = table.release(&id(1), Via::Call, t0 + ms(6)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::Revoked, t0 + ms(5)));
}

#[test]
fn ending_all_takes_idle_sessions_out_and_names_the_running_operations() {
    let t0 = start();
    let mut table = Table::new(10, AGE);
    for n in 1..=4 {
        let ttl = if n == 3 { ms(10) } else { ms(100) };
        let _ = table.grant(id(n), facts(n), Terms { ttl, ..TERMS }, Checkout(n), t0);
    }
    table.begin(&id(2), Via::Call, 22, t0).unwrap();
    let now = t0 + ms(50);
    let (idle, busy) = table.end_all(EndReason::Shutdown, now);
    let checkouts: Vec<u32> = idle.iter().map(|(checkout, _)| checkout.0).collect();
    let handles: Vec<u32> = busy.iter().map(|(handle, _)| *handle).collect();
    assert_eq!((checkouts, handles), (vec![1, 3, 4], vec![22]));
    assert_eq!(table.view(&id(1), now), Err(ended(1, EndReason::Shutdown, now)));
    assert_eq!(table.view(&id(3), now), Err(ended(3, EndReason::Ttl, t0 + ms(10))));
    let outcome = table.end(&id(2), Checkout(2), TransactionState::None, now);
    assert!(matches!(outcome, Ended::Over { reason: EndReason::Shutdown, .. }));
    assert!(table.is_empty());
}

#[test]
fn tombstones_are_bounded_in_number_and_in_age() {
    let t0 = start();
    let mut table = Table::new(2, ms(500));
    for n in 1..=3 {
        let _ = table.grant(id(n), facts(n), TERMS, Checkout(n), t0);
        table.release(&id(n), Via::Call, t0 + ms(u64::from(n))).unwrap();
    }
    assert_eq!(table.view(&id(1), t0 + ms(9)), Err(Denied::NotFound));
    let late = t0 + ms(502);
    assert_eq!(table.view(&id(2), late), Err(ended(2, EndReason::Released, t0 + ms(2))));
    assert_eq!(table.view(&id(2), late + ms(1)), Err(Denied::NotFound));
    assert_eq!(table.tombstones.by_id.len(), 2);
    assert!(table.due(late + ms(1), 10).is_empty());
    assert_eq!((table.tombstones.by_id.len(), table.tombstones.order.len()), (1, 1));
}

#[test]
fn clocks_too_long_to_tell_never_run_out() {
    let t0 = start();
    let forever = Duration::MAX;
    let terms = Terms { ttl: forever, idle_in_transaction: forever, max_lifetime: forever };
    let mut table = Table::new(0, forever);
    let view = table.grant(id(1), facts(1), terms, Checkout(1), t0);
    assert_eq!((view.ttl_remaining, table.next_deadline()), (forever, None));
    table.release(&id(1), Via::Call, t0).unwrap();
    assert_eq!(table.view(&id(1), t0), Err(Denied::NotFound));
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = EndReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), 10);
    assert!(names.iter().all(|name| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())));
}

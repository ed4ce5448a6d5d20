//! Leases that get into each other's way, and statements that are cancelled.

use crate::harness::code::{ABORTED, CANCELLED, DEADLINE_EXCEEDED};
use crate::harness::sql::assert_same_backend;
use crate::harness::sql::{
    assert_error, assert_sqlstate, on_lease, state_after, state_of, work, FAILED, NONE, OPEN,
};
use crate::harness::{answer, eventually, millis, refused, tenant, Held, Service, Tenant};
use connection_pool_manager::proto::connection_pool::TransactionState;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteRequest;

const SLEEP: &str = "select pg_sleep(600)";

/// Two leases of a tenant that has a table with the rows 1 and 2.
fn two_leases(service: &Service) -> (Tenant, Held, Held) {
    let tenant = tenant();
    let (one, other) = (service.lease(&tenant), service.lease(&tenant));
    one.run(&[
        "create table account (n int primary key, sum int)",
        "insert into account values (1, 0), (2, 0)",
    ]);
    (tenant, one, other)
}

#[test]
fn a_row_changed_by_another_since_the_snapshot_aborts() {
    let service = Service::start();
    let (_tenant, one, other) = two_leases(&service);
    one.run(&["begin isolation level repeatable read", "select sum from account"]);
    other.run(&["update account set sum = 1 where n = 1"]);
    let error = one.fails(&["update account set sum = sum + 1 where n = 1"]);
    assert_sqlstate(&error, "40001", ABORTED);
    assert_eq!((work(&error), state_after(&error)), ((Outcome::NOT_APPLIED, 0, 0), FAILED));
    one.run(&["rollback", "update account set sum = sum + 1 where n = 1"]);
    assert_eq!(one.value("select sum from account where n = 1"), "2");
    assert_same_backend(&one);
}

#[test]
fn a_commit_that_cannot_be_serialized_has_applied_nothing() {
    let service = Service::start();
    let (_tenant, one, other) = two_leases(&service);
    for (lease, mine) in [(&one, 3), (&other, 4)] {
        let insert = format!("insert into account select {mine}, count(*) from account");
        lease.run(&["begin isolation level serializable", &insert]);
    }
    one.run(&["commit"]);
    let error = other.fails(&["commit"]);
    assert_sqlstate(&error, "40001", ABORTED);
    assert_eq!((work(&error), state_after(&error)), ((Outcome::NOT_APPLIED, 0, 0), NONE));
    assert_eq!(other.value("select string_agg(n::text, ' ' order by n) from account"), "1 2 3");
    assert_same_backend(&other);
}

#[test]
fn one_of_two_in_a_deadlock_aborts_and_the_other_one_continues() {
    let service = Service::start();
    let (tenant, one, other) = two_leases(&service);
    tenant.sql(&format!("grant set on parameter deadlock_timeout to {}", tenant.name));
    // Only the other one ever looks whether it stands in one.
    one.run(&["set deadlock_timeout = '1h'", "begin", "update account set sum = 1 where n = 1"]);
    other.run(&["set deadlock_timeout = '1ms'", "begin", "update account set sum = 2 where n = 2"]);
    let waits = one.run_later("update account set sum = 1 where n = 2");
    let waiting = format!(
        "select count(*) from pg_locks where not granted and pid = {} and locktype = 'transactionid'",
        one.pid
    );
    eventually("the first one waits", || tenant.sql(&waiting) == "1");
    let error = other.fails(&["update account set sum = 2 where n = 1"]);
    assert_sqlstate(&error, "40P01", ABORTED);
    assert_eq!((work(&error), state_after(&error)), ((Outcome::NOT_APPLIED, 0, 0), FAILED));
    other.run(&["rollback"]);
    answer(waits).expect("it goes on");
    one.run(&["commit"]);
    assert_eq!(other.value("select string_agg(sum::text, ' ') from account"), "1 1");
    assert_same_backend(&other);
}

#[test]
fn a_lock_that_is_not_waited_for_aborts() {
    let service = Service::start();
    let (_tenant, one, other) = two_leases(&service);
    one.run(&["begin", "update account set sum = 1"]);
    for (setting, sql) in [
        ("", "select n from account for update nowait"),
        ("", "select n from account for share nowait"),
        ("set lock_timeout = '1ms'", "update account set sum = 2"),
    ] {
        other.run(&[setting]);
        let error = other.fails(&[sql]);
        assert_sqlstate(&error, "55P03", ABORTED);
        assert_eq!((work(&error), state_after(&error)), ((Outcome::NOT_APPLIED, 0, 0), NONE));
        other.run(&["begin"]);
        let error = other.fails(&[sql]);
        assert_sqlstate(&error, "55P03", ABORTED);
        assert_eq!((state_after(&error), state_of(&other)), (FAILED, FAILED));
        other.run(&["rollback"]);
    }
    one.run(&["commit"]);
    assert_eq!(other.value("select sum(sum) from account"), "2");
    assert_same_backend(&other);
}

/// A lease, alone or in a transaction that has done something.
fn lease_in(service: &Service, tenant: &Tenant, state: TransactionState) -> Held {
    let lease = service.lease(tenant);
    lease.run(&["create table if not exists thing (n int)"]);
    if state == OPEN {
        lease.run(&["begin", "insert into thing values (1)"]);
    }
    lease
}

/// Nothing was done, and only a transaction has failed.
#[track_caller]
fn assert_undone(lease: &Held, before: TransactionState) {
    assert_eq!(state_of(lease), if before == OPEN { FAILED } else { NONE });
    lease.run(&["rollback"]);
    assert_eq!(lease.value("select count(*) from thing"), "0");
    assert_same_backend(lease);
}

#[test]
fn a_cancel_that_the_service_did_not_ask_for_is_an_error_of_postgresql() {
    let (service, tenant) = (Service::start(), tenant());
    for before in [NONE, OPEN] {
        let lease = lease_in(&service, &tenant, before);
        let sleep = lease.run_later(SLEEP);
        eventually("it sleeps", || tenant.running("pg_sleep") == 1);
        assert_eq!(tenant.sql(&format!("select pg_cancel_backend({})", lease.pid)), "t");
        let error = refused(answer(sleep));
        assert_sqlstate(&error, "57014", CANCELLED);
        assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0));
        assert_undone(&lease, before);
    }
}

#[test]
fn a_timeout_of_the_session_is_an_error_of_postgresql() {
    let (service, tenant) = (Service::start(), tenant());
    for before in [NONE, OPEN] {
        let lease = lease_in(&service, &tenant, before);
        lease.run(&["set statement_timeout = '100ms'"]);
        let error = lease.fails(&[SLEEP]);
        assert_sqlstate(&error, "57014", CANCELLED);
        assert!(error.message.contains("statement timeout"), "{error}");
        assert_undone(&lease, before);
    }
}

#[test]
fn a_timeout_of_the_request_differs_from_that_of_the_session() {
    let (service, tenant) = (Service::start(), tenant());
    for before in [NONE, OPEN] {
        let lease = lease_in(&service, &tenant, before);
        let brief = ExecuteRequest { timeout: millis(100), ..on_lease(&lease, &[SLEEP]) };
        let error = refused(lease.client.execute(&brief));
        assert_error(&error, DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
        assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0));
        assert_undone(&lease, before);
    }
}

#[test]
fn a_call_cancelled_by_its_caller_leaves_a_failed_transaction_and_the_lease() {
    let (service, tenant) = (Service::start(), tenant());
    for before in [NONE, OPEN] {
        let lease = lease_in(&service, &tenant, before);
        let mut sleep = lease.run_later(SLEEP);
        eventually("it sleeps", || tenant.running("pg_sleep") == 1);
        sleep.cancel();
        assert_eq!(refused(answer(sleep)).code, CANCELLED);
        eventually("the lease is idle again", || {
            match lease.client.run(&lease.id, &["select 1"]) {
                Err(error) if error.reason == "LEASE_BUSY" => false,
                Err(error) => error.postgres.expect("a PostgresError").sqlstate == "25P02",
                Ok(_) => before == NONE,
            }
        });
        assert_undone(&lease, before);
    }
}

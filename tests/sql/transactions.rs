//! Transactions: their true state, atomic calls, and what a failure leaves.

use crate::harness::sql::{
    assert_error, atomic, one_shot, state, state_of, work, FAILED, NONE, OPEN,
};
use crate::harness::{code, refused, tenant, Service};
use connection_pool_manager::proto::errors::work_outcome::Outcome;

#[test]
fn every_answer_tells_the_transaction_state() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    assert_eq!(state(&lease.run(&["create table thing (n int)"])), NONE);
    assert_eq!(state(&lease.run(&["begin"])), OPEN);
    assert_eq!(state(&lease.run(&["insert into thing values (1)", "savepoint here"])), OPEN);
    assert_error(&lease.fails(&["select * from nothing"]), code::NOT_FOUND, "SQL_ERROR");
    let late = lease.fails(&["select 1"]);
    assert_error(&late, code::FAILED_PRECONDITION, "SQL_ERROR");
    assert_eq!(late.postgres.unwrap().sqlstate, "25P02");
    assert_eq!(state(&lease.run(&["rollback to here"])), OPEN);
    assert_eq!(lease.value("select n from thing"), "1");
    assert_eq!(state(&lease.run(&["rollback"])), NONE);
    assert_eq!(lease.value("select count(*) from thing"), "0");
    assert_eq!(state(&lease.run(&["begin", "insert into thing values (2)", "commit"])), NONE);
    assert_eq!(tenant.sql("select n from thing"), "2");
}

#[test]
fn a_commit_of_a_failed_transaction_is_aborted_and_the_lease_stays_usable() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    for commit in [
        "commit",
        "COMMIT work",
        "/* a /* b */ */ end",
        "-- c\n commit",
        "end transaction",
        "prepare transaction 'x'",
    ] {
        lease.run(&["begin", "insert into thing values (1)"]);
        lease.fails(&["select 1/0"]);
        let error = lease.fails(&[commit]);
        assert_error(&error, code::ABORTED, "TRANSACTION_ROLLED_BACK");
        assert_eq!(work(&error), (Outcome::NOT_APPLIED, 0, 0), "{commit}");
        assert_eq!(state_of(&lease), NONE);
        assert_eq!(lease.value("select count(*) from thing"), "0");
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    }
    // A rollback that was asked for is a success, whatever came before.
    lease.run(&["begin"]);
    lease.fails(&["select 1/0"]);
    assert_eq!(lease.run(&["rollback"]).results[0].command_tag, "ROLLBACK");
}

#[test]
fn a_line_comment_ends_at_a_carriage_return_as_in_postgresql() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)", "begin"]);
    lease.fails(&["select 1/0"]);
    assert_error(&lease.fails(&["-- a\rcommit"]), code::ABORTED, "TRANSACTION_ROLLED_BACK");
    let hidden = refused(atomic(&lease, &["insert into thing values (1)", "-- a\rcommit"]));
    assert_error(&hidden, code::INVALID_ARGUMENT, "INVALID_ARGUMENT");
    assert_eq!(lease.value("select count(*) from thing"), "0");
}

#[test]
fn atomic_is_all_or_nothing() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&[
        "create table thing (n int primary key, m int unique deferrable initially deferred)",
    ]);
    let twice = ["insert into thing values (1, 1)", "insert into thing values (1, 2)"];
    let error = refused(atomic(&lease, &twice));
    assert_error(&error, code::ALREADY_EXISTS, "SQL_ERROR");
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 1, 1));
    assert_eq!((tenant.sql("select count(*) from thing"), state_of(&lease)), ("0".into(), NONE));

    // The constraint speaks only at COMMIT.
    let late = ["insert into thing values (1, 1)", "insert into thing values (2, 1)"];
    let error = refused(atomic(&lease, &late));
    assert_error(&error, code::ALREADY_EXISTS, "SQL_ERROR");
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 2, -1));
    assert_eq!((tenant.sql("select count(*) from thing"), state_of(&lease)), ("0".into(), NONE));

    let fine = [
        "insert into thing values (1, 1)",
        "savepoint s",
        "insert into thing values (2, 2)",
        "rollback to s",
    ];
    let answer = atomic(&lease, &fine).unwrap();
    assert_eq!((answer.results.len(), state(&answer)), (4, NONE));
    assert_eq!(tenant.sql("select n from thing"), "1");
}

#[test]
fn atomic_inside_an_open_transaction_leaves_it_open() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)", "begin"]);
    let answer = atomic(&lease, &["insert into thing values (1)"]).unwrap();
    assert_eq!(state(&answer), OPEN);
    assert_eq!(tenant.sql("select count(*) from thing"), "0");
    refused(atomic(&lease, &["insert into thing values (2)", "select 1/0"]));
    assert_eq!(state_of(&lease), FAILED);
    lease.run(&["rollback"]);
    assert_eq!(tenant.sql("select count(*) from thing"), "0");
}

#[test]
fn transaction_control_inside_atomic_is_refused() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    for control in [
        "begin",
        "start transaction",
        "commit",
        "/* a */ COMMIT",
        "end",
        "abort",
        "rollback",
        "rollback work",
        "rollback and chain",
        "prepare transaction 'x'",
    ] {
        let error = refused(atomic(&lease, &["insert into thing values (1)", control]));
        assert_error(&error, code::INVALID_ARGUMENT, "INVALID_ARGUMENT");
        assert_eq!(error.info.unwrap().metadata["field"], "statements", "{control}");
        assert!(error.message.contains("statements[1]"), "{}", error.message);
    }
    assert_eq!(lease.value("select count(*) from thing"), "0");
}

#[test]
fn a_comment_does_not_smuggle_a_rollback_into_atomic() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    for control in ["rollback /* to */", "rollback -- to", "prepare/**/transaction/**/'x'"] {
        let statements = ["insert into thing values (1)", control, "insert into thing values (2)"];
        let error = refused(atomic(&lease, &statements));
        assert_error(&error, code::INVALID_ARGUMENT, "INVALID_ARGUMENT");
        assert_eq!(tenant.sql("select count(*) from thing"), "0", "{control}");
    }
    atomic(&lease, &["savepoint a", "rollback/**/to a"]).unwrap();
}

#[test]
fn without_atomic_a_failure_returns_what_took_effect() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let insert = "insert into thing values (1)";
    let error = lease.fails(&["create table thing (n int)", insert, "select 1/0", insert]);
    assert_error(&error, code::INVALID_ARGUMENT, "SQL_ERROR");
    assert_eq!(work(&error), (Outcome::APPLIED, 2, 2));
    assert_eq!(tenant.sql("select count(*) from thing"), "1");
    let first = lease.fails(&["select 1/0", insert]);
    assert_eq!(work(&first), (Outcome::NOT_APPLIED, 0, 0));
    let inside = lease.fails(&["begin", insert, "select 1/0"]);
    assert_eq!(work(&inside), (Outcome::NOT_APPLIED, 2, 2));
    lease.run(&["rollback"]);
    let around = lease.fails(&["begin", insert, "commit", "select 1/0"]);
    assert_eq!(work(&around), (Outcome::APPLIED, 3, 3));
    assert_eq!(tenant.sql("select count(*) from thing"), "2");
}

#[test]
fn a_one_shot_that_leaves_a_transaction_open_fails_and_nothing_of_it_is_there() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    tenant.sql("create table thing (n int); grant all on thing to public");
    let insert = "insert into thing values (1)";
    let error = refused(client.execute(&one_shot(&tenant, &["begin", insert])));
    assert_error(&error, code::FAILED_PRECONDITION, "TRANSACTION_LEFT_OPEN");
    assert_eq!(work(&error), (Outcome::NOT_APPLIED, 2, -1));
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select count(*) from thing"), "0");
    // What was committed before the transaction that stayed open is there.
    let error = refused(client.execute(&one_shot(&tenant, &[insert, "begin", insert])));
    assert_error(&error, code::FAILED_PRECONDITION, "TRANSACTION_LEFT_OPEN");
    assert_eq!(work(&error), (Outcome::APPLIED, 3, -1));
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select count(*) from thing"), "1");
}

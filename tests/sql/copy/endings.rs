//! COPY that ends before its time.

use crate::harness::sql::one_shot;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::{CopyInStart, CopyOutRequest};

use super::{assert_usable, begun, out, put, start, take};
use crate::harness::{
    code, eventually, millis, refused, sql::FAILED, tenant, Held, Service, Tenant,
};

fn free(lease: &Held) -> bool {
    lease.client.run(&lease.id, &["select 1"]).is_ok()
}

fn copying(tenant: &Tenant, event: &str) -> bool {
    let sql = format!(
        "select count(*) from pg_stat_activity where query like 'copy %' and state = 'active' \
         and wait_event = '{event}' and datname = current_database()"
    );
    tenant.sql(&sql) == "1"
}

#[test]
fn without_finish_nothing_remains() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    for data in [b"".as_slice(), b"1\n2\n", b"1\n2"] {
        let mut copy = begun(&lease, "copy t from stdin");
        copy.data(data).unwrap();
        let error = refused(copy.end());
        assert_eq!((error.code, error.reason.as_str()), (code::CANCELLED, "CANCELLED"));
        assert!(error.message.contains("without `finish`"), "{error}");
        assert_eq!(error.info.unwrap().metadata["cause"], "unfinished");
        assert_eq!(error.work.unwrap().outcome.unwrap(), Outcome::NOT_APPLIED);
        assert_usable(&lease);
    }
    lease.run(&["begin", "insert into t values (1)"]);
    let error = refused(begun(&lease, "copy t from stdin").end());
    assert_eq!(error.work.unwrap().transaction_state.unwrap(), FAILED);
    lease.run(&["rollback"]);
    assert_eq!(lease.value("select count(*) from t"), "0");
}

#[test]
fn a_client_that_leaves_aborts_and_frees() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    let mut copy = begun(&lease, "copy t from stdin");
    copy.data(b"1\n").unwrap();
    eventually("PostgreSQL reads", || copying(&tenant, "ClientRead"));
    let busy = refused(lease.client.run(&lease.id, &["select 1"]));
    assert_eq!(busy.reason, "LEASE_BUSY");
    drop(copy);
    eventually("the lease is free", || free(&lease));
    assert_usable(&lease);
    lease.release();
    let shot = CopyInStart {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        sql: "copy t from stdin".to_owned(),
        ..CopyInStart::default()
    };
    let copy = lease.client.copy_in(shot).unwrap();
    eventually("PostgreSQL reads", || copying(&tenant, "ClientRead"));
    drop(copy);
    service.wait_quiet(&tenant.name);
    // A reader that leaves.
    let lease = service.lease(&tenant);
    let endless = "copy (select repeat('x', 1000), generate_series(1, 100000000)) to stdout";
    let mut read = lease.client.copy_out(&out(&lease, endless)).unwrap();
    assert!(read.next().unwrap().is_some());
    eventually("PostgreSQL waits for its reader", || copying(&tenant, "ClientWrite"));
    drop(read);
    eventually("the lease is free", || free(&lease));
    assert_usable(&lease);
    assert_eq!(tenant.sql("select count(*) from t"), "0");
}

#[test]
fn a_refusal_is_returned_while_the_client_still_sends() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    let mut copy = begun(&lease, "copy t from stdin");
    let wrong = b"x\n".repeat(5000);
    // An endless client hears of it by its own next message.
    while copy.data(&wrong).is_ok() {}
    let error = refused(copy.end());
    assert_eq!(error.postgres.as_ref().expect(&error.message).sqlstate, "22P02");
    assert_usable(&lease);
}

#[test]
fn time_counts_while_postgresql_works_and_not_while_the_client_does() {
    let (service, tenant) = (Service::start(), tenant());
    let (lease, other) = (service.lease(&tenant), service.lease(&tenant));
    lease.run(&["create table t (n int)"]);
    let limited = CopyInStart { timeout: millis(1500), ..start(&lease, "copy t from stdin") };
    let mut copy = lease.client.copy_in(limited).unwrap();
    eventually("PostgreSQL reads", || copying(&tenant, "ClientRead"));
    other.run(&["select pg_sleep(2)"]);
    copy.data(b"1\n").unwrap();
    assert_eq!(copy.finish().unwrap().rows_affected, 1);
    let slow = CopyOutRequest {
        timeout: millis(50),
        ..out(&lease, "copy (select pg_sleep(60)) to stdout")
    };
    let error = take(&lease, &slow).error.expect("an error");
    assert_eq!((error.code, error.reason.as_str()), (code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT"));
    // Data that PostgreSQL does not take because a lock is in its way.
    other.run(&["begin", "lock table t"]);
    let blocked = CopyInStart { timeout: millis(50), ..start(&lease, "copy t from stdin") };
    let error = refused(lease.client.copy_in(blocked).unwrap().finish());
    assert_eq!((error.code, error.reason.as_str()), (code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT"));
    other.run(&["rollback"]);
    assert_usable(&lease);
    assert_eq!(lease.value("select count(*) from t"), "1");
}

#[test]
fn a_client_that_stalls_is_given_up() {
    let (service, tenant) = (Service::with(&["--stall-timeout", "1"]), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    let mut copy = begun(&lease, "copy t from stdin");
    copy.data(b"1\n").unwrap();
    eventually("the lease is free", || free(&lease));
    let error = refused(copy.finish());
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"));
    assert_eq!(error.info.unwrap().metadata["cause"], "stalled");
    let endless = "copy (select repeat('x', 1000), generate_series(1, 100000000)) to stdout";
    let mut read = lease.client.copy_out(&out(&lease, endless)).unwrap();
    eventually("the lease is free", || free(&lease));
    let error = loop {
        match read.next() {
            Ok(said) => assert!(said.is_some(), "it must not end well"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.info.unwrap().metadata["cause"], "stalled");
    assert_usable(&lease);
    assert_eq!(lease.value("select count(*) from t"), "0");
}

#[test]
fn a_revoked_lease_ends_its_copy() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    let mut copy = begun(&lease, "copy t from stdin");
    copy.data(b"1\n").unwrap();
    eventually("PostgreSQL reads", || copying(&tenant, "ClientRead"));
    lease.client.release_with(&lease.id, true).unwrap();
    let error = refused(copy.end());
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"));
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select count(*) from t"), "0");
}

#[test]
fn a_backend_lost_before_finish_has_stored_nothing_and_the_answer_says_so() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    let mut copy = begun(&lease, "copy t from stdin");
    copy.data(b"1\n").unwrap();
    eventually("PostgreSQL reads", || copying(&tenant, "ClientRead"));
    tenant.sql(&format!("select pg_terminate_backend({})", lease.pid));
    eventually("the backend is gone", || tenant.backend_pids().iter().all(|pid| *pid != lease.pid));
    while copy.data(b"2\n").is_ok() {}
    let error = refused(copy.end());
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "BACKEND_LOST"), "{error}");
    assert_eq!(error.work.unwrap().outcome.unwrap(), Outcome::NOT_APPLIED);
    assert_eq!(lease.end_reason(), "backend_lost");
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select count(*) from t"), "0");
    assert!(service.client().execute(&one_shot(&tenant, &["select 1"])).is_ok());
}

#[test]
fn a_copy_before_a_deadline_that_passes_is_undone() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    let hurried = lease.client.with_timeout(std::time::Duration::from_millis(300));
    let mut copy = hurried.copy_in(start(&lease, "copy t from stdin")).unwrap();
    // It has passed for the client when its next message is refused.
    while copy.data(b"1\n").is_ok() {}
    assert_eq!(refused(copy.end()).code, code::DEADLINE_EXCEEDED);
    eventually("the lease is free", || free(&lease));
    assert_usable(&lease);
    assert_eq!(lease.value("select count(*) from t"), "0");
    assert_eq!(put(&lease, "copy t from stdin", &[b"1\n"]).unwrap().rows_affected, 1);
}

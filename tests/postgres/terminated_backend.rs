//! Backends that PostgreSQL ends or refuses, and the SQLSTATE it gives.

use std::path::Path;

use crate::harness::code::{
    ABORTED, FAILED_PRECONDITION, RESOURCE_EXHAUSTED, UNAVAILABLE, UNKNOWN,
};
use crate::harness::sql::{assert_error, work};
use crate::harness::{
    acquire_later, answer, eventually, postgres, refused, request, retry_delay, running_on, tenant,
    tenant_on, Held, Service, Tenant,
};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::errors::work_outcome::Outcome;

#[track_caller]
fn assert_said(error: &CallError, sqlstate: &str, code: i32, reason: &str) {
    assert_error(error, code, reason);
    let words = error.postgres.as_ref().expect("a PostgresError");
    assert_eq!((&*words.severity, &*words.sqlstate), ("FATAL", sqlstate), "{error}");
    assert_eq!(error.info.as_ref().expect("an ErrorInfo").metadata["sqlstate"], sqlstate);
}

/// The lease has ended, and another backend serves the next one.
#[track_caller]
fn assert_replaced(service: &Service, tenant: &Tenant, lease: &Held) {
    assert_eq!(lease.end_reason(), "backend_lost");
    let next = service.lease(tenant);
    assert_ne!(next.pid, lease.pid);
    next.run(&["select 1"]);
}

#[test]
fn a_session_idle_longer_than_postgresql_allows_fails_the_next_operation() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["set idle_session_timeout = '2s'"]);
    eventually("the backend is gone", || tenant.backends() == 0);
    let error = lease.fails(&["select 1"]);
    assert_said(&error, "57P05", UNAVAILABLE, "BACKEND_LOST");
    assert_eq!(work(&error).0, Outcome::NOT_STARTED);
    assert_replaced(&service, &tenant, &lease);
}

#[test]
fn a_transaction_that_idles_longer_than_postgresql_allows_has_applied_nothing() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    lease.run(&["begin", "insert into thing values (1)"]);
    lease.run(&["set idle_in_transaction_session_timeout = '2s'"]);
    eventually("the backend is gone", || tenant.backends() == 0);
    let error = lease.fails(&["commit"]);
    assert_said(&error, "25P03", ABORTED, "BACKEND_LOST");
    assert_eq!(work(&error).0, Outcome::NOT_APPLIED);
    assert_replaced(&service, &tenant, &lease);
    assert_eq!(tenant.sql("select count(*) from thing"), "0");
}

#[test]
fn a_crash_of_postgresql_ends_every_lease_with_the_true_outcome() {
    let postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres));
    let (busy, open, idle) =
        (service.lease(&tenant), service.lease(&tenant), service.lease(&tenant));
    open.run(&["begin", "create table thing (n int)"]);
    let sleep = busy.run_later("select pg_sleep(600)");
    eventually("it sleeps", || running_on(&postgres, &tenant.name, "pg_sleep") == 1);
    let victim = service.lease(&tenant);
    postgres.kill(victim.pid).unwrap();
    let pids = [&busy, &open, &idle, &victim].map(|lease| format!("/proc/{}", lease.pid));
    eventually("all are gone", || !pids.iter().any(|pid| Path::new(pid).exists()));
    for (error, code, outcome) in [
        (refused(answer(sleep)), UNKNOWN, Outcome::UNKNOWN),
        (open.fails(&["commit"]), ABORTED, Outcome::NOT_APPLIED),
        (idle.fails(&["select 1"]), UNAVAILABLE, Outcome::NOT_STARTED),
        (victim.fails(&["select 1"]), UNAVAILABLE, Outcome::NOT_STARTED),
    ] {
        assert_error(&error, code, "BACKEND_LOST");
        assert_eq!(work(&error), (outcome, 0, 0));
    }
    for lease in [busy, open, idle, victim] {
        assert_eq!(lease.end_reason(), "backend_lost");
    }
    // Until it has recovered it takes nobody, and says so.
    let client = service.client();
    eventually("it has recovered", || match client.acquire(&tenant.name, &tenant.dsn) {
        Ok(lease) => client.run(&lease.connection_id, &["select 1"]).is_ok(),
        Err(error) => {
            let reasons = ["DATABASE_UNAVAILABLE", "BREAKER_OPEN"];
            assert!(error.code == UNAVAILABLE && reasons.contains(&&*error.reason), "{error}");
            false
        }
    });
}

/// What a role, a database or a DSN can have against a connection.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("28000", "alter role {0} nologin", ""),
    ("42501", "revoke connect on database {0} from public, {0}", ""),
    ("55000", "alter database {0} allow_connections false", ""),
    ("42704", "", " options='-c nothing=1'"),
    ("22023", "", " options='-c work_mem=1kB'"),
];

#[test]
fn the_reason_for_which_postgresql_rejects_a_connection_reaches_the_caller() {
    let service = Service::start();
    for (sqlstate, change, options) in REFUSALS {
        let mut tenant = tenant().pool_of(2);
        tenant.dsn += options;
        // Alone for the first connection, or beside one that is there.
        let there = options.is_empty().then(|| service.lease(&tenant));
        postgres().sql("postgres", &change.replace("{0}", &tenant.name)).unwrap();
        let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
        assert_said(&error, sqlstate, FAILED_PRECONDITION, "CONNECT_REJECTED");
        match there {
            Some(lease) => {
                assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string())
            }
            None => assert!(!service.knows(&tenant.name)),
        }
    }
}

/// Asks for a lease that there is not, with the advice to come back.
fn refused_for_now(service: &Service, tenant: &Tenant) -> CallError {
    let client = service.client();
    let call = acquire_later(&client, &request(tenant));
    let refusal = futures_executor::block_on(call).unwrap_err();
    assert!(retry_delay(&refusal).is_some_and(|delay| !delay.is_zero()), "{refusal}");
    refusal.into()
}

/// Limits on connections, and how they are lifted.
const LIMITS: &[(&str, &str)] = &[
    ("alter role {0} connection limit 1", "alter role {0} connection limit 2"),
    ("alter database {0} connection limit 1", "alter database {0} connection limit 2"),
];

#[test]
fn a_limit_on_connections_fails_with_a_retry_delay() {
    let service = Service::start();
    for (limit, lift) in LIMITS {
        let tenant = tenant().pool_of(2);
        let lease = service.lease(&tenant);
        postgres().sql("postgres", &limit.replace("{0}", &tenant.name)).unwrap();
        assert_said(
            &refused_for_now(&service, &tenant),
            "53300",
            RESOURCE_EXHAUSTED,
            "DATABASE_FULL",
        );
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
        postgres().sql("postgres", &lift.replace("{0}", &tenant.name)).unwrap();
        service.lease(&tenant).run(&["select 1"]);
    }
}

#[test]
fn a_full_server_fails_as_such_until_a_connection_is_free() {
    // Three are kept for the superuser.
    let options = Options { max_connections: 5, ..Options::default() };
    let postgres = Embedded::start(options).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres).pool_of(3));
    let leases = [service.lease(&tenant), service.lease(&tenant)];
    let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
    assert_error(&error, RESOURCE_EXHAUSTED, "DATABASE_FULL");
    // Whoever was not the one to try has not heard it from PostgreSQL.
    assert!(error.postgres.is_none_or(|words| words.sqlstate == "53300"));
    leases[0].release();
    service.wait_stats(&tenant.name, "one is idle", |stats| stats.idle_connections == 1);
    assert_eq!(service.lease(&tenant).pid, leases[0].pid);
}

#[test]
fn a_server_that_is_shutting_down_refuses_new_connections_and_serves_the_others() {
    let postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres).pool_of(2));
    let lease = service.lease(&tenant);
    let postmaster = rustix::process::Pid::from_raw(postgres.postmaster_pid().unwrap()).unwrap();
    rustix::process::kill_process(postmaster, rustix::process::Signal::TERM).unwrap();
    eventually("it takes nobody new", || postgres.sql("postgres", "select 1").is_err());
    assert_said(&refused_for_now(&service, &tenant), "57P03", UNAVAILABLE, "DATABASE_UNAVAILABLE");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

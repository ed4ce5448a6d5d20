//! What breaks, and what a caller hears of it.

use crate::harness::sql::assert_error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

use crate::harness;
use crate::harness::sql::atomic;
use crate::harness::{
    acquire_later, answer, backends_on, code, eventually, execute_later, millis, refused, request,
    running_on, tenant, tenant_on, Held, Service, Tenant,
};
use connection_pool_manager::client::service::{statement, text_at, CallError};
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::ExecuteRequest;

fn outcome(error: &CallError) -> Outcome {
    let work = error.work.as_ref().expect("a WorkOutcome");
    work.outcome.enum_value().unwrap()
}

/// Has PostgreSQL end the backend, and waits until it is gone.
fn terminate(tenant: &Tenant, lease: &Held) {
    assert_eq!(tenant.sql(&format!("select pg_terminate_backend({})", lease.pid)), "t");
    eventually("the backend is gone", || !tenant.backend_pids().contains(&lease.pid));
}

#[test]
fn a_backend_killed_under_an_idle_lease_fails_the_next_operation() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    terminate(&tenant, &lease);
    let error = lease.fails(&["select 1"]);
    assert_error(&error, code::UNAVAILABLE, "BACKEND_LOST");
    assert_eq!(outcome(&error), Outcome::NOT_STARTED);
    assert_eq!(lease.end_reason(), "backend_lost");
    let next = service.lease(&tenant);
    assert_ne!(next.pid, lease.pid);
    next.run(&["select 1"]);
}

#[test]
fn a_backend_killed_under_an_idle_lease_does_not_spoil_the_release() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    terminate(&tenant, &lease);
    lease.release();
    let next = service.lease(&tenant);
    assert_ne!(next.pid, lease.pid);
    next.run(&["select 1"]);
}

#[test]
fn a_backend_killed_between_statements_of_a_transaction_has_applied_nothing() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["create table orders (n int)", "begin", "insert into orders values (1)"]);
    terminate(&tenant, &lease);
    let error = lease.fails(&["insert into orders values (2)"]);
    assert_error(&error, code::ABORTED, "BACKEND_LOST");
    assert_eq!(outcome(&error), Outcome::NOT_APPLIED);
    assert_eq!(service.lease(&tenant).value("select count(*) from orders"), "0");
}

#[test]
fn a_backend_killed_in_mid_statement_leaves_the_outcome_unknown() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    let sleep = lease.run_later("select pg_sleep(600)");
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    terminate(&tenant, &lease);
    let error = refused(answer(sleep));
    assert_error(&error, code::UNKNOWN, "BACKEND_LOST");
    assert_eq!(outcome(&error), Outcome::UNKNOWN);
    assert_eq!(lease.end_reason(), "backend_lost");
    service.lease(&tenant).run(&["select 1"]);
}

#[test]
fn the_last_error_of_a_killed_backend_reaches_the_caller() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let sleep = lease.run_later("select pg_sleep(600)");
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    terminate(&tenant, &lease);
    let error = refused(answer(sleep));
    assert!(error.message.contains("due to administrator command"), "{error}");
    assert_eq!(error.postgres.expect("a PostgresError").sqlstate, "57P01");
}

#[test]
fn of_an_atomic_call_on_a_dead_backend_nothing_was_started() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["create table orders (n int)"]);
    // From then on BEGIN is prepared.
    atomic(&lease, &["select 1"]).unwrap();
    terminate(&tenant, &lease);
    let error = refused(atomic(&lease, &["insert into orders values (1)"]));
    assert_eq!((&*error.reason, outcome(&error)), ("BACKEND_LOST", Outcome::NOT_STARTED));
}

#[test]
fn a_backend_killed_in_mid_statement_of_a_transaction_has_applied_nothing() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["create table orders (n int)", "begin", "insert into orders values (1)"]);
    let sleep = lease.run_later("select pg_sleep(600)");
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    terminate(&tenant, &lease);
    let error = refused(answer(sleep));
    assert_error(&error, code::ABORTED, "BACKEND_LOST");
    assert_eq!(outcome(&error), Outcome::NOT_APPLIED);
    assert_eq!(lease.end_reason(), "backend_lost");
    assert_eq!(service.lease(&tenant).value("select count(*) from orders"), "0");
}

#[test]
fn a_caller_who_leaves_has_its_statement_cancelled_and_keeps_its_lease() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    let sleep = lease.run_later("select pg_sleep(600)");
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    drop(sleep);
    eventually("the sleep is over", || tenant.running("pg_sleep") == 0);
    eventually("the lease is idle again", || {
        match lease.client.run(&lease.id, &["select pg_backend_pid()"]) {
            Ok(answer) => text_at(&answer, 0, 0, 0) == lease.pid.to_string(),
            Err(error) => {
                assert_error(&error, code::FAILED_PRECONDITION, "LEASE_BUSY");
                false
            }
        }
    });
    lease.release();
    assert_eq!(service.lease(&tenant).pid, lease.pid);
}

#[test]
fn a_one_shot_whose_caller_leaves_is_cancelled_and_gives_its_connection_back() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let request = harness::sql::sleeping_one_shot(&tenant);
    let client = service.client();
    let sleep = execute_later(&client, &request);
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    drop(sleep);
    eventually("the sleep is over", || tenant.running("pg_sleep") == 0);
    service.lease(&tenant).run(&["select 1"]);
}

#[test]
fn a_caller_who_leaves_during_the_connect_leaves_no_tenant_and_no_thread_behind() {
    let service = Service::start();
    // Its backlog takes the connection, and nobody ever says a word.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = mute.local_addr().unwrap().port();
    let asked = ConnectionRequest {
        tenant_id: "mute".to_owned(),
        dsn: format!("host=127.0.0.1 port={port} user=u password=p dbname=d"),
        ..ConnectionRequest::default()
    };
    let client = service.client();
    let call = acquire_later(&client, &asked);
    eventually("it is being opened", || client.stats("mute").is_ok_and(|stats| stats.opening == 1));
    drop(call);
    eventually("the tenant is forgotten", || !service.knows("mute"));
    eventually("its worker has ended", || service.metric("connpool_worker_threads") == Some(0.0));
    let log = service.log().clone();
    assert_eq!(service.stop().code(), Some(0));
    assert!(log.wait_for("event=draining").contains("connections_in_use=0 "));
}

/// A port of 127.0.0.1 on which nobody listens, for as long as this is held.
fn closed_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

#[test]
fn a_wrong_dsn_fails_at_once_and_the_right_one_works_afterwards() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let refused_with = |dsn: &str| {
        let error = refused(client.acquire(&tenant.name, dsn));
        assert!(!service.knows(&tenant.name), "a tenant is left of {error}");
        assert!(!error.message.contains("secret"), "{error}");
        error
    };

    let wrong_password = refused_with(&tenant.dsn.replace(&tenant.password, "wrong-secret"));
    assert_error(&wrong_password, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert!(wrong_password.message.contains("password authentication failed"), "{wrong_password}");
    assert_eq!(wrong_password.postgres.unwrap().sqlstate, "28P01");

    let no_database = refused_with(&format!("{} dbname=nowhere", tenant.dsn));
    assert_error(&no_database, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert!(no_database.message.contains("database \"nowhere\" does not exist"), "{no_database}");
    assert_eq!(no_database.postgres.unwrap().sqlstate, "3D000");

    let (_socket, port) = closed_port();
    let nobody = refused_with(&format!("{} port={port}", tenant.dsn));
    assert_error(&nobody, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
    assert!(nobody.message.contains("refused"), "{nobody}");

    let lease = service.lease(&tenant);
    assert_eq!(lease.value("select current_database()::text"), tenant.name);
}

#[test]
fn all_requests_that_wait_for_a_tenant_to_open_fail_with_the_reason() {
    let (service, tenant) = (Service::start(), tenant());
    let wrong = ConnectionRequest {
        dsn: tenant.dsn.replace(&tenant.password, "wrong-secret"),
        ..request(&tenant)
    };
    let client = service.client();
    // More could be as many tries, which are slowed down.
    let calls: Vec<_> = (0..4).map(|_| acquire_later(&client, &wrong)).collect();
    for call in calls {
        assert_error(&refused(answer(call)), code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    }
    assert!(!service.knows(&tenant.name));
    service.lease(&tenant).run(&["select 1"]);
}

/// Whether the lease's own connection to PostgreSQL is encrypted.
fn is_encrypted(lease: &Held) -> String {
    lease.value("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
}

#[test]
fn sslmode_decides_whether_the_connection_is_encrypted() {
    let (service, tenant) = (Service::start(), tenant());
    for (mode, encrypted) in [("disable", "false"), ("prefer", "true"), ("require", "true")] {
        let asked = ConnectionRequest {
            tenant_id: format!("{}-{mode}", tenant.name),
            dsn: format!("{} sslmode={mode}", tenant.dsn),
            ..ConnectionRequest::default()
        };
        assert_eq!(is_encrypted(&service.lease_with(&asked)), encrypted, "sslmode={mode}");
    }
}

/// What the server answers to a request for TLS.
fn tls_answer(port: u16) -> u8 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut said = [0];
    stream.read_exact(&mut said).unwrap();
    said[0]
}

#[test]
fn a_server_without_tls_is_refused_by_require_and_good_enough_for_prefer() {
    let postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres));
    let off = "alter system set ssl = off;\nselect pg_reload_conf();";
    postgres.sql("postgres", off).unwrap();
    eventually("TLS is off", || tls_answer(postgres.port()) == b'N');
    let require = format!("{} sslmode=require", tenant.dsn);
    let error = refused(service.client().acquire("strict", &require));
    assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert!(error.message.contains("the server does not support TLS"), "{error}");
    assert!(!service.knows("strict"));
    assert_eq!(is_encrypted(&service.lease(&tenant)), "false");
}

/// A process that stands still, until this is dropped.
struct Frozen<'a>(&'a Embedded, i32);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // It may have ended meanwhile.
        let _ = self.0.thaw(self.1);
    }
}

fn freeze(postgres: &Embedded, pid: i32) -> Frozen<'_> {
    postgres.freeze(pid).unwrap();
    Frozen(postgres, pid)
}

#[test]
fn a_frozen_backend_costs_its_lease_and_nothing_else() {
    let postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres).pool_of(1));
    let lease = service.lease(&tenant);
    let frozen = freeze(&postgres, lease.pid);
    let brief = ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![statement("select 1")],
        timeout: millis(1000),
        ..ExecuteRequest::default()
    };
    let error = refused(lease.client.execute(&brief));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(lease.end_reason(), "backend_lost");
    let next = service.lease(&tenant);
    assert_ne!(next.pid, lease.pid);
    next.run(&["select 1"]);
    drop(frozen);
    eventually("the thawed backend ends", || backends_on(&postgres, &tenant.name) == 1);
}

#[test]
fn a_statement_that_freezes_half_way_is_answered_when_its_time_is_over() {
    let postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres).pool_of(1));
    let lease = service.lease(&tenant);
    let request = ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![statement("select pg_sleep(600)")],
        timeout: millis(5000),
        ..ExecuteRequest::default()
    };
    let call = execute_later(&lease.client, &request);
    eventually("it sleeps", || running_on(&postgres, &tenant.name, "pg_sleep") == 1);
    let frozen = freeze(&postgres, lease.pid);
    let error = refused(answer(call));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(lease.end_reason(), "backend_lost");
    service.lease(&tenant).run(&["select 1"]);
    drop(frozen);
    eventually("the thawed backend ends", || backends_on(&postgres, &tenant.name) == 1);
}

#[test]
fn a_statement_past_its_timeout_is_cancelled_and_the_lease_stays_usable() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let error = refused(lease.client.execute(&ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![statement("select pg_sleep(600)")],
        timeout: millis(200),
        ..ExecuteRequest::default()
    }));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(outcome(&error), Outcome::NOT_APPLIED);
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    assert_eq!(tenant.running("pg_sleep"), 0);
}

#[test]
fn a_stopped_database_fails_with_the_true_outcome_and_is_used_again_afterwards() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    // A check that fails would be one of five.
    let service = Service::with(&["--health-check-interval", "0"]);
    let tenant = tenant_on(&postgres).pool_of(1);
    let lease = service.lease(&tenant);
    postgres.stop(StopMode::Fast).unwrap();
    let error = lease.fails(&["select 1"]);
    assert_error(&error, code::UNAVAILABLE, "BACKEND_LOST");
    assert_eq!(outcome(&error), Outcome::NOT_STARTED);
    for reason in ["DATABASE_UNAVAILABLE", "DATABASE_UNAVAILABLE", "BREAKER_OPEN"] {
        let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
        assert_error(&error, code::UNAVAILABLE, reason);
        assert!(error.message.contains("refused"), "{error}");
    }
    postgres.start_again().unwrap();
    service.log().wait_for("event=breaker_closed");
    service.lease(&tenant).run(&["select 1"]);
    assert_eq!(backends_on(&postgres, &tenant.name), 1);
}

#[test]
fn idle_connections_lost_in_a_restart_are_replaced_before_anybody_gets_them() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant, other) = (Service::start(), tenant_on(&postgres), harness::tenant());
    let leases: Vec<Held> = (0..10).map(|_| service.lease(&tenant)).collect();
    leases.iter().for_each(Held::release);
    service.wait_quiet(&tenant.name);
    postgres.stop(StopMode::Immediate).unwrap();
    postgres.start_again().unwrap();
    // What was at rest for less than a second is not looked at again. Another's
    // lease of two seconds tells when all were.
    service.lease_with(&ConnectionRequest { ttl: millis(2000), ..request(&other) });
    service.log().wait_for("event=lease_ended reason=ttl");
    let leases: Vec<Held> = (0..20).map(|_| service.lease(&tenant)).collect();
    for lease in leases {
        lease.run(&["select 1"]);
    }
    assert_eq!(backends_on(&postgres, &tenant.name), 20);
}

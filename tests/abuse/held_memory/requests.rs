//! Requests that wait, and what is read ahead of them.

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::session_request::Kind as Asked;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{
    value, ArrayValue, CopyInStart, ExecuteRequest, QueryRequest, SessionExecute, Statement, Value,
};

use grpcio::CallOption;

use super::{bystander, held, nothing_is_held, refused};
use crate::harness::siege::Siege;
use crate::harness::{
    self, answer, code, eventually, execute_later, millis, request, retry_delay, tenant, Service,
    Tenant,
};

const MIB: usize = 1 << 20;

/// A statement of so many bytes.
fn long(bytes: usize) -> Statement {
    statement(&format!("select 1 -- {}", "x".repeat(bytes)))
}

/// A one-shot that waits as long as it may.
fn one_shot(tenant: &Tenant, statement: Statement) -> ExecuteRequest {
    ExecuteRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statements: vec![statement],
        wait_timeout: millis(300_000),
        ..ExecuteRequest::default()
    }
}

/// Waits until this many requests stand in the queue or were turned away.
fn all_were_looked_at(service: &Service, victim: &Tenant, sent: usize) {
    let client = service.client();
    let series = format!(
        "connpool_acquire_failures_total{{reason=\"caller_limit\",tenant=\"{}\"}}",
        victim.name
    );
    eventually("all were looked at", || {
        let waiting = client.stats(&victim.name).unwrap().waiting as usize;
        waiting + service.metric(&series).unwrap_or(0.0) as usize == sent
    });
}

#[test]
fn texts_of_requests_that_wait_take_no_more_than_their_connection_may_have() {
    let service = Service::with(&["--memory-per-connection", "16MiB"]);
    let victim = tenant().pool_of(1);
    let lease = service.lease(&victim);
    let siege = Siege::start(&service, bystander());
    let (attacker, request) = (service.client(), one_shot(&victim, long(MIB)));
    let mut calls = Vec::new();
    for _ in 0..15 {
        calls.extend((0..8).map(|_| execute_later(&attacker, &request)));
        all_were_looked_at(&service, &victim, calls.len());
    }
    let waiting = attacker.stats(&victim.name).unwrap().waiting;
    assert_eq!(waiting, 15, "16 MiB less what is around them");
    assert!((15 * MIB..16 * MIB).contains(&held(&service, "requests")));
    siege.bystander_works(20);
    // It is told which limit that is, and that it may try again.
    let Err(error) = futures_executor::block_on(calls.pop().unwrap()) else { panic!("let in") };
    assert!(retry_delay(&error).is_some(), "{error}");
    let error = harness::refused(answer(execute_later(&attacker, &request)));
    assert_eq!((error.code, error.reason.as_str()), (code::RESOURCE_EXHAUSTED, "CALLER_LIMIT"));
    assert!(error.message.contains("bytes held for one connection"), "{error}");
    let info = error.info.unwrap();
    assert_eq!(info.metadata["limit"], (16 * MIB).to_string());
    // Another connection has its own share, and what is small is let in all the same.
    assert!(lease.run(&["select 1"]).results.len() == 1);
    service.log().wait_for("event=memory_limit level=connection");
    lease.release();
    drop((calls, attacker));
    service.wait_quiet(&victim.name);
    nothing_is_held(&service);
    siege.end();
}

#[test]
fn parameters_count_by_what_they_take_in_memory() {
    let service = Service::with(&["--memory-per-connection", "16MiB"]);
    let victim = tenant().pool_of(1);
    let lease = service.lease(&victim);
    let siege = Siege::start(&service, bystander());
    let null = Value { kind: Some(value::Kind::Null(true)), ..Value::default() };
    // 4 bytes each on the wire, and some 56 in memory.
    let elements = vec![null; 100_000];
    let array = ArrayValue { elements, ..ArrayValue::default() };
    let array = Value { kind: Some(value::Kind::Array(array)), ..Value::default() };
    let statement = Statement {
        sql: "select $1::int[]".to_owned(),
        parameters: vec![array],
        ..Statement::default()
    };
    let (attacker, request) = (service.client(), one_shot(&victim, statement));
    let mut calls = Vec::new();
    for _ in 0..15 {
        calls.extend((0..2).map(|_| execute_later(&attacker, &request)));
        all_were_looked_at(&service, &victim, calls.len());
    }
    assert!(attacker.stats(&victim.name).unwrap().waiting <= 3);
    assert!(refused(&service, "connection", "requests") >= 27);
    siege.bystander_works(20);
    drop((calls, attacker));
    lease.release();
    service.wait_quiet(&victim.name);
    nothing_is_held(&service);
    siege.end();
}

#[test]
fn more_parameters_than_postgresql_takes_are_refused_at_once() {
    let (service, tenant) = (Service::start(), tenant());
    let null = Value { kind: Some(value::Kind::Null(true)), ..Value::default() };
    let with = |count| Statement {
        sql: "select 1".to_owned(),
        parameters: vec![null.clone(); count],
        ..Statement::default()
    };
    let error = harness::refused(service.client().execute(&one_shot(&tenant, with(65_536))));
    assert_eq!((error.code, error.reason.as_str()), (code::INVALID_ARGUMENT, "INVALID_ARGUMENT"));
    assert!(error.message.contains("at most 65535"), "{error}");
    // So many it may have, and PostgreSQL says what is wrong with them.
    let error = harness::refused(service.client().execute(&one_shot(&tenant, with(65_535))));
    assert!(!error.message.contains("at most"), "{error}");
}

#[test]
fn queries_that_wait_count_like_other_requests() {
    let service = Service::with(&["--memory-per-connection", "16MiB"]);
    let victim = tenant().pool_of(1);
    let lease = service.lease(&victim);
    let siege = Siege::start(&service, bystander());
    let attacker = service.client();
    let request = QueryRequest {
        tenant_id: victim.name.clone(),
        dsn: victim.dsn.clone(),
        statement: Some(long(MIB)).into(),
        wait_timeout: millis(300_000),
        ..QueryRequest::default()
    };
    let mut calls = Vec::new();
    for _ in 0..15 {
        calls.extend(
            (0..8).map(|_| attacker.sql_stub().query(&request, CallOption::default()).unwrap()),
        );
        all_were_looked_at(&service, &victim, calls.len());
    }
    assert_eq!(attacker.stats(&victim.name).unwrap().waiting, 15);
    siege.bystander_works(20);
    drop((calls, attacker));
    lease.release();
    service.wait_quiet(&victim.name);
    nothing_is_held(&service);
    siege.end();
}

#[test]
fn a_copy_reads_nothing_before_it_has_its_session() {
    const COPIES: usize = 40;
    let service = Service::start();
    let victim = tenant().pool_of(1);
    let lease = service.lease(&victim);
    lease.run(&["create table t (a text)"]);
    let siege = Siege::start(&service, bystander());
    let attacker = service.client();
    let start = CopyInStart {
        tenant_id: victim.name.clone(),
        dsn: victim.dsn.clone(),
        sql: "copy t from stdin".to_owned(),
        wait_timeout: millis(300_000),
        ..CopyInStart::default()
    };
    let row = format!("{}\n", "x".repeat(MIB / 2));
    let copied: u64 = std::thread::scope(|scope| {
        let copy = || {
            let mut copy = attacker.copy_in(start.clone()).unwrap();
            (0..4).for_each(|_| copy.data(row.as_bytes()).unwrap());
            copy.finish().unwrap().rows_affected as u64
        };
        let copies: Vec<_> = (0..COPIES).map(|_| scope.spawn(copy)).collect();
        all_were_looked_at(&service, &victim, COPIES);
        siege.bystander_works(50);
        assert_eq!(held(&service, "read_ahead"), 0);
        // Then each has its turn, and all it has to send.
        lease.release();
        copies.into_iter().map(|copy| copy.join().unwrap()).sum()
    });
    assert_eq!(copied, 4 * COPIES as u64);
    drop(attacker);
    service.wait_quiet(&victim.name);
    nothing_is_held(&service);
    siege.end();
}

fn execute(id: u64, statement: Statement) -> Asked {
    let statements = vec![statement];
    Asked::Execute(SessionExecute { id, statements, ..SessionExecute::default() })
}

#[test]
fn streams_that_wait_for_their_lease_read_ahead_no_more_than_their_connection_may_have() {
    let service = Service::with(&["--memory-per-connection", "16MiB"]);
    let victim = tenant().pool_of(1);
    let lease = service.lease(&victim);
    let siege = Siege::start(&service, bystander());
    let attacker = service.client();
    let open = ConnectionRequest { wait_timeout: millis(300_000), ..request(&victim) };
    let mut sessions = Vec::new();
    for sent in 1..=100 {
        let mut session = attacker.session().unwrap();
        session.send(Asked::Open(open.clone())).unwrap();
        // One that is refused may hear it meanwhile.
        let _ = session.send(execute(1, long(MIB)));
        sessions.push(session);
        eventually("it was read", || {
            let refused = refused(&service, "connection", "read_ahead");
            held(&service, "read_ahead") / MIB + refused == sent
        });
    }
    siege.bystander_works(20);
    let error = harness::refused(sessions.pop().unwrap().next());
    assert_eq!((error.code, error.reason.as_str()), (code::RESOURCE_EXHAUSTED, "CALLER_LIMIT"));
    drop((sessions, attacker));
    lease.release();
    service.wait_quiet(&victim.name);
    nothing_is_held(&service);
    siege.end();
}

#[test]
fn what_a_stream_has_read_ahead_counts_until_it_was_run() {
    let (service, tenant) = (Service::start(), tenant());
    let (mut session, _) = service.client().open_session(request(&tenant)).unwrap();
    session.execute(2, &["select pg_sleep(60)"]).unwrap();
    for id in 3..6 {
        session.send(execute(id, long(MIB))).unwrap();
    }
    eventually("they count", || held(&service, "read_ahead") > 3 * MIB);
    session.cancel(2).unwrap();
    for id in 2..6 {
        let Some(Said::Executed(said)) = session.next().unwrap().unwrap().kind else {
            panic!("no answer")
        };
        assert_eq!(said.id, id);
    }
    nothing_is_held(&service);
    session.close().unwrap();
}

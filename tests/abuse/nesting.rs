//! What nests, and how deeply it may: it overflows no stack, wherever it is worked on.

use crate::harness;
use crate::harness::code::INVALID_ARGUMENT;
use crate::harness::sql::on_lease;
use crate::harness::{refused, request, tenant, Held, Service};
use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::sql::session_request::Kind as Asked;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{
    ArrayValue, ExecuteRequest, QueryRequest, SessionExecute, SessionRequest, Statement, Value,
};
use protobuf::Message;

#[test]
fn the_deepest_types_and_arrays_overflow_no_stack() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["do $$ begin create domain d0 as int; for i in 1..60 loop \
                 execute format('create domain d%s as d%s', i, i - 1); end loop; end $$"]);
    lease.run(&["select array[null::d60]"]);
    let deep = "select array_fill(1, array[2, 2, 2, 2, 2, 2])::text";
    assert!(lease.value(deep).starts_with("{{{{{{1,1}"));
    lease.run(&["select array_fill('x'::text, array[2, 2, 2, 2, 2, 2])"]);
}

/// A statement with an array in an array, and so on, as a parameter.
fn nested(depth: usize, sql: &str) -> Statement {
    let mut inner = Value { kind: Some(Kind::Null(true)), ..Value::default() };
    for _ in 0..depth {
        let array = ArrayValue { elements: vec![inner], ..ArrayValue::default() };
        inner = Value { kind: Some(Kind::Array(array)), ..Value::default() };
    }
    Statement { parameters: vec![inner], ..statement(sql) }
}

/// The deepest statement with which protobuf reads this message.
fn deepest<M: Message>(message: impl Fn(Statement) -> M, sql: &str) -> (M, M) {
    let with = |depth| message(nested(depth, sql));
    let is_read =
        |depth: &usize| M::parse_from_bytes(&with(*depth).write_to_bytes().unwrap()).is_ok();
    let depth = (1..200).rev().find(is_read).unwrap();
    assert!(depth > 40, "{depth}");
    (with(depth), with(depth + 1))
}

#[track_caller]
fn assert_invalid(error: &CallError, part: &str) {
    assert_eq!((error.code, &*error.reason), (INVALID_ARGUMENT, "INVALID_ARGUMENT"), "{error}");
    assert!(error.message.contains(part), "{error}");
}

const TOO_DEEP: &str = "nested too deeply";

fn execute(lease: &Held, sql: &str) {
    let message =
        |statement| ExecuteRequest { statements: vec![statement], ..on_lease(lease, &[]) };
    let (deepest, deeper) = deepest(message, sql);
    assert_invalid(&refused(lease.client.execute(&deepest)), "$1");
    assert_invalid(&refused(lease.client.execute(&deeper)), TOO_DEEP);
}

fn query(lease: &Held, sql: &str) {
    let message = |statement| QueryRequest {
        connection_id: lease.id.clone(),
        statement: Some(statement).into(),
        ..QueryRequest::default()
    };
    let (deepest, deeper) = deepest(message, sql);
    let ask = |request| refused(lease.client.query(request).unwrap().next());
    assert_invalid(&ask(&deepest), "$1");
    assert_invalid(&ask(&deeper), TOO_DEEP);
}

fn session(service: &Service, tenant: &harness::Tenant, sql: &str) {
    let message = |statement| SessionRequest {
        kind: Some(Asked::Execute(SessionExecute {
            statements: vec![statement],
            ..SessionExecute::default()
        })),
        ..SessionRequest::default()
    };
    let (deepest, deeper) = deepest(message, sql);
    let (mut session, _) = service.client().open_session(request(tenant)).unwrap();
    session.send(deepest.kind.unwrap()).unwrap();
    let Some(Said::Executed(said)) = session.next().unwrap().unwrap().kind else { panic!() };
    assert_eq!(said.error().code, INVALID_ARGUMENT, "{said}");
    // Whichever hears of it.
    let sent = session.send(deeper.kind.unwrap());
    assert_invalid(&sent.err().unwrap_or_else(|| refused(session.next())), TOO_DEEP);
}

#[test]
fn the_deepest_requests_overflow_no_stack() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    // What is small is decoded on gRPC's thread, what is large by a worker.
    let large = format!("select $1::int[] -- {}", "x".repeat(1 << 20));
    for sql in ["select $1::int[]", &large] {
        execute(&lease, sql);
        query(&lease, sql);
        session(&service, &tenant, sql);
    }
    lease.run(&["select 1"]);
}

//! What users send by mistake, through every call that takes SQL: a clear error,
//! and the session goes on.

use crate::harness;
use crate::harness::code::{FAILED_PRECONDITION, INVALID_ARGUMENT, RESOURCE_EXHAUSTED};
use crate::harness::sql::assert_same_backend;
use crate::harness::sql::{state, state_after, tenant_of_one, work, FAILED, NONE, OPEN};
use crate::harness::{postgres, refused, request, Service, Tenant};
use connection_pool_manager::client::service::{statement, text_at, CallError};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::query_response::Kind as Streamed;
use connection_pool_manager::proto::sql::session_executed::Outcome as Executed;
use connection_pool_manager::proto::sql::session_request::Kind as Ask;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{
    ArrayValue, ExecuteRequest, QueryRequest, SessionExecute, Statement, Value,
};

fn with(sql: &str, kinds: &[Kind]) -> Statement {
    let value = |kind: &Kind| Value { kind: Some(kind.clone()), ..Value::default() };
    Statement { parameters: kinds.iter().map(value).collect(), ..statement(sql) }
}

fn text(text: &str) -> Kind {
    Kind::Text(text.to_owned())
}

/// By Execute, by Query and on a Session stream.
fn by_all_ways(service: &Service, tenant: &Tenant, statement: &Statement) -> [CallError; 3] {
    let lease = service.lease(tenant);
    let execute = ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![statement.clone()],
        ..ExecuteRequest::default()
    };
    let executed = refused(lease.client.execute(&execute));
    let query = QueryRequest {
        connection_id: lease.id.clone(),
        statement: Some(statement.clone()).into(),
        ..QueryRequest::default()
    };
    let mut query = lease.client.query(&query).expect("a call");
    let queried = loop {
        match query.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{} succeeded", statement.sql),
            Err(error) => break error,
        }
    };
    assert_same_backend(&lease);
    lease.release();
    let (mut session, opened) = service.client().open_session(request(tenant)).unwrap();
    let ask = |statements| Ask::Execute(SessionExecute { statements, ..SessionExecute::default() });
    session.send(ask(vec![statement.clone()])).unwrap();
    session.send(ask(vec![harness_pid()])).unwrap();
    let mut outcome = || match session.next().unwrap().unwrap().kind {
        Some(Said::Executed(executed)) => executed.outcome.unwrap(),
        other => panic!("{other:?}"),
    };
    let Executed::Error(error) = outcome() else { panic!("{} succeeded", statement.sql) };
    let Executed::Response(next) = outcome() else { panic!("the stream did not go on") };
    assert_eq!(text_at(&next, 0, 0, 0), opened.lease.backend_pid.to_string());
    assert_eq!(opened.lease.backend_pid, lease.pid, "the backend was closed without need");
    session.close().unwrap();
    while session.next().unwrap().is_some() {}
    [executed, queried, CallError::from(error)]
}

fn harness_pid() -> Statement {
    statement("select pg_backend_pid()")
}

#[track_caller]
fn assert_said(errors: &[CallError], code: i32, reason: &str, part: &str) {
    for error in errors {
        assert_eq!((error.code, &*error.reason), (code, reason), "{error}");
        assert!(error.message.contains(part), "{error} lacks {part:?}");
    }
}

#[test]
fn parameters_that_do_not_fit_fail_in_every_call() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let array = || {
        let value = Value { kind: Some(Kind::Int(1)), ..Value::default() };
        Kind::Array(ArrayValue { elements: vec![value], ..ArrayValue::default() })
    };
    // Refused here: what is sent in PostgreSQL's own form has to fit.
    for (sql, kinds, part) in [
        ("select $1::int + $2::int", &[Kind::Int(1)][..], "takes 2 parameters, 1 given"),
        ("select 1", &[Kind::Int(1)], "takes 0 parameters, 1 given"),
        ("select $1::text", &[text("a\0b")], "NUL"),
        ("select $1::int", &[array()], "($1)"),
    ] {
        let errors = by_all_ways(&service, &tenant, &with(sql, kinds));
        assert_said(&errors, INVALID_ARGUMENT, "INVALID_ARGUMENT", part);
        for error in &errors {
            assert_eq!((work(error).0, state_after(error)), (Outcome::NOT_STARTED, NONE));
        }
    }
    // Refused by PostgreSQL: text is read by the type it is for.
    for (sql, kind, part) in [
        ("select $1::int", text("seven"), "22P02"),
        ("select $1::int4", text("2147483648"), "22003"),
        ("select $1::date", text("2024-02-30"), "22008"),
        ("select $1::json", text("{"), "22P02"),
    ] {
        let errors = by_all_ways(&service, &tenant, &with(sql, &[kind]));
        assert_said(&errors, INVALID_ARGUMENT, "SQL_ERROR", part);
    }
    // A number or a truth for another type: refused by whoever sees it first.
    for (sql, kind) in [
        ("select $1::int4", Kind::Int(1 << 31)),
        ("select $1::int2", Kind::Int(-(1 << 15) - 1)),
        ("select $1::int", Kind::Bool(true)),
        ("select $1::bool", Kind::Int(7)),
    ] {
        for error in by_all_ways(&service, &tenant, &with(sql, &[kind])) {
            assert_eq!(error.code, INVALID_ARGUMENT, "{sql}: {error}");
        }
    }
}

#[test]
fn a_type_without_a_binary_form_inside_a_row_fails_with_the_way_out() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let item = format!("'{}=r/{}'::aclitem", tenant.name, tenant.name);
    let lease = service.lease(&tenant);
    lease.run(&["create type grants as (n int, item aclitem)"]);
    lease.release();
    // By itself it comes as text; what is inside a row PostgreSQL writes.
    for sql in [
        format!("select row(1, {item})"),
        format!("select row(1, array[{item}])"),
        format!("select row(1, {item})::grants"),
    ] {
        let errors = by_all_ways(&service, &tenant, &statement(&sql));
        assert_said(&errors, INVALID_ARGUMENT, "SQL_ERROR", "42883");
        assert_said(&errors, INVALID_ARGUMENT, "SQL_ERROR", "cast the column to ::text");
    }
    let lease = service.lease(&tenant);
    assert!(lease.value(&format!("select row(1, {item})::text")).contains("=r/"));
    lease.run(&["begin"]);
    assert_eq!(state_after(&lease.fails(&[&format!("select row(1, {item})")])), FAILED);
}

#[test]
fn bytes_that_are_no_text_fail_and_cost_nothing_else() {
    let service = Service::start();
    let mut tenant = tenant_of_one();
    let (database, owner) = (format!("{}_bytes", tenant.name), tenant.name.clone());
    let create = format!(
        "create database {database} owner {owner} encoding 'SQL_ASCII' \
         template template0 lc_collate 'C' lc_ctype 'C'"
    );
    postgres().sql("postgres", &create).unwrap();
    tenant.dsn += &format!(" dbname={database}");
    let odd = "select 1 as fine, convert_from('\\x61ff62', 'SQL_ASCII') as odd";
    // PostgreSQL itself refuses to pass it for UTF-8.
    let errors = by_all_ways(&service, &tenant, &statement(odd));
    assert_said(&errors, INVALID_ARGUMENT, "SQL_ERROR", "22021");
    let lease = service.lease(&tenant);
    let bytes = "select convert_from('\\x61ff62', 'SQL_ASCII')::text::bytea";
    assert_eq!(text_at(&lease.run(&[bytes]), 0, 0, 0), "3 bytes");
    // It lets a single byte through, which is then passed on as it is.
    let answer = lease.run(&["select (-1)::\"char\""]);
    let kind = answer.results[0].rows[0].values[0].kind.as_ref();
    assert!(matches!(kind, Some(Kind::Raw(raw)) if raw.data == [255]), "{kind:?}");
}

#[test]
fn a_row_larger_than_a_message_fails_in_every_call() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let errors = by_all_ways(&service, &tenant, &statement("select repeat('x', 5000000)"));
    assert_said(&errors, FAILED_PRECONDITION, "RESULT_TOO_LARGE", "larger than");
}

#[test]
fn texts_of_several_commands_fail_and_empty_ones_do_nothing() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    for (sql, kinds) in
        [("select 1; select 2", &[][..]), ("select $1::int; select 2", &[Kind::Int(1)])]
    {
        let errors = by_all_ways(&service, &tenant, &with(sql, kinds));
        assert_said(&errors, INVALID_ARGUMENT, "SQL_ERROR", "42601");
    }
    let errors = by_all_ways(&service, &tenant, &statement("select '\0'"));
    assert_said(&errors, INVALID_ARGUMENT, "INVALID_ARGUMENT", "NUL");
    let lease = service.lease(&tenant);
    for sql in ["", ";", " ; ", "-- nothing", "/* nothing */;"] {
        let answer = lease.run(&[sql, "select 1"]);
        assert_eq!(answer.results[0].command_tag, "", "{sql:?}");
        assert!(answer.results[0].columns.is_empty());
        let query = QueryRequest {
            connection_id: lease.id.clone(),
            statement: Some(statement(sql)).into(),
            ..QueryRequest::default()
        };
        let mut query = lease.client.query(&query).unwrap();
        let mut trailer = None;
        while let Some(said) = query.next().unwrap() {
            match said.kind {
                Some(Streamed::Trailer(last)) => trailer = Some(last),
                Some(Streamed::Header(header)) => assert!(header.columns.is_empty()),
                other => panic!("{sql:?}: {other:?}"),
            }
        }
        assert_eq!(trailer.expect("a trailer").command_tag, "");
    }
    // A parameter too many is one also where there is nothing to take it.
    let nothing = ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![with("", &[Kind::Int(1)])],
        ..ExecuteRequest::default()
    };
    let error = refused(lease.client.execute(&nothing));
    assert_said(&[error], INVALID_ARGUMENT, "INVALID_ARGUMENT", "takes 0 parameters");
    assert_same_backend(&lease);
}

#[test]
fn a_begin_inside_a_transaction_and_a_commit_outside_return_warnings() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    lease.run(&["create table thing (n int)"]);
    let insert = "insert into thing values (1)";
    // PostgreSQL warns of a BEGIN in a transaction, and has but one.
    let answer = lease.run(&["begin", insert, "begin"]);
    assert_eq!(state(&answer), OPEN);
    let notices = &answer.session.notices;
    assert_eq!((notices.len(), &*notices[0].sqlstate), (1, "25001"));
    assert_eq!(state(&lease.run(&["rollback"])), NONE);
    assert_eq!(tenant.sql("select count(*) from thing"), "0");
    let answer = lease.run(&["commit"]);
    assert_eq!((state(&answer), &*answer.session.notices[0].sqlstate), (NONE, "25P01"));
    assert_same_backend(&lease);
}

#[test]
fn ten_megabytes_of_sql_harm_nobody_else() {
    let (service, tenant) = (Service::start(), tenant_of_one().pool_of(2));
    let lease = service.lease(&tenant);
    // On the same client connection.
    let other = lease.run_later("select pg_sleep(0.5), 42");
    let huge = format!("select '{}'", "x".repeat(10 << 20));
    let error = lease.fails(&[&huge]);
    assert_eq!(error.code, RESOURCE_EXHAUSTED, "{error}");
    assert!(error.message.contains("4194304"), "{error}");
    assert_eq!(text_at(&harness::answer(other).expect("unharmed"), 0, 0, 1), "42");
    assert_same_backend(&lease);
    let (mut session, _) = lease.client.open_session(request(&tenant)).unwrap();
    // The stream may end before all of it has been sent.
    let sent = session.execute(1, &[&huge]);
    let error = sent.err().unwrap_or_else(|| loop {
        match session.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was taken"),
            Err(error) => break error,
        }
    });
    assert_eq!(error.code, RESOURCE_EXHAUSTED, "{error}");
    assert_same_backend(&lease);
    // The stream is broken, and its lease given back.
    lease.release();
    service.wait_quiet(&tenant.name);
}

//! Results and errors that want to become larger than anything, and what they cost.

mod rogue;

use crate::harness;
use crate::harness::siege::Siege;
use crate::harness::sql::query_on;
use crate::harness::{code, eventually, millis, refused, request, tenant, Held, Service};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::sql::query_response::Kind;
use connection_pool_manager::proto::sql::session_executed::Outcome;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::{CopyInStart, CopyOutRequest, QueryRequest};
use connection_pool_manager::proto::status::Status;
use rogue::Rogue;

/// Reads a streamed result that must fail.
#[track_caller]
fn fails_streamed(lease: &Held, request: &QueryRequest) -> CallError {
    fails_after(lease, request).1
}

/// The same, with the number of its messages.
#[track_caller]
fn fails_after(lease: &Held, request: &QueryRequest) -> (usize, CallError) {
    let mut query = lease.client.query(request).unwrap();
    let mut messages = 0;
    loop {
        match query.next() {
            Ok(Some(_)) => messages += 1,
            Ok(None) => panic!("it succeeded"),
            Err(error) => return (messages, error),
        }
    }
}

/// A row of 21 kB that is 196 MB as text; the same of bits, and of others that grow.
const GROWING: [&str; 5] = [
    "select array_fill(10::numeric^131071, array[1500])",
    "select array_fill(repeat('1', 60000)::varbit, array[450])",
    "select array_fill(null::int, array[1600000])",
    "select array_fill(now(), array[250000])",
    "select array_fill('-170000000 years -20 days -23:59:59.999999'::interval, array[140000])",
];

#[test]
fn a_result_that_grows_while_it_is_read_is_refused_before_it_has() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    // Its connections are there before, and stay.
    let lease = service.lease(&tenant);
    let siege = Siege::start(&service, harness::tenant().pool_of(1));
    for sql in GROWING {
        let error = lease.fails(&[sql]);
        assert_eq!((error.code, &*error.reason), (code::FAILED_PRECONDITION, "RESULT_TOO_LARGE"));
        let work = error.work.expect("a WorkOutcome");
        // Each was run, and could not be given.
        assert_eq!((work.statements_completed, work.failed_statement), (1, 0));
        println!("{sql}: {} kB", siege.grown_kb());
    }
    assert_eq!(lease.value("select 1"), "1");
    siege.end();
}

#[test]
fn a_row_that_grows_while_it_is_sent_is_refused_before_it_has() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    // Its connections are there before, and stay.
    let lease = service.lease(&tenant);
    let siege = Siege::start(&service, harness::tenant().pool_of(1));
    for sql in GROWING {
        let error = fails_streamed(&lease, &query_on(&lease, sql));
        assert_eq!((error.code, &*error.reason), (code::FAILED_PRECONDITION, "RESULT_TOO_LARGE"));
        println!("{sql}: {} kB", siege.grown_kb());
    }
    assert_eq!(lease.value("select 1"), "1");
    siege.end();
}

/// Rows of 33 bytes that are 131 kB as text, without end, and as fast as they are taken.
const ENDLESS: &str = "select (select 10::numeric^131071), generate_series(1, 1000000000)";

#[test]
fn a_time_limit_ends_a_statement_whose_rows_are_long_in_the_making_and_not_its_lease() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    // A busy machine may need more than the first of these to begin.
    let begins = [500, 2000, 8000, 32_000].into_iter().any(|limit| {
        let limited = QueryRequest { timeout: millis(limit), ..query_on(&lease, ENDLESS) };
        let (messages, error) = fails_after(&lease, &limited);
        assert_eq!((error.code, &*error.reason), (code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT"));
        messages > 1
    });
    assert!(begins);
    // What PostgreSQL had sent by then is dropped as it is, so that the statement ends
    // within the grace that it has.
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

#[test]
fn a_reader_who_leaves_ends_a_statement_whose_rows_are_long_in_the_making_and_not_its_lease() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let mut reading = lease.client.query(&query_on(&lease, ENDLESS)).unwrap();
    while !matches!(reading.next().unwrap().unwrap().kind, Some(Kind::Batch(_))) {}
    drop(reading);
    eventually("the lease is free", || match lease.client.run(&lease.id, &["select 1"]) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.reason, "LEASE_BUSY", "{error}");
            false
        }
    });
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

/// An error whose texts have 6000 bytes each, and three times as many in a trailer.
const BOOM: &str = "create function boom() returns trigger language plpgsql as $$ begin \
     raise exception using message = repeat('語', 2000), detail = repeat('語', 2000), \
     hint = repeat('語', 2000), constraint = repeat('語', 2000), errcode = '23514'; end $$";

#[track_caller]
fn assert_truncated(error: &CallError) {
    assert_eq!((error.code, &*error.reason), (code::INVALID_ARGUMENT, "SQL_ERROR"), "{error}");
    assert!(error.message.ends_with('…'), "{error}");
    assert_eq!(error.work.as_ref().expect("a WorkOutcome").failed_statement, 0);
    let words = error.postgres.as_ref().expect("a PostgresError");
    assert_eq!((&*words.sqlstate, &*words.severity), ("23514", "ERROR"));
    for text in [&words.message, &words.detail, &words.constraint] {
        assert!(text.starts_with('語') && text.ends_with('…'), "{text}");
    }
}

#[test]
fn an_error_arrives_with_its_reason_whatever_its_words_are() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&[
        BOOM,
        "create table t (i int)",
        "create trigger t before insert on t for each row execute function boom()",
    ]);
    let insert = "insert into t values (1)";
    let mut session = lease.client.open_session(request(&tenant)).unwrap().0;
    for round in 0..20 {
        assert_truncated(&lease.fails(&[insert]));
        assert_truncated(&fails_streamed(&lease, &query_on(&lease, insert)));
        let start = CopyInStart {
            connection_id: lease.id.clone(),
            sql: "copy t from stdin".to_owned(),
            ..CopyInStart::default()
        };
        let mut copy = lease.client.copy_in(start).unwrap();
        // It may have failed already.
        let _ = copy.data(b"1\n");
        assert_truncated(&refused(copy.finish()));
        let out = CopyOutRequest {
            connection_id: lease.id.clone(),
            sql: format!("copy ({insert} returning i) to stdout"),
            ..CopyOutRequest::default()
        };
        assert_truncated(&refused(lease.client.copy_out(&out).unwrap().next()));
        // Within a message there is room for all that is kept.
        session.execute(round, &[insert]).unwrap();
        let Some(Said::Executed(executed)) = session.next().unwrap().unwrap().kind else {
            panic!("an answer")
        };
        let Some(Outcome::Error(error)) = executed.outcome else { panic!("an error") };
        is_whole(&error);
    }
    assert_eq!(lease.value("select 1"), "1");
}

fn is_whole(error: &Status) {
    let words = error.details.iter().find_map(|any| any.unpack().unwrap());
    let words: connection_pool_manager::proto::errors::PostgresError = words.expect("words");
    assert_eq!(words.sqlstate, "23514");
    assert!(words.hint.len() > 500 && words.constraint.len() > 500);
}

#[test]
fn a_servers_oversized_error_is_truncated_and_returned() {
    let service = Service::start();
    let client = service.client();
    let talker = Rogue::start(rogue::Refuses::Statements);
    let granted = client.acquire("talker", &talker.dsn()).unwrap();
    for _ in 0..5 {
        let error = refused(client.run(&granted.connection_id, &["select 1"]));
        assert_eq!(error.reason, "SQL_ERROR", "{error}");
        let words = error.postgres.expect("a PostgresError");
        assert_eq!((&*words.sqlstate, &*words.severity), ("ZZZZZ", "ERROR"));
        assert_eq!(error.info.expect("an ErrorInfo").metadata["sqlstate"], "ZZZZZ");
    }
    let doorman = Rogue::start(rogue::Refuses::Logins);
    let error = refused(client.acquire("doorman", &doorman.dsn()));
    assert_eq!(error.reason, "CONNECT_REJECTED", "{error}");
    assert_eq!(error.postgres.expect("a PostgresError").sqlstate, "ZZZZZ");
    let line = service.log().wait_for("event=connect_failed");
    assert!(line.contains("ZZZZZ") && !line.contains("ZZZZZZ"), "{line}");
    assert!(line.len() < 2048, "{}: {line}", line.len());
}

//! Much goes out while much comes back: neither side waits for the other for ever.

use crate::harness::fake::{message, notice, row, Asked, Fake, Talk};
use crate::harness::siege::{Siege, MEMORY_KB};
use crate::harness::{eventually, millis, refused, tenant, Held, Service};
use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::sql::query_response::Kind as Streamed;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{
    CopyInStart, ExecuteRequest, QueryRequest, Statement, Value,
};

/// The most that fits into a request, nearly.
const LARGE: usize = 3_500_000;

fn with(sql: &str, bytes: usize) -> Statement {
    let value = Value { kind: Some(Kind::Bytes(vec![7; bytes])), ..Value::default() };
    Statement { parameters: vec![value], ..statement(sql) }
}

fn execute(lease: &Held, statements: Vec<Statement>) -> ExecuteRequest {
    let timeout = millis(60_000);
    ExecuteRequest {
        connection_id: lease.id.clone(),
        statements,
        timeout,
        ..ExecuteRequest::default()
    }
}

/// Reads a streamed result; how many rows it had.
fn stream(lease: &Held, statement: Statement) -> Result<usize, CallError> {
    let request = QueryRequest {
        connection_id: lease.id.clone(),
        statement: Some(statement).into(),
        timeout: millis(60_000),
        ..QueryRequest::default()
    };
    let mut query = lease.client.query(&request)?;
    let mut rows = 0;
    while let Some(part) = query.next()? {
        if let Some(Streamed::Batch(batch)) = part.kind {
            rows += batch.rows.len();
        }
    }
    Ok(rows)
}

#[test]
fn copied_rows_may_have_notices_as_long_as_they_are() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&[
        "create table t (line text)",
        "create function tell() returns trigger language plpgsql as $$ begin \
         raise notice '%', repeat('n', 100000); return new; end $$",
        "create trigger tell before insert on t for each row execute function tell()",
    ]);
    let start = CopyInStart {
        connection_id: lease.id.clone(),
        sql: "copy t from stdin".to_owned(),
        timeout: millis(60_000),
        ..CopyInStart::default()
    };
    let mut copy = lease.client.copy_in(start).unwrap();
    let line = [&[b'x'; 99_999][..], b"\n"].concat();
    for _ in 0..100 {
        copy.data(&line).unwrap();
    }
    assert_eq!(copy.finish().unwrap().rows_affected, 100);
    assert_eq!(lease.value("select sum(length(line)) from t"), "9999900");
}

#[test]
fn large_parameters_come_back_as_large_results() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let sql = "select $1::bytea";
    let answer = lease.client.execute(&execute(&lease, vec![with(sql, LARGE)])).unwrap();
    assert_eq!(answer.results[0].rows.len(), 1);
    // As one write, and with notices before each row.
    lease.run(&["create function echo(b bytea) returns bytea language plpgsql as $$ begin \
                 for i in 1..10 loop raise notice '%', repeat('n', 100000); end loop; \
                 return b; end $$"]);
    for (size, count, atomic) in [(60_000, 4, true), (400_000, 8, true), (400_000, 8, false)] {
        let all = vec![with("select echo($1)", size); count];
        let request = ExecuteRequest { atomic, ..execute(&lease, all) };
        for _ in 0..2 {
            let answer = lease.client.execute(&request).unwrap();
            assert_eq!(answer.results.len(), count);
        }
    }
    // More comes back than went out.
    let many = "select $1::bytea, n from generate_series(1, 10) n";
    for _ in 0..2 {
        assert_eq!(stream(&lease, with(many, 2_000_000)).unwrap(), 10);
    }
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

/// A server that takes nothing of the data of a COPY before it has said this.
fn talks_first(says: impl Fn(&mut Talk) + Send + Sync + 'static) -> Fake {
    Fake::start(move |talk, asked| match asked {
        Asked::Execute(sql) if sql == COPY => {
            talk.say(&message(b'G', &[0, 0, 1, 0, 0]));
            talk.waits_for(4 << 20);
            says(talk);
            true
        }
        _ => false,
    })
}

const COPY: &str = "copy t from stdin";

/// 20 MB for that server, which no sockets hold.
fn copy(lease: &Held) -> Result<i64, CallError> {
    let start = CopyInStart {
        connection_id: lease.id.clone(),
        sql: COPY.to_owned(),
        timeout: millis(60_000),
        ..CopyInStart::default()
    };
    let mut copy = lease.client.copy_in(start)?;
    for _ in 0..200 {
        if copy.data(&[b'x'; 100_000]).is_err() {
            break;
        }
    }
    Ok(copy.finish()?.rows_affected)
}

#[test]
fn a_server_that_talks_before_it_listens_is_heard() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let fake = talks_first(|talk| {
        assert!(talk.say(&notice(&"n".repeat(100_000)).repeat(100)));
    });
    let tenant = fake.tenant("talker", 1);
    let lease = service.lease(&tenant);
    assert_eq!(copy(&lease).unwrap(), 1);
    lease.run(&["plain"]);
    assert_eq!(fake.sessions(), 1);
    assert!(siege.grown_kb() < MEMORY_KB, "{} kB", siege.grown_kb());
    lease.release();
    siege.end();
}

#[test]
fn a_server_that_only_talks_is_left_and_its_words_count() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let fake = talks_first(|talk| {
        talk.flood(usize::MAX, |_| row(&[&[7; 100_000]]));
    });
    let tenant = fake.tenant("talker", 10);
    let leases: Vec<_> = (0..10).map(|_| service.lease(&tenant)).collect();
    let errors: Vec<CallError> = std::thread::scope(|scope| {
        let copies: Vec<_> =
            leases.iter().map(|lease| scope.spawn(|| refused(copy(lease)))).collect();
        copies.into_iter().map(|copy| copy.join().unwrap()).collect()
    });
    for error in errors {
        println!("{error}");
        assert_eq!(error.reason, "BACKEND_LOST", "{error}");
        let why = [
            "more than 16777216 bytes before it had read the request",
            "there was no memory for the rest of a message",
            // It came before everything was full.
            "a message out of turn",
        ];
        assert!(why.iter().any(|why| error.message.contains(why)), "{error}");
    }
    drop(leases);
    siege.bystander_works(20);
    let held = "connpool_memory_bytes{use=\"partial_messages\"}";
    eventually("nothing is held", || service.metric(held).unwrap_or(0.0).abs() < 0.5);
    // 64 MiB is what one tenant may have of them.
    siege.end_within(2 * MEMORY_KB);
}

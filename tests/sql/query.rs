//! Streamed results.

use crate::harness;
use crate::harness::sql::query_on;
use crate::harness::{code, eventually, tenant, Service, Tenant};
use connection_pool_manager::client::service::query::Query;
use connection_pool_manager::client::service::{statement, CallError, Client};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::query_response::Kind;
use connection_pool_manager::proto::sql::value::Kind as Of;
use connection_pool_manager::proto::sql::{
    Column, QueryRequest, QueryTrailer, Row, RowFormat, Statement, Value,
};

fn one_shot(tenant: &Tenant, sql: &str) -> QueryRequest {
    QueryRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statement: Some(statement(sql)).into(),
        ..QueryRequest::default()
    }
}

#[derive(Default)]
struct Read {
    columns: Vec<Column>,
    rows: Vec<Row>,
    batches: usize,
    /// Rows that had come before each notice.
    notices: Vec<(usize, String)>,
    trailer: Option<QueryTrailer>,
    error: Option<CallError>,
}

/// Reads all there is.
fn read(query: &mut Query) -> Read {
    let mut read = Read::default();
    loop {
        match query.next().map(|response| response.map(|response| response.kind.unwrap())) {
            Ok(Some(Kind::Header(header))) => {
                assert!(read.columns.is_empty() && read.rows.is_empty(), "the header is first");
                read.columns = header.columns;
            }
            Ok(Some(Kind::Batch(batch))) => {
                read.batches += 1;
                read.rows.extend(batch.rows);
            }
            Ok(Some(Kind::Notice(notice))) => {
                read.notices.push((read.rows.len(), notice.message));
            }
            Ok(Some(Kind::Trailer(trailer))) => read.trailer = Some(trailer),
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) => return read,
            Err(error) => {
                read.error = Some(error);
                return read;
            }
        }
        assert!(read.trailer.is_none() || read.error.is_none());
    }
}

#[track_caller]
fn all(client: &Client, request: &QueryRequest) -> Read {
    let read = read(&mut client.query(request).unwrap());
    if let Some(error) = &read.error {
        panic!("{error}");
    }
    assert!(read.trailer.is_some(), "the trailer is last");
    read
}

fn failed(client: &Client, request: &QueryRequest) -> (Read, CallError) {
    let mut read = read(&mut client.query(request).unwrap());
    let error = read.error.take().expect("an error");
    assert!(read.trailer.is_none());
    (read, error)
}

fn waits_for_its_reader(tenant: &Tenant) -> bool {
    let sql = "select count(*) from pg_stat_activity \
               where wait_event = 'ClientWrite' and datname = current_database()";
    tenant.sql(sql) != "0"
}

#[test]
fn a_streamed_result_is_what_execute_gives() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let sql = "select n, n::text, null::int, n * 0.5::float8, array[n, null], \
               '\\x00ff'::bytea, n % 2 = 0, (1, n)::text, point(n, 0) \
               from generate_series(-300, 300) n";
    let executed = lease.run(&[sql]);
    let streamed = all(&lease.client, &query_on(&lease, sql));
    assert_eq!(streamed.columns, executed.results[0].columns);
    assert_eq!(streamed.rows, executed.results[0].rows);
    let trailer = streamed.trailer.unwrap();
    assert_eq!((trailer.command_tag.as_str(), trailer.rows_affected), ("SELECT 601", 601));
}

#[test]
fn binary_rows_are_postgresqls_own() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let request = QueryRequest {
        row_format: RowFormat::ROW_FORMAT_BINARY.into(),
        ..query_on(&lease, "select n::int4, null::text, 'ab'::text from generate_series(1, 3) n")
    };
    let mut query = lease.client.query(&request).unwrap();
    let (mut rows, mut bytes) = (0, Vec::new());
    while let Some(response) = query.next().unwrap() {
        if let Some(Kind::Batch(batch)) = response.kind {
            rows += batch.binary_rows;
            bytes.extend(batch.binary);
        }
    }
    let mut expected = Vec::new();
    for n in 1..=3u8 {
        expected.extend([0, 3, 0, 0, 0, 4, 0, 0, 0, n, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2]);
        expected.extend(b"ab");
    }
    assert_eq!((rows, bytes), (3, expected));
}

#[test]
fn rows_of_any_width_come_whole_and_in_their_order() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    // So many of them that reads end at every place of a row; none at all; one that
    // takes many reads.
    for (columns, rows) in [(0, 5000), (1, 50_000), (3, 20_000), (1600, 50)] {
        let list: Vec<_> = (0..columns).map(|column| format!("n * 7 + {column}")).collect();
        let sql = format!("select {} from generate_series(1, {rows}) n", list.join(", "));
        let read = all(&lease.client, &query_on(&lease, &sql));
        assert_eq!(read.rows.len(), rows);
        for (row, n) in read.rows.iter().zip(1i64..) {
            let values: Vec<_> = row.values.iter().map(|value| value.kind.clone()).collect();
            let expected: Vec<_> =
                (0..columns).map(|column| Some(Of::Int(n * 7 + column))).collect();
            assert_eq!(values, expected, "row {n}");
        }
    }
    let long = "select repeat(n::text, 400000) from generate_series(1, 8) n";
    let read = all(&lease.client, &query_on(&lease, long));
    for (row, n) in read.rows.iter().zip(1..) {
        let expected = Of::Text(n.to_string().repeat(400_000));
        assert!(row.values[0].kind == Some(expected), "row {n}");
    }
    assert_eq!(read.rows.len(), 8);
}

#[test]
fn parameters_commands_without_rows_and_one_shots_work_too() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let parameters = vec![Value { kind: Some(Of::Int(7)), ..Value::default() }];
    let asked = QueryRequest {
        statement: Some(Statement { parameters, ..statement("select $1::int4") }).into(),
        ..query_on(&lease, "")
    };
    assert_eq!(all(&lease.client, &asked).rows[0].values[0].kind, Some(Of::Int(7)));
    let made =
        all(&lease.client, &query_on(&lease, "create table t as select generate_series(1, 5)"));
    assert_eq!((made.columns.len(), made.trailer.unwrap().rows_affected), (0, 5));
    let empty = all(&lease.client, &query_on(&lease, ""));
    assert_eq!(empty.trailer.unwrap().command_tag, "");
    let last = QueryRequest { release_after: true, ..query_on(&lease, "select 1") };
    assert!(all(&lease.client, &last).trailer.unwrap().session.lease_ended);
    let client = service.client();
    assert_eq!(all(&client, &one_shot(&tenant, "select * from t")).rows.len(), 5);
    let (_, open) = failed(&client, &one_shot(&tenant, "begin"));
    assert_eq!(open.reason, "TRANSACTION_LEFT_OPEN");
    service.wait_quiet(&tenant.name);
}

#[test]
fn rows_and_notices_come_when_they_are_there_and_in_their_order() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create function pg_temp.announced(n int) returns int language plpgsql as \
        $$ begin raise notice 'at %', n; if n = 3 then perform pg_advisory_lock(1); end if; \
        return n; end $$"]);
    tenant.sql("select 1");
    let holder = service.lease(&tenant);
    holder.run(&["select pg_advisory_lock(1)"]);
    let sql = "select pg_temp.announced(n) from generate_series(1, 4) n";
    let mut query = lease.client.query(&query_on(&lease, sql)).unwrap();
    // Two rows come although the third cannot.
    let mut rows = 0;
    while rows < 2 {
        if let Some(Kind::Batch(batch)) = query.next().unwrap().unwrap().kind {
            rows += batch.rows.len();
        }
    }
    assert_eq!(rows, 2);
    holder.run(&["select pg_advisory_unlock(1)"]);
    let rest = read(&mut query);
    assert!(rest.error.is_none());
    let told = all(
        &lease.client,
        &query_on(&lease, "select pg_temp.announced(n) from generate_series(1, 2) n"),
    );
    // Never after the row that PostgreSQL sent behind them.
    let texts: Vec<&str> = told.notices.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["at 1", "at 2"]);
    assert!(told.notices.iter().enumerate().all(|(i, (rows, _))| *rows <= i));
}

#[test]
fn an_error_after_rows_ends_the_stream_with_what_it_was() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let sql = "select 1 / (n - 20000) from generate_series(1, 30000) n";
    let (came, error) = failed(&lease.client, &query_on(&lease, sql));
    assert!(came.rows.len() < 20_000);
    assert_eq!((error.code, error.reason.as_str()), (code::INVALID_ARGUMENT, "SQL_ERROR"));
    assert_eq!(error.work.unwrap().outcome.unwrap(), Outcome::NOT_APPLIED);
    let slow = QueryRequest {
        timeout: harness::millis(50),
        ..query_on(&lease, "select n, pg_sleep(0.01 * n) from generate_series(1, 10000) n")
    };
    let (_, error) = failed(&lease.client, &slow);
    assert_eq!(error.reason, "STATEMENT_TIMEOUT");
    for (sql, part) in [
        ("copy (select 1) to stdout", "COPY"),
        ("selec 1", "syntax error"),
        ("select 1; select 2", "multiple commands"),
    ] {
        let (_, error) = failed(&lease.client, &query_on(&lease, sql));
        assert!(error.message.contains(part), "{error}");
    }
    let without = QueryRequest { connection_id: lease.id.clone(), ..QueryRequest::default() };
    let (_, error) = failed(&lease.client, &without);
    assert!(error.message.contains("statement is required"));
    assert_eq!(lease.value("select 1"), "1");
}

#[test]
fn a_row_that_fits_no_message_is_refused_and_the_lease_stays_usable() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let sql = "select repeat('x', case when n = 3 then 5000000 else 10 end) \
               from generate_series(1, 1000000) n";
    let (came, error) = failed(&lease.client, &query_on(&lease, sql));
    assert!(came.rows.len() <= 2);
    assert_eq!(error.reason, "RESULT_TOO_LARGE");
    assert_eq!(lease.value("select 1"), "1");
}

#[test]
fn a_gigabyte_flows_through_a_few_megabytes() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let sql = |rows: u32| format!("select repeat('x', 8000) from generate_series(1, {rows}) n");
    all(&lease.client, &query_on(&lease, &sql(1000)));
    let before = service.proc_status("VmHWM:");
    let request = QueryRequest {
        row_format: RowFormat::ROW_FORMAT_BINARY.into(),
        timeout: harness::millis(600_000),
        ..query_on(&lease, &sql(140_000))
    };
    let mut query = lease.client.query(&request).unwrap();
    let mut bytes = 0;
    while let Some(response) = query.next().unwrap() {
        if let Some(Kind::Batch(batch)) = response.kind {
            bytes += batch.binary.len();
        }
    }
    assert!(bytes > 1 << 30, "{bytes}");
    let grown = service.proc_status("VmHWM:") - before;
    assert!(grown < 32 * 1024, "{grown} KiB");
}

#[test]
fn a_reader_that_stops_stops_postgresql_and_one_that_leaves_cancels_it() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let endless = "select repeat('x', 1000), generate_series(1, 100000000)";
    let before = service.proc_status("VmHWM:");
    let request = QueryRequest { timeout: harness::millis(5000), ..query_on(&lease, endless) };
    let mut query = lease.client.query(&request).unwrap();
    assert!(query.next().unwrap().is_some());
    eventually("PostgreSQL waits for its reader", || waits_for_its_reader(&tenant));
    assert!(service.proc_status("VmHWM:") - before < 64 * 1024);
    // The statement's time stands still meanwhile.
    let old = "select count(*) from pg_stat_activity where state = 'active' \
               and query like '%100000000%' and now() - query_start > '6 s' \
               and pid <> pg_backend_pid() and datname = current_database()";
    eventually("it is older than it may run", || tenant.sql(old) == "1");
    let busy = harness::refused(lease.client.run(&lease.id, &["select 1"]));
    assert_eq!(busy.reason, "LEASE_BUSY");
    drop(query);
    eventually("the lease is free again", || lease.client.run(&lease.id, &["select 1"]).is_ok());
    assert!(!waits_for_its_reader(&tenant));
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

#[test]
fn a_reader_that_takes_nothing_for_too_long_is_given_up() {
    let (service, tenant) = (Service::with(&["--stall-timeout", "1"]), tenant());
    let lease = service.lease(&tenant);
    let endless = "select repeat('x', 1000), generate_series(1, 100000000)";
    let query = lease.client.query(&query_on(&lease, endless)).unwrap();
    // The lease is free again although nobody has read or left.
    eventually("the lease is free", || lease.client.run(&lease.id, &["select 1"]).is_ok());
    let mut query = query;
    let error = read(&mut query).error.expect("an error");
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"));
    assert_eq!(error.info.unwrap().metadata["cause"], "stalled");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
}

#[test]
fn a_result_that_was_cut_short_never_ends_well() {
    let (service, tenant) = (Service::with(&["--stall-timeout", "1"]), tenant());
    // So large that PostgreSQL may be done while the reader has not begun.
    for rows in [1_000, 2_000, 4_000, 8_000, 16_000] {
        let lease = service.lease(&tenant);
        let sql = format!("select repeat('x', 1000) from generate_series(1, {rows})");
        let mut query = lease.client.query(&query_on(&lease, &sql)).unwrap();
        // Nobody reads until the statement is over, one way or another.
        eventually("the lease is free", || lease.client.run(&lease.id, &["select 1"]).is_ok());
        let read = read(&mut query);
        assert_eq!(read.trailer.is_some(), read.error.is_none());
        assert!(read.error.is_some() || read.rows.len() == rows, "{} of {rows}", read.rows.len());
        lease.client.release(&lease.id).unwrap();
    }
}

#[test]
fn a_forced_release_ends_a_query_whose_reader_has_stopped() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let endless = "select repeat('x', 1000), generate_series(1, 100000000)";
    let mut query = lease.client.query(&query_on(&lease, endless)).unwrap();
    assert!(query.next().unwrap().is_some());
    eventually("PostgreSQL waits for its reader", || waits_for_its_reader(&tenant));
    lease.client.release_with(&lease.id, true).unwrap();
    service.wait_quiet(&tenant.name);
    let error = read(&mut query).error.expect("an error");
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"));
}

//! COPY from and to a client, as streams.

mod endings;
mod order;
mod refusals;

use crate::harness;
use crate::harness::{code, millis, tenant, Held, Service};
use connection_pool_manager::client::service::copy::CopyIn;
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::sql::copy_out_response::Kind;
use connection_pool_manager::proto::sql::{
    CopyInResponse, CopyInStart, CopyOutRequest, CopyOutTrailer,
};

fn start(lease: &Held, sql: &str) -> CopyInStart {
    CopyInStart { connection_id: lease.id.clone(), sql: sql.to_owned(), ..CopyInStart::default() }
}

fn begun(lease: &Held, sql: &str) -> CopyIn {
    lease.client.copy_in(start(lease, sql)).unwrap()
}

/// Copies pieces in, one message each.
fn put(lease: &Held, sql: &str, pieces: &[&[u8]]) -> Result<CopyInResponse, CallError> {
    let mut copy = begun(lease, sql);
    for piece in pieces {
        if copy.data(piece).is_err() {
            break;
        }
    }
    copy.finish()
}

fn out(lease: &Held, sql: &str) -> CopyOutRequest {
    CopyOutRequest {
        connection_id: lease.id.clone(),
        sql: sql.to_owned(),
        ..CopyOutRequest::default()
    }
}

#[derive(Default)]
struct Taken {
    data: Vec<u8>,
    notices: Vec<String>,
    trailer: Option<CopyOutTrailer>,
    error: Option<CallError>,
}

/// Reads all there is.
fn take(lease: &Held, request: &CopyOutRequest) -> Taken {
    let mut copy = lease.client.copy_out(request).unwrap();
    let mut taken = Taken::default();
    loop {
        match copy.next().map(|response| response.map(|response| response.kind.unwrap())) {
            Ok(Some(Kind::Data(data))) => taken.data.extend(data),
            Ok(Some(Kind::Notice(notice))) => taken.notices.push(notice.message),
            Ok(Some(Kind::Trailer(trailer))) => taken.trailer = Some(trailer),
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) => return taken,
            Err(error) => {
                taken.error = Some(error);
                return taken;
            }
        }
    }
}

#[track_caller]
fn all(lease: &Held, sql: &str) -> (Vec<u8>, CopyOutTrailer) {
    let taken = take(lease, &out(lease, sql));
    if let Some(error) = taken.error {
        panic!("{sql}: {error}");
    }
    (taken.data, taken.trailer.expect("the trailer is last"))
}

/// The lease goes on with the backend it had, and nothing is out of step.
#[track_caller]
fn assert_usable(lease: &Held) {
    for n in 0..3 {
        let answer = lease.value(&format!("select '{n} ' || pg_backend_pid()"));
        assert_eq!(answer, format!("{n} {}", lease.pid));
    }
}

const VALUES: &str =
    "select n, n / 3.0 as x, case when n % 5 > 0 then E'a\\tb\\\\ \"' || n end as t, \
    decode(md5(n::text), 'hex') as b, array[n, null, -n] as a, \
    timestamptz '2026-01-01' + n * interval '1 hour' as at from generate_series(1, 300) n";

#[test]
fn what_is_copied_out_goes_in_again_in_every_format() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&[&format!("create table had as {VALUES}"), "create table got (like had)"]);
    for options in [
        "",
        "with (format csv, header)",
        "with (format csv, quote '''', null 'none')",
        "binary",
        "(delimiter ',')",
    ] {
        let options = if options == "binary" { "with (format binary)" } else { options };
        let (data, trailer) = all(&lease, &format!("copy had to stdout {options}"));
        assert_eq!((trailer.command_tag.as_str(), trailer.rows_affected), ("COPY 300", 300));
        for size in [7, 1000, 65_536, data.len()] {
            let pieces: Vec<&[u8]> = data.chunks(size).collect();
            let sql = format!("copy got from stdin {options}");
            let done = put(&lease, &sql, &pieces).unwrap();
            assert_eq!((done.command_tag.as_str(), done.rows_affected), ("COPY 300", 300));
            let differ = "select count(*) from ((table had except all table got) \
                          union all (table got except all table had)) d";
            assert_eq!(lease.value(differ), "0", "{options}");
            lease.run(&["truncate got"]);
        }
    }
    let (csv, _) =
        all(&lease, "copy (select 1 as \"a b\", null, 'x,y') to stdout (format csv, header)");
    assert_eq!(String::from_utf8(csv).unwrap(), "a b,?column?,?column?\n1,,\"x,y\"\n");
    let (none, trailer) = all(&lease, "copy (select 1 where false) to stdout");
    assert_eq!((none.len(), trailer.rows_affected), (0, 0));
    assert_eq!(put(&lease, "copy got from stdin", &[]).unwrap().rows_affected, 0);
    assert_usable(&lease);
}

#[test]
fn a_copy_takes_part_in_its_leases_transaction() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)", "begin"]);
    let done = put(&lease, "copy t from stdin", &[b"1\n2\n"]).unwrap();
    assert_eq!(done.session.transaction_state.unwrap(), harness::sql::OPEN);
    let (_, trailer) = all(&lease, "copy t to stdout");
    assert_eq!(trailer.rows_affected, 2);
    assert_eq!(trailer.session.transaction_state.unwrap(), harness::sql::OPEN);
    lease.run(&["rollback"]);
    assert_eq!(lease.value("select count(*) from t"), "0");
    lease.run(&["begin"]);
    let error = harness::refused(put(&lease, "copy t from stdin", &[b"1\nx\n"]));
    assert_eq!(error.work.unwrap().transaction_state.unwrap(), harness::sql::FAILED);
    lease.run(&["rollback"]);
    assert_usable(&lease);
}

#[test]
fn a_copy_needs_no_lease_and_can_end_one() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    let shot = CopyInStart {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        ..start(&Held { id: String::new(), ..service.lease(&tenant) }, "copy t from stdin")
    };
    let mut copy = lease.client.copy_in(shot.clone()).unwrap();
    copy.data(b"5\n6\n").unwrap();
    assert_eq!(copy.finish().unwrap().rows_affected, 2);
    let read = CopyOutRequest {
        connection_id: String::new(),
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        ..out(&lease, "copy t to stdout")
    };
    assert_eq!(take(&lease, &read).data, b"5\n6\n");
    let last = CopyOutRequest { release_after: true, ..out(&lease, "copy t to stdout") };
    let taken = take(&lease, &last);
    assert!(taken.trailer.unwrap().session.lease_ended);
    let second = service.lease(&tenant);
    let last = CopyInStart { release_after: true, ..start(&second, "copy t from stdin") };
    let copy = second.client.copy_in(last).unwrap();
    assert!(copy.finish().unwrap().session.lease_ended);
    assert_eq!(second.end_reason(), "released");
}

#[test]
fn notices_come_with_the_data() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create function pg_temp.announced(n int) returns int language plpgsql as \
        $$ begin raise notice 'at %', n; return n; end $$"]);
    let sql = "copy (select pg_temp.announced(n) from generate_series(1, 3) n) to stdout";
    let taken = take(&lease, &out(&lease, sql));
    assert_eq!((taken.notices.len(), taken.data.as_slice()), (3, b"1\n2\n3\n".as_slice()));
    lease.run(&[
        "create table t (n int)",
        "create function f() returns trigger language plpgsql as \
         $$ begin raise notice 'row %', new.n; return new; end $$",
        "create trigger f before insert on t for each row execute function f()",
    ]);
    let done = put(&lease, "copy t from stdin", &[b"1\n2\n"]).unwrap();
    let texts: Vec<&str> = done.session.notices.iter().map(|n| n.message.as_str()).collect();
    assert_eq!(texts, ["row 1", "row 2"]);
}

#[test]
fn hundreds_of_megabytes_flow_through_a_few() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&[
        "create table t (n int, x text)",
        "create function drops() returns trigger language plpgsql as 'begin return null; end'",
        "create trigger drops before insert on t for each row execute function drops()",
    ]);
    let sql = "copy (select n, repeat('x', 8000) from generate_series(1, 100) n) to stdout";
    let (piece, _) = all(&lease, sql);
    put(&lease, "copy t from stdin", &[&piece]).unwrap();
    let before = service.proc_status("VmHWM:");
    let many = CopyInStart { timeout: millis(600_000), ..start(&lease, "copy t from stdin") };
    let mut copy = lease.client.copy_in(many).unwrap();
    for _ in 0..350 {
        copy.data(&piece).unwrap();
    }
    assert_eq!(copy.finish().unwrap().rows_affected, 0);
    let sql = "copy (select n, repeat('x', 8000) from generate_series(1, 35000) n) to stdout";
    let mut copy = lease.client.copy_out(&out(&lease, sql)).unwrap();
    let mut bytes = 0;
    while let Some(response) = copy.next().unwrap() {
        if let Some(Kind::Data(data)) = response.kind {
            bytes += data.len();
        }
    }
    assert!(bytes > 280_000_000, "{bytes}");
    let grown = service.proc_status("VmHWM:") - before;
    assert!(grown < 32 * 1024, "{grown} KiB");
}

#[test]
fn copy_through_other_calls_is_refused_with_a_pointer() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)"]);
    for (sql, call) in [
        ("copy t from stdin", "CopyIn"),
        ("/* a */ -- b\n copy t to stdout", "CopyOut"),
        ("copy (select 'from') to stdout", "CopyOut"),
    ] {
        let error = lease.fails(&[sql]);
        assert_eq!((error.code, error.reason.as_str()), (code::UNIMPLEMENTED, "UNSUPPORTED"));
        assert!(error.message.contains(call), "{error}");
        assert_usable(&lease);
    }
    // What needs no client is a statement like any other.
    for sql in ["copy t from program 'true'", "copy t to '/tmp/t'"] {
        assert_eq!(lease.fails(&[sql]).postgres.unwrap().sqlstate, "42501", "{sql}");
    }
    assert_usable(&lease);
}

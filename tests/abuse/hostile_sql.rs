//! What a tenant's ordinary role may cost with SQL alone: its own statement, and never
//! the process, another tenant's service, or memory beyond measure.

use crate::harness;
use crate::harness::code::FAILED_PRECONDITION;
use crate::harness::siege::Siege;
use crate::harness::sql::{assert_error, on_lease, state_of, tenant_of_one, NONE};
use crate::harness::{answer, refused, tenant, Held, Service};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::sql::copy_out_response::Kind as Copied;
use connection_pool_manager::proto::sql::listen_response::Kind;
use connection_pool_manager::proto::sql::{CopyOutRequest, ExecuteRequest, ListenRequest};

/// A statement that is refused for its types, on a lease that goes on.
#[track_caller]
fn assert_too_complex(lease: &Held, sql: &str, part: &str) {
    let error = lease.fails(&[sql]);
    assert_error(&error, FAILED_PRECONDITION, "LOOKUP_FAILED");
    assert!(error.message.contains(part), "{error}");
    assert!(error.message.contains("54001"), "{error}");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    assert_eq!(state_of(lease), NONE);
}

/// Types that nest this deeply, each made of the one before.
fn nest(lease: &Held, levels: usize, first: &str, next: &str) {
    let block = format!(
        "do $$ begin {first}; for i in 1..{levels} loop \
         execute format('{next}', i, i - 1); end loop; end $$"
    );
    lease.run(&[&block]);
}

#[test]
fn types_inside_types_cost_their_own_statement_only() {
    let service = Service::start();
    let tenant = tenant_of_one();
    // Its one backend stays open.
    service.lease(&tenant).release();
    let siege = Siege::start(&service, harness::tenant().pool_of(1));
    let lease = service.lease(&tenant);
    nest(&lease, 1700, "create domain d0 as int", "create domain d%s as d%s");
    nest(&lease, 700, "create type c0 as (a int)", "create type c%s as (a c%s)");
    nest(&lease, 200, "create domain a0 as int", "create domain a%s as a%s[]");
    let levels = "more than 64 levels of types";
    for sql in ["select array[null::d1700]", "select null::c600 where $1::d1700 is null"] {
        assert_too_complex(&lease, sql, levels);
    }
    // What a composite consists of is nobody's concern.
    lease.run(&["select null::c650"]);
    // What was found on the way does not help to get deeper in several steps.
    for level in (400..=1700).step_by(400) {
        let _ = lease.client.run(&lease.id, &[&format!("select array[null::d{level}]")]);
    }
    let _ = lease.client.run(&lease.id, &["select null::c400"]);
    assert_too_complex(&lease, "select null::a150", levels);
    assert_too_complex(&lease, "select array[null::d100]", levels);
    // What anybody needs is found.
    lease.run(&["select null::a20", "select array[null::d50]", "select null::c200"]);
    assert_eq!(lease.value("select 7::d20"), "7");
    lease.run(&["select array[null::d60]"]);
    siege.bystander_works(20);
    lease.release();
    drop(lease);
    service.wait_quiet(&tenant.name);
    siege.end();
}

/// 2 MB on the wire, of which each costs the driver a struct and two texts: 12 MB.
const SMALL: &str = "select count(pg_notify('a', i::text)) from generate_series(1, 100000) i";

#[test]
fn notifications_on_leases_hold_no_memory() {
    let service = Service::start();
    let tenant = tenant().pool_of(9);
    let held = |_| service.lease(&tenant);
    let all: Vec<_> = (0..9).map(held).collect();
    all.iter().for_each(Held::release);
    service.wait_stats(&tenant.name, "all are at rest", |stats| stats.idle_connections == 9);
    drop(all);
    let siege = Siege::start(&service, harness::tenant().pool_of(1));
    let leases: Vec<_> = (0..8).map(held).collect();
    leases.iter().for_each(|lease| drop(lease.run(&["listen a"])));
    let loud = service.lease(&tenant);
    loud.run(&[SMALL]);
    leases.iter().for_each(|lease| assert_eq!(lease.value("select 1"), "1"));
    siege.bystander_works(20);
    leases.iter().chain([&loud]).for_each(Held::release);
    drop((leases, loud));
    service.wait_quiet(&tenant.name);
    siege.end();
}

#[test]
fn a_listener_receives_a_burst_of_small_notifications_in_flat_memory() {
    let service = Service::start();
    let tenant = tenant().pool_of(2);
    service.lease(&tenant).release();
    let client = service.client();
    let mut listen = client.listen(&ListenRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        channels: vec!["a".to_owned()],
        ..ListenRequest::default()
    });
    let listen = listen.as_mut().unwrap();
    let mut next = || listen.next().unwrap().unwrap().kind.unwrap();
    assert!(matches!(next(), Kind::Started(_)));
    let before = service.proc_status("VmRSS:");
    // All of it may wait for the reader, who is never so far behind that it is given up.
    const BURST: usize = 25_000;
    let notify =
        format!("select count(pg_notify('a', i::text)) from generate_series(1, {BURST}) i");
    let lease = service.lease(&tenant);
    let burst = lease.run_later(&notify);
    for n in 1..=BURST {
        match next() {
            Kind::Notification(heard) => assert_eq!(heard.payload, n.to_string()),
            other => panic!("{other:?}"),
        }
    }
    answer(burst).unwrap();
    let grown = service.proc_status("VmHWM:").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} kB");
}

/// Raises this text again and again.
fn endless(text: &str) -> String {
    format!("do $$ begin loop raise notice '%', {text}; end loop; end $$")
}

#[track_caller]
fn assert_flooded(error: &CallError) {
    assert_error(error, FAILED_PRECONDITION, "CANCELLED");
    let part = "more than 10000 notices and other messages, or more than 67108864 bytes";
    assert!(error.message.contains(part), "{error}");
    assert_eq!(error.info.as_ref().unwrap().metadata["cause"], "notices");
}

#[test]
fn notices_without_end_cost_their_statement_only() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    let lease = service.lease(&tenant);
    for text in ["'well'", "repeat('x', 1000000)"] {
        assert_flooded(&lease.fails(&[&endless(text)]));
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    }
    // Some thousands are nobody's fault.
    let block = "do $$ begin for i in 1..5000 loop raise notice '%', i; end loop; end $$";
    #[allow(clippy::disallowed_methods)] // A measure from below.
    let begun = std::time::Instant::now();
    assert_eq!(lease.run(&[block]).session.notices.len(), 100);
    // After each tenth beyond the first thousand reading pauses for a millisecond. How long it takes
    // beside that is the machine's.
    assert!(begun.elapsed() > std::time::Duration::from_millis(300), "they were not read slowly");
}

#[test]
fn twenty_leases_with_notices_without_end_leave_others_their_service() {
    let service = Service::start();
    let tenant = tenant().pool_of(20);
    let all: Vec<_> = (0..20).map(|_| service.lease(&tenant)).collect();
    let beside = |sql: &str, check: &dyn Fn(Result<_, CallError>)| {
        let siege = Siege::start(&service, harness::tenant().pool_of(1));
        for _ in 0..2 {
            let calls: Vec<_> = all.iter().map(|lease| lease.run_later(sql)).collect();
            calls.into_iter().map(answer).for_each(check);
        }
        siege.end()
    };
    // PostgreSQL's own work has its price for others where cores are few.
    let busy = "do $$ begin for i in 1..5000000 loop null; end loop; end $$";
    let computing = beside(busy, &|answer| drop(answer.unwrap()));
    let raising = beside(&endless("'well'"), &|answer| {
        let error = refused(answer);
        // On a machine with more to do the cancel can come too late for a lease.
        if error.reason != "LEASE_ENDED" {
            assert_flooded(&error);
        }
    });
    println!(
        "a bystander's median: {:?} alone, {:?} beside 20 leases that compute, {:?} beside 20 \
         that raise notices",
        raising.alone, computing.during, raising.during
    );
}

#[test]
fn rows_and_data_of_any_length_hold_no_memory() {
    let service = Service::start();
    let tenant = tenant().pool_of(2);
    service.lease(&tenant).release();
    let siege = Siege::start(&service, harness::tenant().pool_of(1));
    let lease = service.lease(&tenant);
    let long = "select repeat('x', 80000000) as long";
    for _ in 0..2 {
        let error = lease.fails(&[long]);
        assert_error(&error, FAILED_PRECONDITION, "RESULT_TOO_LARGE");
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    }
    // Beyond max_rows it is nobody's.
    let request = ExecuteRequest {
        max_rows: 1,
        ..on_lease(&lease, &["select repeat('x', n) from unnest(array[1, 20000000]) n"])
    };
    let answer = lease.client.execute(&request).unwrap();
    assert!(answer.results[0].truncated && answer.results[0].rows.len() == 1);
    let request = CopyOutRequest {
        connection_id: lease.id.clone(),
        sql: format!("copy ({long}) to stdout"),
        ..CopyOutRequest::default()
    };
    let mut copy = lease.client.copy_out(&request).unwrap();
    let mut bytes = 0;
    while let Some(response) = copy.next().unwrap() {
        if let Some(Copied::Data(data)) = response.kind {
            assert!(data.iter().all(|byte| matches!(byte, b'x' | b'\n')));
            bytes += data.len();
        }
    }
    assert_eq!(bytes, 80_000_001);
    siege.bystander_works(20);
    lease.release();
    drop((copy, lease));
    service.wait_quiet(&tenant.name);
    siege.end();
}

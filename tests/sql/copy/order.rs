//! COPY beside everything else that a session does, and at its limits.

use std::time::Duration;

use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::copy_out_response::Kind;
use connection_pool_manager::proto::sql::CopyInStart;

use super::{all, assert_usable, begun, out, put, start, take};
use crate::harness;
use crate::harness::sql::{state_of, FAILED};
use crate::harness::{code, millis, refused, tenant, Service};

#[test]
fn statements_that_are_kept_and_dropped_do_not_put_a_copy_out_of_step() {
    let (service, tenant) = (Service::with(&["--statement-cache", "3"]), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)", "create table public.\"from\" (n int)"]);
    for round in 0..5 {
        // Some of them make room for others, which are closed behind the answer.
        for n in 0..7 {
            assert_eq!(lease.value(&format!("select {n} + {round}")), (n + round).to_string());
        }
        // And these drop all.
        lease.run(&["set work_mem = '1MB'"]);
        assert!(put(&lease, "copy nowhere from stdin", &[b"1\n"]).is_err());
        lease.run(&["select 1", "select 2", "select 3", "select 4"]);
        assert!(put(&lease, "copy t from stdin", &[b"x\n"]).is_err());
        assert_eq!(put(&lease, "copy t from stdin", &[b"", b"1\n", b""]).unwrap().rows_affected, 1);
        assert_eq!(all(&lease, "copy t to stdout").1.rows_affected, round + 1);
        assert_usable(&lease);
    }
    // What looks like a keyword is a name behind a dot.
    put(&lease, "copy public.from from stdin", &[b"7\n"]).unwrap();
    assert_eq!(all(&lease, "copy public.from to stdout").0, b"7\n");
}

#[test]
fn a_copy_in_a_failed_transaction_is_refused_and_leaves_it_so() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (n int)", "begin"]);
    lease.fails(&["select 1 / 0"]);
    let error = refused(put(&lease, "copy t from stdin", &[b"1\n"]));
    assert_eq!(error.postgres.unwrap().sqlstate, "25P02");
    let error = take(&lease, &out(&lease, "copy t to stdout")).error.expect("an error");
    assert_eq!(error.postgres.unwrap().sqlstate, "25P02");
    assert_eq!(error.work.unwrap().outcome.unwrap(), Outcome::NOT_APPLIED);
    assert_eq!(state_of(&lease), FAILED);
    lease.run(&["rollback"]);
    assert_usable(&lease);
}

#[test]
fn a_copy_that_is_not_seen_as_one_ends_the_lease_and_nothing_hangs() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["set standard_conforming_strings = off", "set escape_string_warning = off"]);
    // Read by the standard, its string has no end.
    let error = lease.fails(&["copy (select 'a\\'b') to stdout"]);
    assert_eq!(error.reason, "BACKEND_LOST", "{error}");
    assert_eq!(lease.end_reason(), "backend_lost");
    // Taken for a COPY of the other direction, it applies nothing.
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    lease.run(&["set standard_conforming_strings = off", "set escape_string_warning = off"]);
    let odd = "copy (insert into t values (1) returning '\\') from stdin --') to stdout";
    let error = refused(put(&lease, odd, &[b"1\n"]));
    assert_eq!(error.work.unwrap().outcome.unwrap(), Outcome::NOT_APPLIED);
    service.wait_quiet(&tenant.name);
    assert_eq!(tenant.sql("select count(*) from t"), "0");
    assert_usable(&service.lease(&tenant));
}

#[test]
fn a_row_of_many_megabytes_goes_through() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create table t (x text)"]);
    let piece = vec![b'x'; 1 << 20];
    let mut copy = begun(&lease, "copy t from stdin");
    for _ in 0..40 {
        copy.data(&piece).unwrap();
    }
    assert_eq!(copy.finish().unwrap().rows_affected, 1);
    assert_eq!(lease.value("select length(x) from t"), (40 << 20).to_string());
    let (data, _) = all(&lease, "copy t to stdout");
    assert_eq!(data.len(), (40 << 20) + 1);
    let (data, _) = all(&lease, "copy (select x || x from t) to stdout");
    assert_eq!(data.len(), (80 << 20) + 1);
    assert_usable(&lease);
}

#[test]
fn a_copy_that_is_ended_at_any_moment_tells_truly_what_it_has_stored() {
    let (service, tenant) = (Service::start(), tenant().pool_of(2));
    tenant.sql("create table t (n int); grant all on t to public");
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    for number in 0..200u32 {
        let lease = service.lease(&tenant);
        let moment = Duration::from_micros(u64::from(number * 7919 % 6000));
        let mut copy = begun(&lease, "copy t from stdin");
        let _ = copy.data(format!("{number}\n").as_bytes());
        let revoked = std::thread::scope(|threads| {
            let revoke = threads.spawn(|| {
                // Nobody sends: a moment is what is wanted here, not a condition.
                let _ = crossbeam_channel::never::<()>().recv_timeout(moment);
                lease.client.release_with(&lease.id, true).is_ok()
            });
            match copy.finish() {
                Ok(done) => {
                    assert_eq!(done.rows_affected, 1);
                    there.push(number);
                }
                Err(error) => {
                    match error.work {
                        Some(work) => assert!(
                            matches!(
                                work.outcome.unwrap(),
                                Outcome::NOT_APPLIED | Outcome::NOT_STARTED
                            ),
                            "{number}"
                        ),
                        None => assert_eq!(error.reason, "LEASE_ENDED", "{number}"),
                    }
                    absent.push(number);
                }
            }
            revoke.join().unwrap()
        });
        assert!(revoked, "{number}");
    }
    service.wait_quiet(&tenant.name);
    let rows = tenant.sql("select n from t order by n");
    let rows: Vec<u32> = rows.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(rows, there, "{} absent", absent.len());
}

#[test]
fn a_copy_that_runs_is_finished_while_the_service_stops() {
    let (mut service, tenant) = (Service::start(), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    let mut copy = begun(&lease, "copy t from stdin");
    copy.data(b"1\n").unwrap();
    service.signal(rustix::process::Signal::TERM);
    harness::eventually("it takes nobody any more", || {
        service.client().acquire(&tenant.name, &tenant.dsn).is_err()
    });
    copy.data(b"2\n").unwrap();
    assert_eq!(copy.finish().unwrap().rows_affected, 2);
    lease.release();
    assert!(service.wait().success());
    assert_eq!(tenant.sql("select count(*) from t"), "2");
}

#[test]
fn a_copy_that_does_not_end_is_ended_with_the_service() {
    let (mut service, tenant) = (Service::with(&["--drain-timeout", "1"]), tenant());
    tenant.sql("create table t (n int); grant all on t to public");
    let lease = service.lease(&tenant);
    let mut copy = begun(&lease, "copy t from stdin");
    copy.data(b"1\n").unwrap();
    let slow = CopyInStart { timeout: millis(600_000), ..start(&lease, "copy t from stdin") };
    assert_eq!(refused(lease.client.copy_in(slow).unwrap().finish()).reason, "LEASE_BUSY");
    let second = service.lease(&tenant);
    let endless = "copy (select repeat('x', 1000), generate_series(1, 100000000)) to stdout";
    let mut read = second.client.copy_out(&out(&second, endless)).unwrap();
    assert!(matches!(read.next().unwrap().unwrap().kind, Some(Kind::Data(_))));
    service.signal(rustix::process::Signal::TERM);
    let error = refused(copy.end());
    assert!(matches!(error.code, code::ABORTED | code::UNAVAILABLE | code::CANCELLED), "{error}");
    while read.next().is_ok_and(|said| said.is_some()) {}
    service.wait();
    harness::eventually("no backend is left", || tenant.backends() == 0);
    assert_eq!(tenant.sql("select count(*) from t"), "0");
}

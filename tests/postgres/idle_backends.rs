//! Connections that end while they are at rest: nobody gets one.

use crate::harness::code::{ABORTED, UNAVAILABLE};
use crate::harness::sql::{one_shot, work};
use crate::harness::{eventually, millis, refused, request, tenant, tenant_on, Held, Service};
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::errors::work_outcome::Outcome;

/// So that nothing looks at what rests but who wants it.
const ALONE: [&str; 4] = ["--health-check-interval", "0", "--ping-interval", "0"];

#[test]
fn after_all_at_rest_were_terminated_no_lease_is_broken() {
    let (service, tenant) = (Service::with(&ALONE), tenant().pool_of(40));
    let all = || (0..40).map(|_| service.lease(&tenant)).collect::<Vec<Held>>();
    let mut before = 0;
    for round in 0..3 {
        let leases = all();
        for lease in &leases {
            lease.run(&["select 1"]);
            before = before.max(lease.pid);
        }
        leases.iter().for_each(Held::release);
        service.wait_stats(&tenant.name, "all are at rest", |stats| stats.idle_connections == 40);
        tenant.sql(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where datname = current_database() and application_name like 'connpool/%'",
        );
        eventually("all are gone", || tenant.backends() == 0);
        // At once, while what has rested for less than a second is not asked anything.
        if round == 1 {
            for _ in 0..40 {
                let error = service.client().execute(&one_shot(&tenant, &["select 1"])).err();
                assert!(error.is_none(), "{}", error.unwrap());
            }
            continue;
        }
        for lease in all() {
            lease.run(&["begin", "select 1", "commit"]);
            lease.release();
        }
        service.wait_quiet(&tenant.name);
    }
    assert!(!service.log().text().contains("reason=lost"), "a lease was lost");
}

#[test]
fn after_a_server_has_stopped_at_once_requests_are_refused() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::with(&ALONE), tenant_on(&postgres).pool_of(10));
    let leases: Vec<Held> = (0..10).map(|_| service.lease(&tenant)).collect();
    leases.iter().for_each(Held::release);
    service.wait_stats(&tenant.name, "all are at rest", |stats| stats.idle_connections == 10);
    postgres.stop(StopMode::Immediate).unwrap();
    let hurried = ConnectionRequest { wait_timeout: millis(3000), ..request(&tenant) };
    for _ in 0..12 {
        let error = refused(service.client().acquire_with(&hurried));
        assert_eq!(error.code, UNAVAILABLE, "{error}");
        let error = refused(service.client().execute(&one_shot(&tenant, &["select 1"])));
        assert_eq!(error.code, UNAVAILABLE, "{error}");
        assert_ne!(error.reason, "BACKEND_LOST", "{error}");
    }
    postgres.start_again().unwrap();
    let again = || service.client().acquire(&tenant.name, &tenant.dsn).is_ok();
    eventually("it is used again", again);
}

#[test]
fn a_lease_whose_backend_has_died_knows_that_nothing_was_started() {
    let (service, tenant) = (Service::with(&ALONE), tenant());
    let insert = "insert into thing values (1)";
    for open in [false, true] {
        let lease = service.lease(&tenant);
        lease.run(&["create table if not exists thing (n int)", insert, insert]);
        if open {
            lease.run(&["begin", insert]);
        }
        tenant.sql(&format!("select pg_terminate_backend({})", lease.pid));
        eventually("it is gone", || !tenant.backend_pids().contains(&lease.pid));
        // It was prepared before, and would have been sent.
        let error = lease.fails(&[insert]);
        let (outcome, code) = match open {
            true => (Outcome::NOT_APPLIED, ABORTED),
            false => (Outcome::NOT_STARTED, UNAVAILABLE),
        };
        assert_eq!((work(&error).0, error.code), (outcome, code), "{error}");
        assert_eq!(error.reason, "BACKEND_LOST");
        assert_eq!(error.postgres.expect("its last words").sqlstate, "57P01");
    }
}

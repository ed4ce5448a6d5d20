//! Operations whose callers have left: the next call on their lease waits for their end.

use std::time::Duration;

use crate::harness::sql::{on_lease, one_shot, state, NONE};
use crate::harness::{acquire_later, execute_later, parked};
use crate::harness::{code, eventually, millis, refused, tenant, Held, Service, Tenant};
use connection_pool_manager::proto::connection_pool::ReleaseOutcome;

/// A statement that outlives any deadline, in a transaction.
fn passes_its_deadline(lease: &Held) {
    lease.run(&["begin"]);
    let hasty = lease.client.with_timeout(Duration::from_millis(50));
    let request = connection_pool_manager::proto::sql::ExecuteRequest {
        timeout: millis(3_600_000),
        ..on_lease(lease, &["select pg_sleep(3600)"])
    };
    assert_eq!(refused(hasty.execute(&request)).code, code::DEADLINE_EXCEEDED);
}

fn nothing_is_left(service: &Service, tenant: &Tenant) {
    assert_eq!(service.wait_quiet(&tenant.name).leases, 0);
    eventually("no statement runs", || tenant.running("pg_sleep") == 0);
}

#[test]
fn a_release_after_a_passed_deadline_ends_the_lease() {
    let (service, tenant) = (Service::start(), tenant());
    for _ in 0..20 {
        let lease = service.lease(&tenant);
        passes_its_deadline(&lease);
        let released = lease.client.release(&lease.id).expect("the release waits");
        assert_eq!(released.outcome, ReleaseOutcome::RELEASE_OUTCOME_ROLLED_BACK.into());
    }
    assert_eq!(service.client().stats(&tenant.name).unwrap().leases, 0);
    nothing_is_left(&service, &tenant);
}

#[test]
fn a_release_on_another_connection_waits_too() {
    let (service, tenant) = (Service::start(), tenant());
    let (lease, other) = (service.lease(&tenant), service.client());
    passes_its_deadline(&lease);
    let released = other.release(&lease.id).expect("the release waits");
    assert_eq!(released.outcome, ReleaseOutcome::RELEASE_OUTCOME_ROLLED_BACK.into());
    nothing_is_left(&service, &tenant);
}

#[test]
fn the_next_statement_after_a_passed_deadline_runs_in_what_is_left_of_the_transaction() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    passes_its_deadline(&lease);
    let failed = lease.fails(&["select 1"]);
    assert_eq!(failed.postgres.expect("PostgreSQL's words").sqlstate, "25P02");
    assert_eq!(state(&lease.run(&["rollback"])), NONE);
    lease.client.release(&lease.id).unwrap();
    nothing_is_left(&service, &tenant);
}

#[test]
fn a_caller_that_leaves_while_it_waits_is_counted_as_cancelled() {
    const TIMES: usize = 30;
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let (_holder, client) = (service.lease(&tenant), service.client());
    let one_shot = one_shot(&tenant, &["select 1"]);
    for _ in 0..TIMES {
        let execute = execute_later(&client, &one_shot);
        let acquire = acquire_later(&client, &parked(&tenant));
        service.wait_stats(&tenant.name, "both wait", |stats| stats.waiting == 2);
        drop((execute, acquire));
        service.wait_stats(&tenant.name, "both have left", |stats| stats.waiting == 0);
    }
    for method in ["SqlService/Execute", "ConnectionPoolService/GetConnection"] {
        let of = |code: &str| {
            let series = format!("connpool_requests_total{{code=\"{code}\",method=\"{method}\"}}");
            service.metric(&series).unwrap_or(0.0)
        };
        eventually("all are counted", || of("CANCELLED") + of("INTERNAL") == TIMES as f64);
        assert_eq!(of("INTERNAL"), 0.0, "{method}");
    }
    let defects = service.metric("connpool_request_errors_total{reason=\"internal\"}");
    assert_eq!(defects, Some(0.0));
}

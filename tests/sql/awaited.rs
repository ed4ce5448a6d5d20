//! Prepared statements, whose answers are awaited on no thread of their own.

use connection_pool_manager::client::service::{statement, text_at};
use connection_pool_manager::proto::sql::ExecuteRequest;

use crate::harness::sql::{one_shot, tenant_of_one};
use crate::harness::{answer, eventually, execute_later, millis, tenant, Held, Service, Tenant};

const LOCK: &str = "select pg_advisory_xact_lock(7)::text";

/// Threads that may block, of which an idle one ends after a while.
fn workers(service: &Service) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap();
    // One may end while they are counted.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "worker").count()
}

#[test]
fn statements_that_wait_hold_no_worker() {
    let (service, tenant) = (Service::start(), tenant());
    let leases: Vec<Held> = (0..12).map(|_| service.lease(&tenant)).collect();
    for lease in &leases {
        lease.run(&[LOCK]);
    }
    let keeper = service.lease(&tenant);
    keeper.run(&["select pg_advisory_lock(7)"]);
    let waiting: Vec<_> = leases.iter().map(|lease| lease.run_later(LOCK)).collect();
    eventually("all stand", || tenant.running("pg_advisory_xact_lock") == 12);
    // With one for each there would be 12 for as long as they wait.
    eventually("the workers have ended", || workers(&service) < 6);
    assert_eq!(tenant.running("pg_advisory_xact_lock"), 12);
    keeper.run(&["select pg_advisory_unlock(7)"]);
    for call in waiting {
        assert_eq!(answer(call).expect("it had the lock").results.len(), 1);
    }
    for lease in leases {
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    }
}

/// What a statement that waits for the lock, and the next one, return when that happens.
type Happens = fn(&Tenant, &Held);

fn outcome(service: &Service, tenant: &Tenant, limit: u64, happens: Happens) -> [String; 2] {
    let lease = service.lease(tenant);
    lease.run(&[LOCK]);
    let keeper = service.lease(tenant);
    keeper.run(&["select pg_advisory_lock(7)"]);
    let request = ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![statement(LOCK)],
        timeout: millis(limit),
        ..ExecuteRequest::default()
    };
    let call = execute_later(&lease.client, &request);
    eventually("it stands", || tenant.running("pg_advisory_xact_lock") == 1);
    happens(tenant, &lease);
    let told = |answer: Result<_, connection_pool_manager::client::service::CallError>| {
        answer.map_or_else(|error| error.reason, |_| "OK".to_owned())
    };
    let first = told(answer(call));
    let next = told(lease.client.run(&lease.id, &["select 1"]));
    keeper.run(&["select pg_advisory_unlock(7)"]);
    [first, next]
}

#[test]
fn whatever_ends_the_wait_of_one_is_told_as_of_a_statement_with_a_worker() {
    let cases: [(&str, u64, Happens); 4] = [
        ("terminated", 3_600_000, |tenant, lease| {
            tenant.sql(&format!("select pg_terminate_backend({})", lease.pid));
        }),
        ("cancelled by another", 3_600_000, |tenant, lease| {
            tenant.sql(&format!("select pg_cancel_backend({})", lease.pid));
        }),
        ("at its time limit", 300, |_, _| {}),
        ("revoked", 3_600_000, |_, lease| {
            let released = lease.client.release_with(&lease.id, true);
            assert!(released.is_ok());
        }),
    ];
    let with = Service::start();
    // Without prepared statements each has a worker.
    let without = Service::with(&["--statement-cache", "0"]);
    for (what, limit, happens) in cases {
        let [awaited, usual] =
            [&with, &without].map(|service| outcome(service, &tenant(), limit, happens));
        assert_eq!(awaited, usual, "{what}");
    }
}

#[test]
fn an_answer_that_is_long_or_an_error_is_read_by_a_worker() {
    let (service, tenant) = (Service::start(), tenant_of_one());
    tenant.sql(&format!(
        "create table t (n int); insert into t values (1); grant select on t to {}",
        tenant.name
    ));
    let long = "select repeat('x', n), 1 / (n - 2) from t";
    for alone in [false, true] {
        tenant.sql("update t set n = 1");
        let run = || match alone {
            true => service.client().execute(&one_shot(&tenant, &[long])),
            false => {
                let lease = service.lease(&tenant);
                let answer = lease.client.run(&lease.id, &[long]);
                lease.release();
                answer
            }
        };
        for n in [1, 1, 3_000_000, 1, 20_000, 16_384, 4_096] {
            tenant.sql(&format!("update t set n = {n}"));
            let answer = run().unwrap();
            assert_eq!(text_at(&answer, 0, 0, 0).len(), n);
        }
        tenant.sql("update t set n = 2");
        assert_eq!(run().unwrap_err().postgres.map(|fault| fault.sqlstate), Some("22012".into()));
        tenant.sql("update t set n = 1");
        assert_eq!(text_at(&run().unwrap(), 0, 0, 0), "x");
    }
}

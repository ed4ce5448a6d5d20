//! Whatever ends a call of 16 statements ends the one that runs, at each place, and
//! nothing that comes later.

use std::time::Duration;

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};

use crate::harness::sql::{assert_error, atomic, on_lease, state_of, work, NONE};
use crate::harness::{
    answer, code, eventually, execute_later, millis, tenant, Held, Later, Service, Tenant,
};

/// Statements of a call.
const CALL: usize = 16;

/// How a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// In one write, with its COMMIT.
    Whole,
    /// In one write, and COMMIT in another.
    HeldBack,
    /// One statement after the other, not atomic.
    OneByOne,
}

/// What ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    CallerLeaves,
    Deadline,
    Timeout,
}

/// A statement's time.
const TIMEOUT: u64 = 1000;
/// That of a whole call.
const DEADLINE: Duration = Duration::from_millis(2500);

/// A call on a lease of its own, on tables of its own, which sleeps at one statement.
struct Call {
    lease: Held,
    shape: Shape,
    at: usize,
}

impl Call {
    /// With `quick`, such calls are known to be quick there.
    fn new(service: &Service, tenant: &Tenant, (shape, quick): (Shape, bool), at: usize) -> Call {
        let call = Call { lease: service.lease(tenant), shape, at };
        call.lease.run(&[&format!("create table if not exists {} (n int)", call.table())]);
        call.lease.run(&[&format!("truncate {}", call.table())]);
        if quick {
            atomic(&call.lease, &["select 1"; 100]).unwrap();
        }
        call
    }

    fn table(&self) -> String {
        format!("thing_{}", self.at)
    }

    fn statements(&self) -> Vec<String> {
        let one = |n| match (self.shape, n) {
            (_, n) if n == self.at => {
                format!("insert into {} select {n} from pg_sleep(3600)", self.table())
            }
            // A call that returns rows has its COMMIT held back.
            (Shape::HeldBack, _) => {
                format!("insert into {} values ({n}) returning n", self.table())
            }
            _ => format!("insert into {} values ({n})", self.table()),
        };
        (0..CALL).map(one).collect()
    }

    fn start(&self, end: End) -> Later<ExecuteResponse> {
        let statements = self.statements();
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        let mut request = ExecuteRequest {
            atomic: self.shape != Shape::OneByOne,
            ..on_lease(&self.lease, &statements)
        };
        if end == End::Timeout {
            request.timeout = millis(TIMEOUT);
        }
        if end == End::Deadline {
            let option = grpcio::CallOption::default().timeout(DEADLINE);
            return self.lease.client.sql_stub().execute_async(&request, option).unwrap();
        }
        execute_later(&self.lease.client, &request)
    }

    /// What is in the table, and that what follows on the lease is not hit.
    #[track_caller]
    fn assert_usable(&self, end: End) {
        let what = format!("{end:?}, {:?}, statement {}", self.shape, self.at);
        let client = &self.lease.client;
        eventually("the lease is free", || client.run(&self.lease.id, &["select 1"]).is_ok());
        assert_eq!(state_of(&self.lease), NONE, "{what}");
        let wanted = match self.shape {
            Shape::OneByOne => (0..self.at).map(|n| n.to_string()).collect::<Vec<_>>().join(" "),
            Shape::Whole | Shape::HeldBack => String::new(),
        };
        let rows = format!(
            "select coalesce(string_agg(n::text, ' ' order by n), '') from {}",
            self.table()
        );
        for _ in 0..10 {
            assert_eq!(self.lease.value(&rows), wanted, "{what}");
        }
        assert_eq!(self.lease.value("select pg_backend_pid()"), self.lease.pid.to_string());
    }

    #[track_caller]
    fn assert_failed(&self, end: End, error: &CallError) {
        let what = format!("{end:?}, {:?}, statement {}: {error}", self.shape, self.at);
        assert_eq!(error.code, code::DEADLINE_EXCEEDED, "{what}");
        if end == End::Timeout {
            assert_error(error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
            let outcome = match self.shape {
                Shape::OneByOne if self.at > 0 => Outcome::APPLIED,
                _ => Outcome::NOT_APPLIED,
            };
            assert_eq!(work(error), (outcome, self.at as i32, self.at as i32), "{what}");
        }
    }
}

/// Sixteen calls at once, each of which sleeps at another statement.
fn every_statement(end: End) {
    let (service, tenant) = (Service::start(), tenant().pool_of(CALL));
    let whole = [Shape::Whole, Shape::HeldBack].map(|shape| [(shape, true), (shape, false)]);
    for how in whole.into_iter().flatten().chain([(Shape::OneByOne, false)]) {
        let calls: Vec<Call> = (0..CALL).map(|at| Call::new(&service, &tenant, how, at)).collect();
        let running: Vec<_> = calls.iter().map(|call| call.start(end)).collect();
        if end == End::CallerLeaves {
            eventually("all sleep", || tenant.running("pg_sleep(3600)") == CALL);
            drop(running);
        } else {
            for (call, running) in calls.iter().zip(running) {
                call.assert_failed(end, &answer(running).expect_err("it sleeps for an hour"));
            }
        }
        for call in &calls {
            call.assert_usable(end);
            call.lease.release();
        }
        service.wait_quiet(&tenant.name);
    }
}

#[test]
fn a_caller_who_leaves_ends_the_statement_that_runs_and_none_after_it() {
    every_statement(End::CallerLeaves);
}

#[test]
fn a_deadline_ends_the_statement_that_runs_and_none_after_it() {
    every_statement(End::Deadline);
}

#[test]
fn a_timeout_ends_the_statement_that_runs_and_none_after_it() {
    every_statement(End::Timeout);
}

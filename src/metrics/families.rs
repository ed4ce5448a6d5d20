//! The table of all counters and histograms.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use crate::core::ids::TenantId;

/// Upper bounds in seconds of waits and work: from an answer that was ready, 0.1 ms on one machine,
/// to the longest wait of a caller.
const WORK: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
/// Upper bounds of leases, up to the default lifetime of an hour.
const HELD: &[f64] =
    &[0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0];

/// The families of all metrics; those with a label `tenant` hold the series of each tenant.
pub(super) struct MetricFamilies {
    pub(super) requests: IntCounterVec,
    pub(super) request_errors: IntCounterVec,
    pub(super) leases_granted: IntCounterVec,
    pub(super) leases_ended: IntCounterVec,
    pub(super) leak_warnings: IntCounterVec,
    pub(super) lease_held: HistogramVec,
    pub(super) acquire_wait: HistogramVec,
    pub(super) acquire_failures: IntCounterVec,
    pub(super) backend_opens: IntCounterVec,
    pub(super) backend_open_failures: IntCounterVec,
    pub(super) backend_closes: IntCounterVec,
    pub(super) backend_connect: HistogramVec,
    pub(super) resets: HistogramVec,
    pub(super) checks: IntCounterVec,
    pub(super) check_failures: IntCounterVec,
    pub(super) operations: IntCounterVec,
    pub(super) slow_statements: IntCounterVec,
    pub(super) operation_failures: IntCounterVec,
    pub(super) operation_time: HistogramVec,
    pub(super) cancels: IntCounterVec,
    pub(super) gave_way: IntCounterVec,
    pub(super) statement_hits: IntCounterVec,
    pub(super) statement_misses: IntCounterVec,
    pub(super) connections_refused: IntCounterVec,
    pub(super) auth_failures: IntCounterVec,
    pub(super) state_writes: IntCounterVec,
}

impl MetricFamilies {
    /// Creates and registers all of them.
    pub(super) fn new(registry: &Registry) -> MetricFamilies {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            keep(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name: &str, help: &str, bounds: &[f64], labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).buckets(bounds.to_vec());
            keep(registry, HistogramVec::new(opts, labels))
        };
        MetricFamilies {
            requests: counter(
                "connpool_requests_total",
                "Calls over gRPC that have ended, by method and code.",
                &["code", "method"],
            ),
            request_errors: counter(
                "connpool_request_errors_total",
                "Errors that requests were answered with, in a Session too, by reason.",
                &["reason"],
            ),
            leases_granted: counter(
                "connpool_leases_granted_total",
                "Leases granted.",
                &["tenant"],
            ),
            leases_ended: counter(
                "connpool_leases_ended_total",
                "Leases ended, by reason.",
                &["reason", "tenant"],
            ),
            leak_warnings: counter(
                "connpool_lease_leak_warnings_total",
                "Leases that were held for longer than --leak-warning.",
                &["tenant"],
            ),
            lease_held: histogram(
                "connpool_lease_held_seconds",
                "How long leases were held.",
                HELD,
                &["tenant"],
            ),
            acquire_wait: histogram(
                "connpool_acquire_wait_seconds",
                "Time from a request to its backend, or to the end of its wait, by outcome.",
                WORK,
                &["outcome", "tenant"],
            ),
            acquire_failures: counter(
                "connpool_acquire_failures_total",
                "Requests that got no backend, by reason.",
                &["reason", "tenant"],
            ),
            backend_opens: counter(
                "connpool_backend_opens_total",
                "PostgreSQL connections opened.",
                &["tenant"],
            ),
            backend_open_failures: counter(
                "connpool_backend_open_failures_total",
                "Attempts to open a PostgreSQL connection that failed, by reason.",
                &["reason", "tenant"],
            ),
            backend_closes: counter(
                "connpool_backend_closes_total",
                "PostgreSQL connections closed, by reason.",
                &["reason", "tenant"],
            ),
            backend_connect: histogram(
                "connpool_backend_connect_seconds",
                "Time to open a PostgreSQL connection.",
                WORK,
                &["tenant"],
            ),
            resets: histogram(
                "connpool_reset_seconds",
                "Time to reset a session between leases.",
                WORK,
                &[],
            ),
            checks: counter(
                "connpool_health_checks_total",
                "Checks of connections that nobody used.",
                &["tenant"],
            ),
            check_failures: counter(
                "connpool_health_check_failures_total",
                "Checks that failed.",
                &["tenant"],
            ),
            operations: counter(
                "connpool_operations_total",
                "Requests that ran SQL, by where they ran and whether that went well.",
                &["operation", "outcome", "place", "tenant"],
            ),
            operation_failures: counter(
                "connpool_operation_failures_total",
                "Requests that ran SQL and failed, by reason.",
                &["reason", "tenant"],
            ),
            slow_statements: counter(
                "connpool_slow_statements_total",
                "Requests that ran SQL for longer than the limit of slow ones.",
                &["tenant"],
            ),
            operation_time: histogram(
                "connpool_operation_seconds",
                "Time of requests that ran SQL, on their backend.",
                WORK,
                &["operation", "tenant"],
            ),
            cancels: counter(
                "connpool_cancel_requests_total",
                "Cancel requests sent to PostgreSQL, by cause and result.",
                &["cause", "result"],
            ),
            gave_way: counter(
                "connpool_tenants_gave_way_total",
                "Tenants that were given up for the sake of others.",
                &["state"],
            ),
            statement_hits: counter(
                "connpool_statement_cache_hits_total",
                "Statements that had been prepared before.",
                &[],
            ),
            statement_misses: counter(
                "connpool_statement_cache_misses_total",
                "Statements that had to be prepared.",
                &[],
            ),
            connections_refused: counter(
                "connpool_client_connections_refused_total",
                "Client connections closed because they were beyond a limit, by reason.",
                &["reason"],
            ),
            auth_failures: counter(
                "connpool_auth_failures_total",
                "Calls refused because their caller was not known or may not do that, by reason.",
                &["reason"],
            ),
            state_writes: counter(
                "connpool_state_file_writes_total",
                "Writes of the file in which operators' changes are kept, by result.",
                &["result"],
            ),
        }
    }

    /// Removes every series of this tenant.
    pub(super) fn remove(&self, tenant: &TenantId) {
        for counter in [
            &self.leases_granted,
            &self.leases_ended,
            &self.leak_warnings,
            &self.acquire_failures,
            &self.backend_opens,
            &self.backend_open_failures,
            &self.backend_closes,
            &self.checks,
            &self.check_failures,
            &self.operations,
            &self.operation_failures,
            &self.slow_statements,
        ] {
            remove_series(counter, tenant);
        }
        for histogram in
            [&self.lease_held, &self.acquire_wait, &self.backend_connect, &self.operation_time]
        {
            remove_series(histogram, tenant);
        }
    }
}

/// Registers a family. Its name and labels are constants of the table above, so
/// the constructor cannot refuse them.
#[allow(clippy::expect_used)]
fn keep<T: Collector + Clone + 'static>(registry: &Registry, family: prometheus::Result<T>) -> T {
    // The table is constant, and every test that creates a `Metrics` checks it.
    let family = family.expect("the metrics table has only valid names");
    registry
        .register(Box::new(family.clone()))
        // The table is constant: each name occurs in it once.
        .expect("the metrics table has each name once");
    family
}

/// Removes every series whose label `tenant` is this one.
fn remove_series<B: MetricVecBuilder>(family: &MetricVec<B>, tenant: &TenantId) {
    let names: Vec<String> = match family.desc().first() {
        Some(desc) => desc.variable_labels.clone(),
        None => return,
    };
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let value = |name: &String| {
                let mut labels = metric.get_label().iter();
                labels.find(|label| label.name() == name).map(|label| label.value())
            };
            let values: Option<Vec<&str>> = names.iter().map(value).collect();
            match values {
                Some(values) if values.last() == Some(&tenant.as_str()) => {
                    // The series exists: it was just collected.
                    let _ = family.remove_label_values(&values);
                }
                _ => {}
            }
        }
    }
}

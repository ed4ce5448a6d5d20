//! Counters and histograms of the service, all in one table. Gauges are read at
//! scrape from the state itself (`http::metrics`).
//!
//! The prometheus crate hashes label values without a separator, so labels from
//! a closed set come first and the one free label, `tenant`, last.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use crate::core::ids::TenantId;

/// Upper bounds in seconds, from a round trip on one machine to a long wait.
const BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The counters and histograms. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    leases_granted: IntCounterVec,
    leases_ended: IntCounterVec,
    lease_held: HistogramVec,
    acquire_wait: HistogramVec,
    acquire_failures: IntCounterVec,
    backend_opens: IntCounterVec,
    backend_open_failures: IntCounterVec,
    backend_closes: IntCounterVec,
    backend_connect: HistogramVec,
    resets: HistogramVec,
    operations: IntCounterVec,
    operation_time: HistogramVec,
    cancels: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            keep(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            keep(&registry, HistogramVec::new(opts, labels))
        };
        Metrics(Arc::new(Families {
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
            lease_held: histogram(
                "connpool_lease_held_seconds",
                "How long leases were held.",
                &["tenant"],
            ),
            acquire_wait: histogram(
                "connpool_acquire_wait_seconds",
                "Time from the request to its backend, for requests that got one.",
                &["tenant"],
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
                &["tenant"],
            ),
            resets: histogram(
                "connpool_reset_seconds",
                "Time to reset a session between leases.",
                &[],
            ),
            operations: counter(
                "connpool_operations_total",
                "Requests that ran SQL, by outcome.",
                &["operation", "outcome", "tenant"],
            ),
            operation_time: histogram(
                "connpool_operation_seconds",
                "Time of requests that ran SQL, on their backend.",
                &["operation", "tenant"],
            ),
            cancels: counter(
                "connpool_cancel_requests_total",
                "Cancel requests sent to PostgreSQL, by cause and result.",
                &["cause", "result"],
            ),
            registry,
        }))
    }
}

/// Registers a family. Its name and labels are constants of the table above, so
/// the constructor cannot refuse them.
#[allow(clippy::expect_used)]
fn keep<T: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    family: prometheus::Result<T>,
) -> T {
    // Checked by every test that makes a `Metrics`: the table is constant.
    let family = family.expect("the metrics table has only valid names");
    registry
        .register(Box::new(family.clone()))
        // The same: each name stands in the table once.
        .expect("the metrics table has each name once");
    family
}

impl Metrics {
    /// Where the families are registered; collectors of gauges join them there.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A lease was granted.
    pub fn granted(&self, tenant: &TenantId) {
        self.0.leases_granted.with_label_values(&[tenant.as_str()]).inc();
    }

    /// A lease ended after it was held for so long.
    pub fn ended(&self, reason: &str, tenant: &TenantId, held: Duration) {
        let tenant = tenant.as_str();
        self.0.leases_ended.with_label_values(&[reason, tenant]).inc();
        self.0.lease_held.with_label_values(&[tenant]).observe(held.as_secs_f64());
    }

    /// A request got its backend after so long.
    pub fn acquired(&self, tenant: &TenantId, waited: Duration) {
        let wait = self.0.acquire_wait.with_label_values(&[tenant.as_str()]);
        wait.observe(waited.as_secs_f64());
    }

    /// A request got no backend.
    pub fn acquire_failed(&self, reason: &str, tenant: &TenantId) {
        let labels = [reason, tenant.as_str()];
        self.0.acquire_failures.with_label_values(&labels).inc();
    }

    /// A backend was opened within so long.
    pub fn opened(&self, tenant: &TenantId, took: Duration) {
        let tenant = tenant.as_str();
        self.0.backend_opens.with_label_values(&[tenant]).inc();
        self.0.backend_connect.with_label_values(&[tenant]).observe(took.as_secs_f64());
    }

    /// A backend could not be opened.
    pub fn open_failed(&self, reason: &str, tenant: &TenantId) {
        let labels = [reason, tenant.as_str()];
        self.0.backend_open_failures.with_label_values(&labels).inc();
    }

    /// A backend was closed.
    pub fn closed(&self, reason: &str, tenant: &TenantId) {
        let labels = [reason, tenant.as_str()];
        self.0.backend_closes.with_label_values(&labels).inc();
    }

    /// A session was reset within so long.
    pub fn reset(&self, took: Duration) {
        self.0.resets.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A request ran SQL.
    pub fn operated(&self, operation: &str, outcome: &str, tenant: &TenantId, took: Duration) {
        let tenant = tenant.as_str();
        let counter = &self.0.operations;
        counter.with_label_values(&[operation, outcome, tenant]).inc();
        let time = self.0.operation_time.with_label_values(&[operation, tenant]);
        time.observe(took.as_secs_f64());
    }

    /// A cancel request was sent, or could not be.
    pub fn cancelled(&self, cause: &str, sent: bool) {
        let result = if sent { "sent" } else { "failed" };
        self.0.cancels.with_label_values(&[cause, result]).inc();
    }
}

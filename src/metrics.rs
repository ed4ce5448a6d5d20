//! Counters and histograms of the service, all in one table. Gauges are read at
//! scrape from the state itself (`http::metrics`).
//!
//! The prometheus crate hashes label values without a separator, so labels from
//! a closed set come first and the one free label, `tenant`, last.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use crate::core::ids::TenantId;

/// Upper bounds in seconds, from a round trip on one machine to a long wait.
const BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Tenants with series of their own. Only those that have connected get one; all
/// others share [`OTHER`], so that made-up names cannot fill the memory.
const TENANTS_MAX: usize = 100;
/// The label of all other tenants.
pub const OTHER: &str = "_other";

/// The counters and histograms. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    /// A leaf lock.
    tenants: RwLock<HashSet<TenantId>>,
    leases_granted: IntCounterVec,
    leases_ended: IntCounterVec,
    leak_warnings: IntCounterVec,
    lease_held: HistogramVec,
    acquire_wait: HistogramVec,
    acquire_failures: IntCounterVec,
    backend_opens: IntCounterVec,
    backend_open_failures: IntCounterVec,
    backend_closes: IntCounterVec,
    backend_connect: HistogramVec,
    resets: HistogramVec,
    checks: IntCounterVec,
    check_failures: IntCounterVec,
    operations: IntCounterVec,
    operation_time: HistogramVec,
    cancels: IntCounterVec,
    gave_way: IntCounterVec,
    statement_hits: IntCounterVec,
    statement_misses: IntCounterVec,
    connections_refused: IntCounterVec,
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
            leak_warnings: counter(
                "connpool_lease_leak_warnings_total",
                "Leases that were held for longer than --leak-warning.",
                &["tenant"],
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
            registry,
            tenants: RwLock::default(),
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
    /// A statement ran to its end.
    pub fn statement(&self, cached: bool) {
        let family = if cached { &self.0.statement_hits } else { &self.0.statement_misses };
        family.with_label_values::<&str>(&[]).inc();
    }

    /// A client connection beyond a limit was closed.
    pub fn connection_refused(&self, reason: &str) {
        self.0.connections_refused.with_label_values(&[reason]).inc();
    }

    /// Where the families are registered; collectors of gauges join them there.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The tenant gets series of its own, if there is room.
    pub fn admit(&self, tenant: &TenantId) {
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() < TENANTS_MAX {
            tenants.insert(tenant.clone());
        }
    }

    /// The tenant and its series go.
    pub fn forget(&self, tenant: &TenantId) {
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if !tenants.remove(tenant) {
            return;
        }
        drop(tenants);
        let families = &self.0;
        for counter in [
            &families.leases_granted,
            &families.leases_ended,
            &families.leak_warnings,
            &families.acquire_failures,
            &families.backend_opens,
            &families.backend_open_failures,
            &families.backend_closes,
            &families.checks,
            &families.check_failures,
            &families.operations,
        ] {
            remove_series(counter, tenant);
        }
        for histogram in [
            &families.lease_held,
            &families.acquire_wait,
            &families.backend_connect,
            &families.operation_time,
        ] {
            remove_series(histogram, tenant);
        }
    }

    /// The tenant's label: its own name or [`OTHER`].
    pub fn label<'a>(&self, tenant: &'a TenantId) -> &'a str {
        let tenants = self.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        if tenants.contains(tenant) {
            tenant.as_str()
        } else {
            OTHER
        }
    }

    /// A tenant in this state was given up for the sake of another.
    pub fn gave_way(&self, state: &str) {
        self.0.gave_way.with_label_values(&[state]).inc();
    }

    /// A lease was granted.
    pub fn granted(&self, tenant: &TenantId) {
        self.0.leases_granted.with_label_values(&[self.label(tenant)]).inc();
    }

    /// A lease ended after it was held for so long.
    pub fn ended(&self, reason: &str, tenant: &TenantId, held: Duration) {
        let tenant = self.label(tenant);
        self.0.leases_ended.with_label_values(&[reason, tenant]).inc();
        self.0.lease_held.with_label_values(&[tenant]).observe(held.as_secs_f64());
    }

    /// A lease is held for suspiciously long.
    pub fn leak_warned(&self, tenant: &TenantId) {
        self.0.leak_warnings.with_label_values(&[self.label(tenant)]).inc();
    }

    /// A request got its backend after so long.
    pub fn acquired(&self, tenant: &TenantId, waited: Duration) {
        let wait = self.0.acquire_wait.with_label_values(&[self.label(tenant)]);
        wait.observe(waited.as_secs_f64());
    }

    /// A request got no backend.
    pub fn acquire_failed(&self, reason: &str, tenant: &TenantId) {
        let labels = [reason, self.label(tenant)];
        self.0.acquire_failures.with_label_values(&labels).inc();
    }

    /// A backend was opened within so long.
    pub fn opened(&self, tenant: &TenantId, took: Duration) {
        let tenant = self.label(tenant);
        self.0.backend_opens.with_label_values(&[tenant]).inc();
        self.0.backend_connect.with_label_values(&[tenant]).observe(took.as_secs_f64());
    }

    /// A backend could not be opened.
    pub fn open_failed(&self, reason: &str, tenant: &TenantId) {
        let labels = [reason, self.label(tenant)];
        self.0.backend_open_failures.with_label_values(&labels).inc();
    }

    /// A backend was closed.
    pub fn closed(&self, reason: &str, tenant: &TenantId) {
        let labels = [reason, self.label(tenant)];
        self.0.backend_closes.with_label_values(&labels).inc();
    }

    /// A connection that nobody used was checked.
    pub fn checked(&self, works: bool, tenant: &TenantId) {
        let tenant = self.label(tenant);
        self.0.checks.with_label_values(&[tenant]).inc();
        let failures = self.0.check_failures.with_label_values(&[tenant]);
        failures.inc_by(u64::from(!works));
    }

    /// A session was reset within so long.
    pub fn reset(&self, took: Duration) {
        self.0.resets.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A request ran SQL.
    pub fn operated(&self, operation: &str, outcome: &str, tenant: &TenantId, took: Duration) {
        let tenant = self.label(tenant);
        let counter = &self.0.operations;
        counter.with_label_values(&[operation, outcome, tenant]).inc();
        let time = self.0.operation_time.with_label_values(&[operation, tenant]);
        time.observe(took.as_secs_f64());
    }

    /// A cancel request was sent, or could not be.
    pub fn cancelled(&self, cause: &str, sent: bool, again: bool) {
        let result = match (sent, again) {
            (false, _) => "failed",
            (true, false) => "sent",
            (true, true) => "sent_again",
        };
        self.0.cancels.with_label_values(&[cause, result]).inc();
    }
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
                    // It is there: it was just collected.
                    let _ = family.remove_label_values(&values);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;

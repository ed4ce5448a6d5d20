//! Counters and histograms of the service, all in one table. Gauges are read at
//! scrape from the state itself (`http::metrics`).
//!
//! A counter by reason exists from the start, at 0, for every reason: if it appeared with its first
//! value, Prometheus would see no increase. So a tenant's series are created when it gets its
//! label, and are kept in `Series`; counting needs no look-up by name.
//!
//! The prometheus crate hashes label values without a separator, so labels with a closed set of
//! values come first and the one free label, `tenant`, last.

mod calls;
mod closed;
mod families;
mod process;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, Registry};

use crate::core::access::AccessDenied;
use crate::core::ids::TenantId;
use closed::{Closed, Crossed};
use families::MetricFamilies;

pub use calls::MethodCalls;
pub use series::{Counts, Kind, RunPlace, Series};

/// The label of all other tenants.
pub const OTHER: &str = "_other";

/// The counters and histograms. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<MetricsShared>);

struct MetricsShared {
    registry: Registry,
    families: MetricFamilies,
    /// The most of them.
    tenants_max: usize,
    /// A leaf lock.
    tenants: RwLock<HashMap<TenantId, Arc<Series>>>,
    other: Arc<Series>,
    calls: OnceLock<HashMap<&'static [u8], Arc<MethodCalls>>>,
    request_errors: Closed,
    resets: Histogram,
    cancels: Crossed,
    gave_way: Closed,
    statement_hits: IntCounter,
    statement_misses: IntCounter,
    connections_refused: Closed,
    auth_failures: Closed,
    state_writes: Closed,
}

impl Metrics {
    /// Counts for so many tenants each by itself. Only tenants that have connected get series of
    /// their own; all others share [`OTHER`], so that invented names cannot fill the memory.
    pub fn new(tenants_max: usize) -> Metrics {
        let registry = Registry::new();
        let families = MetricFamilies::new(&registry);
        process::register(&registry);
        let none: &[&str] = &[];
        let closed = |family, names| Closed::new(family, names, None);
        Metrics(Arc::new(MetricsShared {
            tenants: RwLock::default(),
            tenants_max,
            other: Arc::new(Series::new(&families, OTHER)),
            calls: OnceLock::new(),
            request_errors: closed(&families.request_errors, closed::ERRORS),
            resets: families.resets.with_label_values(none),
            cancels: Crossed::new(&families.cancels, closed::CANCELS, closed::CANCEL_RESULTS),
            gave_way: closed(&families.gave_way, closed::GAVE_WAY),
            statement_hits: families.statement_hits.with_label_values(none),
            statement_misses: families.statement_misses.with_label_values(none),
            connections_refused: closed(&families.connections_refused, closed::CONNECTIONS),
            auth_failures: closed(&families.auth_failures, &AccessDenied::NAMES),
            state_writes: closed(&families.state_writes, closed::STATE_WRITES),
            families,
            registry,
        }))
    }

    /// The registry of the families, to which collectors of gauges are added.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Sets the methods that are served, by full names such as `/package.Service/Method`. To be
    /// called once, before the first call.
    pub fn serves(&self, methods: &[&'static str]) {
        let counted = |method: &&'static str| {
            (method.as_bytes(), Arc::new(MethodCalls::new(&self.0.families.requests, method)))
        };
        // A second call would set the same methods.
        let _ = self.0.calls.set(methods.iter().map(counted).collect());
    }

    /// The counters of this method's calls; `None` if it is not served.
    pub fn calls(&self, method: &[u8]) -> Option<Arc<MethodCalls>> {
        self.0.calls.get()?.get(method).cloned()
    }

    /// Counts a request that was answered with an error of this name.
    pub fn request_failed(&self, reason: &str) {
        self.0.request_errors.inc(reason);
    }

    /// Counts a statement that ran to its end.
    pub fn statement(&self, cached: bool) {
        if cached { &self.0.statement_hits } else { &self.0.statement_misses }.inc();
    }

    /// Counts a client connection that was closed because it exceeded a limit.
    pub fn connection_refused(&self, reason: &str) {
        self.0.connections_refused.inc(reason);
    }

    /// Counts a call whose caller was refused.
    pub fn access_denied(&self, reason: &str) {
        self.0.auth_failures.inc(reason);
    }

    /// Counts a write of the state file.
    pub fn state_written(&self, is_kept: bool) {
        self.0.state_writes.inc(if is_kept { "kept" } else { "failed" });
    }

    /// Counts a tenant in this state that was removed to make room for another.
    pub fn gave_way(&self, state: &str) {
        self.0.gave_way.inc(state);
    }

    /// Records the time of a session's reset.
    pub fn reset(&self, took: Duration) {
        self.0.resets.observe(took.as_secs_f64());
    }

    /// Counts a cancel request that was sent, or could not be.
    pub fn cancelled(&self, cause: &str, sent: bool, again: bool) {
        let result = match (sent, again) {
            (false, _) => "failed",
            (true, false) => "sent",
            (true, true) => "sent_again",
        };
        self.0.cancels.inc(cause, result);
    }

    /// Gives the tenant series of its own, if there is room. One whose name is [`OTHER`] gets
    /// none: they would be those of all others, and would end with it.
    fn admit(&self, tenant: &TenantId) -> Option<Arc<Series>> {
        if tenant.as_str() == OTHER {
            return None;
        }
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = tenants.get(tenant) {
            return Some(Arc::clone(series));
        }
        if tenants.len() >= self.0.tenants_max {
            return None;
        }
        let series = Arc::new(Series::new(&self.0.families, tenant.as_str()));
        tenants.insert(tenant.clone(), Arc::clone(&series));
        Some(series)
    }

    /// Removes the tenant and its series.
    pub fn forget(&self, tenant: &TenantId) {
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = tenants.remove(tenant) {
            series.end();
            // Under the lock, so that they are removed before the tenant can return.
            self.0.families.remove(tenant);
        }
    }

    /// The tenant's series, or those of all others.
    pub fn of(&self, tenant: &TenantId) -> Arc<Series> {
        let tenants = self.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tenants.get(tenant).unwrap_or(&self.0.other))
    }

    /// The tenant's label: its own name or [`OTHER`].
    pub fn label<'a>(&self, tenant: &'a TenantId) -> &'a str {
        let tenants = self.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        match tenants.contains_key(tenant) {
            true => tenant.as_str(),
            false => OTHER,
        }
    }
}

#[cfg(test)]
mod tests;

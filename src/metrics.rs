//! Counters and histograms of the service, all in one table. Gauges are read at
//! scrape from the state itself (`http::metrics`).
//!
//! A counter by reason is there from the start, at 0, for every reason there is: one
//! that is born with its first value has never increased, as far as Prometheus can tell.
//! So a tenant's series are made when it gets its label, and are kept at hand
//! (`Series`); nobody looks one up by its name to count.
//!
//! The prometheus crate hashes label values without a separator, so labels from
//! a closed set come first and the one free label, `tenant`, last.

mod calls;
mod closed;
mod families;
mod process;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, Registry};

use crate::core::ids::TenantId;
use closed::{Closed, Crossed};
use families::Families;

pub use calls::Calls;
pub use series::{Counts, Kind, Place, Series};

/// Tenants with series of their own. Only those that have connected get one; all
/// others share [`OTHER`], so that made-up names cannot fill the memory.
const TENANTS_MAX: usize = 100;
/// The label of all other tenants.
pub const OTHER: &str = "_other";

/// The counters and histograms. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    registry: Registry,
    families: Families,
    /// A leaf lock.
    tenants: RwLock<HashMap<TenantId, Arc<Series>>>,
    other: Arc<Series>,
    calls: OnceLock<HashMap<&'static [u8], Arc<Calls>>>,
    request_errors: Closed,
    resets: Histogram,
    cancels: Crossed,
    gave_way: Closed,
    statement_hits: IntCounter,
    statement_misses: IntCounter,
    connections_refused: Closed,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let registry = Registry::new();
        let families = Families::new(&registry);
        process::register(&registry);
        let none: &[&str] = &[];
        let closed = |family, names| Closed::new(family, names, None);
        Metrics(Arc::new(Shared {
            tenants: RwLock::default(),
            other: Arc::new(Series::new(&families, OTHER)),
            calls: OnceLock::new(),
            request_errors: closed(&families.request_errors, closed::ERRORS),
            resets: families.resets.with_label_values(none),
            cancels: Crossed::new(&families.cancels, closed::CANCELS, closed::CANCEL_RESULTS),
            gave_way: closed(&families.gave_way, closed::GAVE_WAY),
            statement_hits: families.statement_hits.with_label_values(none),
            statement_misses: families.statement_misses.with_label_values(none),
            connections_refused: closed(&families.connections_refused, closed::CONNECTIONS),
            families,
            registry,
        }))
    }
}

impl Metrics {
    /// Where the families are registered; collectors of gauges join them there.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// These methods are served, by their full names as `/package.Service/Method`. Said
    /// once, before the first call.
    pub fn serves(&self, methods: &[&'static str]) {
        let counted = |method: &&'static str| {
            (method.as_bytes(), Arc::new(Calls::new(&self.0.families.requests, method)))
        };
        // Said twice, it would be the same methods.
        let _ = self.0.calls.set(methods.iter().map(counted).collect());
    }

    /// What calls of this method are counted on; none if it is not served.
    pub fn calls(&self, method: &[u8]) -> Option<Arc<Calls>> {
        self.0.calls.get()?.get(method).cloned()
    }

    /// A request was answered with an error of this name.
    pub fn request_failed(&self, reason: &str) {
        self.0.request_errors.inc(reason);
    }

    /// A statement ran to its end.
    pub fn statement(&self, cached: bool) {
        if cached { &self.0.statement_hits } else { &self.0.statement_misses }.inc();
    }

    /// A client connection beyond a limit was closed.
    pub fn connection_refused(&self, reason: &str) {
        self.0.connections_refused.inc(reason);
    }

    /// A tenant in this state was given up for the sake of another.
    pub fn gave_way(&self, state: &str) {
        self.0.gave_way.inc(state);
    }

    /// A session was reset within so long.
    pub fn reset(&self, took: Duration) {
        self.0.resets.observe(took.as_secs_f64());
    }

    /// A cancel request was sent, or could not be.
    pub fn cancelled(&self, cause: &str, sent: bool, again: bool) {
        let result = match (sent, again) {
            (false, _) => "failed",
            (true, false) => "sent",
            (true, true) => "sent_again",
        };
        self.0.cancels.inc(cause, result);
    }

    /// The tenant gets series of its own, if there is room.
    fn admit(&self, tenant: &TenantId) -> Option<Arc<Series>> {
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = tenants.get(tenant) {
            return Some(Arc::clone(series));
        }
        if tenants.len() >= TENANTS_MAX {
            return None;
        }
        let series = Arc::new(Series::new(&self.0.families, tenant.as_str()));
        tenants.insert(tenant.clone(), Arc::clone(&series));
        Some(series)
    }

    /// The tenant and its series go.
    pub fn forget(&self, tenant: &TenantId) {
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = tenants.remove(tenant) {
            series.end();
            // Under the lock, so that they are gone before it can come again.
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

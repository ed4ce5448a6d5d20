//! What clients tell Prometheus.

mod families;
mod gauges;
mod meter;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};

use prometheus::{Encoder, Registry, TextEncoder};

use crate::core::quoted::Quoted;
use crate::lock::Leaf;
use families::Families;
use gauges::Gauges;

pub(super) use gauges::{Addresses, Measured, PoolFigures};
pub(super) use meter::{CallMeter, MethodMeter};

/// So many services have series of their own; more share [`OTHER`].
const SERVICES_MAX: usize = 100;
/// So many methods of a service have series of their own; more share [`OTHER`].
const METHODS_MAX: usize = 100;
/// The longest method that has a series of its own.
const METHOD_BYTES: usize = 128;
/// The label of all that has no series of its own.
const OTHER: &str = "_other";

/// The metrics of the clients that are given it: `grpc_client_*`. Cheap to clone; any number of
/// them may be in a process.
#[derive(Clone)]
pub struct ClientMetrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    families: Arc<Families>,
    /// The services that have series.
    services: Leaf<BTreeSet<String>>,
    /// What is read when somebody looks.
    pools: Arc<Leaf<Vec<Weak<dyn Measured>>>>,
}

impl Default for ClientMetrics {
    fn default() -> ClientMetrics {
        ClientMetrics::new()
    }
}

impl ClientMetrics {
    /// Metrics with a registry of their own, which [`encode`](Self::encode) writes.
    pub fn new() -> ClientMetrics {
        let registry = Registry::new();
        #[allow(clippy::expect_used)] // The table is constant, and every test checks it.
        ClientMetrics::in_registry(&registry).expect("each name is there once")
    }

    /// Metrics in the registry of the program, of the crate `prometheus` 0.14.
    ///
    /// # Errors
    /// If the registry has metrics of these names already: give all clients the same
    /// `ClientMetrics` instead.
    pub fn in_registry(registry: &Registry) -> Result<ClientMetrics, prometheus::Error> {
        let pools: Arc<Leaf<Vec<Weak<dyn Measured>>>> = Arc::default();
        let families = Families::new(registry)?;
        registry.register(Box::new(Gauges::new(Arc::clone(&pools))?))?;
        Ok(ClientMetrics(Arc::new(Inner {
            registry: registry.clone(),
            families: Arc::new(families),
            services: Leaf::default(),
            pools,
        })))
    }

    /// All metrics of the registry in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.0.registry.gather(), &mut text);
        if let Err(error) = encoded {
            let error = error.to_string();
            log::error!("event=client_metrics_failed error={}", Quoted(&error));
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Where a service is counted.
    pub(super) fn meter(&self, service: &str) -> CallMeter {
        let mut services = self.0.services.lock();
        let has = services.contains(service) || {
            services.len() < SERVICES_MAX && services.insert(service.to_owned())
        };
        drop(services);
        let label = if has { service } else { OTHER };
        CallMeter::new(Arc::clone(&self.0.families), label)
    }

    /// Reads the gauges of this pool from now on, for as long as it lives.
    pub(super) fn watch(&self, pool: Weak<dyn Measured>) {
        let mut pools = self.0.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }
}

impl fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMetrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! How long the longest of something has lasted: what a leak and a jam show first.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts};

use crate::clock;
use crate::core::lease_table::View;
use crate::pool::service::Service;

/// Three gauges of each tenant, in seconds; 0 where there is nothing of the kind.
pub(super) struct Ages {
    lease: GaugeVec,
    transaction: GaugeVec,
    wait: GaugeVec,
}

impl Ages {
    /// Without values. None: never in practice, names and labels are constants.
    pub(super) fn new() -> Option<Ages> {
        let gauge = |name, help| GaugeVec::new(Opts::new(name, help), &["tenant"]).ok();
        Some(Ages {
            lease: gauge(
                "connpool_oldest_lease_age_seconds",
                "How long the oldest lease has been held; 0 without one.",
            )?,
            transaction: gauge(
                "connpool_oldest_transaction_age_seconds",
                "How long the oldest transaction that a lease holds open has been; 0 without one.",
            )?,
            wait: gauge(
                "connpool_longest_wait_seconds",
                "How long the oldest request that has no connection yet has waited; 0 without one.",
            )?,
        })
    }

    fn gauges(&self) -> [&GaugeVec; 3] {
        [&self.lease, &self.transaction, &self.wait]
    }

    /// As of a collector.
    pub(super) fn desc(&self) -> Vec<Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).cloned().collect()
    }

    /// As of a collector.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        self.gauges().into_iter().flat_map(Collector::collect).collect()
    }

    /// Reads the values.
    pub(super) fn fill(&self, service: &Service, leases: &[View]) {
        let (metrics, now) = (&service.context().tools.metrics, clock::now());
        for tenant in service.registry.named() {
            let id = metrics.label(tenant.id());
            raise(&self.lease, id, Duration::ZERO);
            raise(&self.transaction, id, Duration::ZERO);
            raise(&self.wait, id, tenant.longest_wait());
        }
        for view in leases {
            let id = metrics.label(&view.facts.tenant);
            raise(&self.lease, id, now.saturating_duration_since(view.granted_at));
            if let Some(since) = view.transaction_since {
                raise(&self.transaction, id, now.saturating_duration_since(since));
            }
        }
    }
}

/// Of tenants that share a label the longest counts.
fn raise(gauge: &GaugeVec, tenant: &str, age: Duration) {
    let one = gauge.with_label_values(&[tenant]);
    one.set(one.get().max(age.as_secs_f64()));
}

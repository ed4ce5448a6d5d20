//! The ages of the oldest lease, transaction and wait: the first signs of a leak or a jam.

use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts};

use crate::clock;
use crate::pool::service::Service;

/// Three gauges for each tenant, in seconds; 0 where it has nothing of the kind.
pub(super) struct Ages {
    lease: GaugeVec,
    transaction: GaugeVec,
    wait: GaugeVec,
}

impl Ages {
    /// The gauges without values. Never `None` in practice: names and labels are constants.
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

    /// The descriptions, as [`Collector::desc`].
    pub(super) fn desc(&self) -> Vec<Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).cloned().collect()
    }

    /// The values, as [`Collector::collect`].
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        self.gauges().into_iter().flat_map(Collector::collect).collect()
    }

    /// Sets the values.
    pub(super) fn fill(&self, service: &Service) {
        let (metrics, now) = (&service.context().tools.metrics, clock::now());
        let age = |since: Option<Instant>| {
            since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
        };
        for tenant in service.registry.named() {
            let id = metrics.label(tenant.id());
            let leases = service.leases.summary_of(tenant.id());
            raise(&self.lease, id, age(leases.oldest));
            raise(&self.transaction, id, age(leases.oldest_transaction));
            raise(&self.wait, id, tenant.longest_wait());
        }
    }
}

/// Among tenants that share a label, the highest age counts.
fn raise(gauge: &GaugeVec, tenant: &str, age: Duration) {
    let one = gauge.with_label_values(&[tenant]);
    one.set(one.get().max(age.as_secs_f64()));
}

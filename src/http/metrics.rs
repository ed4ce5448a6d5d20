//! Metrics that are read from the service's state at each scrape.

mod ages;
mod kept;
mod table;

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntGaugeVec, Opts, TextEncoder};

use crate::core::breaker::BreakerPhase;
use crate::core::gate::GateState;
use crate::metrics::OTHER;
use crate::pool::memory::{LimitLevel, Use};
use crate::pool::port::Reach;
use crate::pool::report::AllTenants;
use crate::pool::service::Service;
use crate::pool::snapshot::TenantSnapshot;
use ages::Ages;
use table::GAUGES;

/// How many servers get series of their own: those with most connections.
const SERVERS_MAX: usize = 100;

/// Reads the service's state at scrape.
pub(super) struct PoolGauges {
    service: Service,
    descriptions: Vec<Desc>,
}

impl PoolGauges {
    /// The gauges of this service.
    ///
    /// # Errors
    /// Never in practice: names and labels are constants.
    pub fn new(service: Service) -> prometheus::Result<PoolGauges> {
        let mut descriptions = Vec::new();
        for (name, help, labels) in GAUGES {
            let gauge = IntGaugeVec::new(Opts::new(*name, *help), labels)?;
            descriptions.extend(gauge.desc().into_iter().cloned());
        }
        let ages = Ages::new();
        descriptions.extend(ages.iter().flat_map(Ages::desc));
        let ratio = utilization();
        descriptions.extend(ratio.iter().flat_map(|ratio| ratio.desc()).cloned());
        let kept = kept::counters(&service);
        descriptions.extend(kept.iter().flat_map(Collector::desc).cloned());
        Ok(PoolGauges { service, descriptions })
    }

    fn fill(&self, all: &AllTenants, set: &mut dyn FnMut(&str, &[&str], usize)) {
        self.fill_tenants(&all.named, set);
        for one in all.shown() {
            set("connpool_tenant_starving", &[one.tenant.as_str()], usize::from(one.starving));
        }
        self.fill_servers(set);
        self.fill_service(set);
        self.fill_memory(set);
        set("connpool_build_info", &[env!("CARGO_PKG_VERSION")], 1);
    }

    fn fill_tenants(&self, tenants: &[TenantSnapshot], set: &mut dyn FnMut(&str, &[&str], usize)) {
        let metrics = &self.service.context().tools.metrics;
        let mut states: HashMap<&str, usize> = HashMap::new();
        for now in tenants {
            let (figures, id) = (&now.figures, metrics.label(&now.tenant));
            *states.entry(state_name(figures.state)).or_default() += 1;
            let resting = figures.idle + figures.opening + figures.resetting;
            let leased = figures.open.saturating_sub(resting);
            let connections = "connpool_backend_connections";
            set(connections, &["opening", id], figures.opening);
            set(connections, &["idle", id], figures.idle);
            set(connections, &["leased", id], leased);
            set(connections, &["resetting", id], figures.resetting);
            set("connpool_backend_connections_max", &[id], figures.max);
            set("connpool_waiters", &[id], figures.waiting);
            // A sum over the states of several tenants has no meaning.
            if id != OTHER && figures.state == GateState::Active {
                set("connpool_breaker_state", &[id], breaker_number(figures.breaker));
                set("connpool_tenant_health", &[id], now.level.as_number());
                set("connpool_tenant_paused", &[id], usize::from(figures.paused.is_some()));
                let last = now.last_check.unwrap_or(0) / 1_000_000;
                let last = usize::try_from(last).unwrap_or(usize::MAX);
                set("connpool_last_health_check_timestamp_seconds", &[id], last);
            }
            let leases = self.service.leases.summary_of(&now.tenant);
            set("connpool_leases", &["idle", id], leases.idle);
            set("connpool_leases", &["busy", id], leases.busy);
            set("connpool_leases", &["in_transaction", id], leases.in_transaction);
            set("pool_connections_active", &[id], figures.active());
            set("pool_connections_idle", &[id], figures.idle);
            set("pool_connections_total", &[id], figures.open);
        }
        for state in ["opening", "active", "draining", "closed"] {
            let count = states.get(state).copied().unwrap_or(0);
            set("connpool_tenants", &[state], count);
        }
    }

    fn fill_service(&self, set: &mut dyn FnMut(&str, &[&str], usize)) {
        let live = self.service.context().live();
        set("connpool_service_connections_max", &[], live.limits.max_backends);
        set("connpool_service_connections_reserved", &[], self.service.registry.reserved());
        set("connpool_draining", &[], usize::from(self.service.registry.is_draining()));
        let port = &self.service.context().port;
        let (clients, most) = port.clients();
        set("connpool_client_connections", &[], clients);
        set("connpool_client_connections_max", &[], most);
        set("connpool_connection_guard", &[], usize::from(port.is_guarded()));
        let reachable = port.reach() == Reach::Serving;
        set("connpool_grpc_reachable", &[], usize::from(reachable));
        if let Some(at) = port.certificate_expires() {
            let at = usize::try_from(at).unwrap_or(0);
            set("connpool_certificate_expiry_timestamp_seconds", &[], at);
        }
        let workers = &self.service.context().tools.workers;
        set("connpool_worker_threads", &[], workers.alive());
    }

    fn fill_memory(&self, set: &mut dyn FnMut(&str, &[&str], usize)) {
        let memory = &self.service.context().memory;
        let limits = &self.service.context().config.limits;
        for one in Use::ALL {
            set("connpool_memory_bytes", &[one.as_str()], memory.of(one).used());
        }
        for (level, limit) in [
            (LimitLevel::Connection, limits.memory_bytes_per_connection),
            (LimitLevel::Tenant, limits.memory_bytes_per_tenant),
            (LimitLevel::Use, memory.of(Use::Requests).limit()),
            (LimitLevel::Service, limits.memory_bytes),
        ] {
            set("connpool_memory_limit_bytes", &[level.as_str()], limit);
        }
    }

    fn fill_servers(&self, set: &mut dyn FnMut(&str, &[&str], usize)) {
        let mut servers = self.service.context().servers.figures();
        servers.sort_by_key(|server| (std::cmp::Reverse(server.seats), server.at));
        for (place, server) in servers.into_iter().enumerate() {
            let at = server.at.to_string();
            // A client may name any server, so the number of labels is bounded.
            let at = if place < SERVERS_MAX { &at } else { OTHER };
            let used = server.seats.saturating_sub(server.resting);
            set("connpool_server_connections", &["idle", at], server.resting);
            set("connpool_server_connections", &["used", at], used);
            set("connpool_server_waiters", &[at], server.waiting);
            if let Some(limit) = server.limit.filter(|_| at != OTHER) {
                set("connpool_server_connections_max", &[at], limit);
            }
        }
    }

    fn fill_utilization(&self, tenants: &[TenantSnapshot], ratio: &GaugeVec) {
        let metrics = &self.service.context().tools.metrics;
        for now in tenants {
            let (figures, id) = (&now.figures, metrics.label(&now.tenant));
            if id != OTHER {
                let used = figures.used as f64 / figures.max.max(1) as f64;
                ratio.with_label_values(&[id]).set(used);
            }
        }
    }
}

/// The one gauge that is not an integer. Never `None`: its name is a constant.
fn utilization() -> Option<GaugeVec> {
    let help = "Part of the tenant's limit that is in use, from 0 to 1.";
    GaugeVec::new(Opts::new("connpool_pool_utilization_ratio", help), &["tenant"]).ok()
}

fn breaker_number(phase: BreakerPhase) -> usize {
    match phase {
        BreakerPhase::Closed => 0,
        BreakerPhase::Open => 1,
        BreakerPhase::HalfOpen => 2,
    }
}

fn state_name(state: GateState) -> &'static str {
    match state {
        GateState::Opening => "opening",
        GateState::Active => "active",
        GateState::Draining => "draining",
        GateState::Closed => "closed",
    }
}

impl Collector for PoolGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauges = GAUGES.iter().filter_map(|(name, help, labels)| {
            let gauge = IntGaugeVec::new(Opts::new(*name, *help), labels).ok()?;
            Some((*name, gauge))
        });
        let gauges: HashMap<&str, IntGaugeVec> = gauges.collect();
        let all = self.service.look_at_all();
        self.fill(&all, &mut |name, labels, value| {
            if let Some(gauge) = gauges.get(name) {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                // Values of tenants that share a label are summed.
                gauge.with_label_values(labels).add(value);
            }
        });
        let mut families: Vec<MetricFamily> =
            gauges.values().flat_map(Collector::collect).collect();
        if let Some(ages) = Ages::new() {
            ages.fill(&self.service);
            families.extend(ages.collect());
        }
        if let Some(ratio) = utilization() {
            self.fill_utilization(&all.named, &ratio);
            families.extend(ratio.collect());
        }
        families.extend(kept::counters(&self.service).iter().flat_map(Collector::collect));
        families
    }
}

/// The page for Prometheus.
///
/// # Errors
/// If a metric cannot be written as text.
pub(super) fn page(service: &Service) -> prometheus::Result<String> {
    let registry = service.context().tools.metrics.registry();
    TextEncoder::new().encode_to_string(&registry.gather())
}

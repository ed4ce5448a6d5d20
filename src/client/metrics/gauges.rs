//! Gauges, read from the pools when somebody looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts};

use crate::lock::Leaf;

/// What can be measured: a pool.
pub(in crate::client) trait Measured: Send + Sync {
    /// `None` if it is not counted.
    fn measure(&self) -> Option<PoolFigures>;
}

/// How a pool is at the moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::client) struct PoolFigures {
    /// The label of the service.
    pub(in crate::client) service: String,
    /// Channels by state, as [`CHANNELS`] has them.
    pub(in crate::client) channels: BTreeMap<&'static str, usize>,
    /// Channels that there may be.
    pub(in crate::client) size: usize,
    /// Calls that all channels take at the same time.
    pub(in crate::client) capacity: usize,
    pub(in crate::client) waiting: usize,
    pub(in crate::client) lent: usize,
    pub(in crate::client) checkouts: u64,
    pub(in crate::client) connects: u64,
    pub(in crate::client) addresses: Addresses,
    /// 0 unhealthy, 1 degraded, 2 healthy.
    pub(in crate::client) level: usize,
    /// When the last round of probes was over, since 1970.
    pub(in crate::client) last_check: Option<Duration>,
    /// Nothing is lent any more.
    pub(in crate::client) closed: bool,
    /// 0 closed, 1 open, 2 half-open, by the label of the method.
    pub(in crate::client) breakers: BTreeMap<String, u8>,
}

/// How many addresses there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct Addresses {
    pub(in crate::client) usable: usize,
    pub(in crate::client) down: usize,
    pub(in crate::client) ejected: usize,
}

/// The states of channels.
pub(super) const CHANNELS: [&str; 6] =
    ["resting", "connecting", "ready", "lent", "sick", "draining"];
/// The states of a connection by gRPC's names, the best first.
pub(super) const STATES: [&str; 5] =
    ["READY", "CONNECTING", "TRANSIENT_FAILURE", "IDLE", "SHUTDOWN"];

impl PoolFigures {
    /// Channels in a state.
    fn channels(&self, state: &str) -> usize {
        self.channels.get(state).copied().unwrap_or_default()
    }

    fn connected(&self) -> usize {
        self.channels("ready") + self.channels("lent")
    }

    /// The best of its channels' states, as gRPC calls them.
    fn state(&self) -> &'static str {
        match () {
            () if self.closed => "SHUTDOWN",
            () if self.connected() > 0 => "READY",
            () if self.channels("connecting") > 0 => "CONNECTING",
            () if self.addresses.down > 0 => "TRANSIENT_FAILURE",
            () => "IDLE",
        }
    }

    /// Takes in another pool that is counted under the same name.
    fn join(&mut self, other: PoolFigures) {
        for (state, count) in other.channels {
            *self.channels.entry(state).or_default() += count;
        }
        self.size += other.size;
        self.capacity += other.capacity;
        self.waiting += other.waiting;
        self.lent += other.lent;
        self.checkouts += other.checkouts;
        self.connects += other.connects;
        self.addresses.usable += other.addresses.usable;
        self.addresses.down += other.addresses.down;
        self.addresses.ejected += other.addresses.ejected;
        self.level = self.level.min(other.level);
        self.last_check = self.last_check.max(other.last_check);
        self.closed &= other.closed;
        for (method, state) in other.breakers {
            let own = self.breakers.entry(method).or_default();
            *own = state.max(*own);
        }
    }
}

/// The pools as a collector.
pub(super) struct Gauges {
    pools: Arc<Leaf<Vec<Weak<dyn Measured>>>>,
    descs: Vec<Desc>,
}

impl Gauges {
    pub(super) fn new(
        pools: Arc<Leaf<Vec<Weak<dyn Measured>>>>,
    ) -> Result<Gauges, prometheus::Error> {
        let descs =
            GaugeFamilies::new()?.all().into_iter().flat_map(Collector::desc).cloned().collect();
        Ok(Gauges { pools, descs })
    }

    fn figures(&self) -> BTreeMap<String, PoolFigures> {
        let pools = self.pools.lock().clone();
        let mut all: BTreeMap<String, PoolFigures> = BTreeMap::new();
        for figures in pools.iter().filter_map(Weak::upgrade).filter_map(|pool| pool.measure()) {
            match all.get_mut(&figures.service) {
                Some(known) => known.join(figures),
                None => drop(all.insert(figures.service.clone(), figures)),
            }
        }
        all
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Made anew each time: what is gone has no series, and two may look at once.
        let Ok(table) = GaugeFamilies::new() else {
            return Vec::new();
        };
        for figures in self.figures().values() {
            table.show(figures);
        }
        table.all().into_iter().flat_map(Collector::collect).collect()
    }
}

/// The families.
struct GaugeFamilies {
    active: GaugeVec,
    state: GaugeVec,
    channels: GaugeVec,
    channels_max: GaugeVec,
    waiters: GaugeVec,
    in_flight: GaugeVec,
    utilization: GaugeVec,
    reuse: GaugeVec,
    addresses: GaugeVec,
    breaker: GaugeVec,
    health: GaugeVec,
    last_check: GaugeVec,
}

impl GaugeFamilies {
    fn new() -> Result<GaugeFamilies, prometheus::Error> {
        let gauge =
            |name: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name, help), labels);
        let service = &["service"];
        let state = &["service", "state"];
        Ok(GaugeFamilies {
            active: gauge("grpc_client_connections_active", "Connections that stand.", service)?,
            state: gauge(
                "grpc_client_connection_state",
                "1 for the best state of the service's connections.",
                state,
            )?,
            channels: gauge("grpc_client_channels", "Channels, by state.", state)?,
            channels_max: gauge(
                "grpc_client_channels_max",
                "Channels that there may be.",
                service,
            )?,
            waiters: gauge("grpc_client_waiters", "Callers that wait for a connection.", service)?,
            in_flight: gauge("grpc_client_in_flight", "Connections that are lent.", service)?,
            utilization: gauge(
                "grpc_client_pool_utilization_ratio",
                "The part of the pool that is lent.",
                service,
            )?,
            reuse: gauge(
                "grpc_client_connection_reuse_ratio",
                "The part of checkouts for which no connection was made.",
                service,
            )?,
            addresses: gauge("grpc_client_addresses", "Addresses, by state.", state)?,
            breaker: gauge(
                "grpc_client_circuit_breaker_state",
                "0 closed, 1 open, 2 half-open.",
                &["service", "method"],
            )?,
            health: gauge("grpc_client_health", "0 unhealthy, 1 degraded, 2 healthy.", service)?,
            last_check: gauge(
                "grpc_client_last_health_check_timestamp_seconds",
                "When the last round of probes was over.",
                service,
            )?,
        })
    }

    fn all(&self) -> [&dyn Collector; 12] {
        let GaugeFamilies { active, state, channels, channels_max, waiters, in_flight, .. } = self;
        let GaugeFamilies { utilization, reuse, addresses, breaker, health, last_check, .. } = self;
        [
            active,
            state,
            channels,
            channels_max,
            waiters,
            in_flight,
            utilization,
            reuse,
            addresses,
            breaker,
            health,
            last_check,
        ]
    }

    fn show(&self, figures: &PoolFigures) {
        let service = &*figures.service;
        let set = |family: &GaugeVec, labels: &[&str], value: f64| {
            family.with_label_values(labels).set(value);
        };
        let count = |family: &GaugeVec, value: usize| set(family, &[service], value as f64);
        count(&self.active, figures.connected());
        for state in STATES {
            let is_it = figures.state() == state;
            set(&self.state, &[service, state], f64::from(u8::from(is_it)));
        }
        for state in CHANNELS {
            set(&self.channels, &[service, state], figures.channels(state) as f64);
        }
        count(&self.channels_max, figures.size);
        count(&self.waiters, figures.waiting);
        count(&self.in_flight, figures.lent);
        set(&self.utilization, &[service], ratio(figures.lent as u64, figures.capacity as u64));
        // Connections are made ahead of checkouts, so that there may be more of them.
        let made = ratio(figures.connects, figures.checkouts).min(1.0);
        let reuse = if figures.checkouts == 0 { 0.0 } else { 1.0 - made };
        set(&self.reuse, &[service], reuse);
        let Addresses { usable, down, ejected } = figures.addresses;
        for (state, addresses) in [("usable", usable), ("down", down), ("ejected", ejected)] {
            set(&self.addresses, &[service, state], addresses as f64);
        }
        count(&self.health, figures.level);
        if let Some(at) = figures.last_check {
            set(&self.last_check, &[service], at.as_secs_f64());
        }
        for (method, state) in &figures.breakers {
            set(&self.breaker, &[service, method], f64::from(*state));
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

//! How a pool is, for those who ask.

use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use super::leaks::holder;
use super::{PoolCounts, Shared};
use crate::client::channel::Link;
use crate::client::lineup::ChannelView;
use crate::client::metrics::{Addresses, Measured, PoolFigures};
use crate::client::reporter::Totals;
use crate::client::status::{ConnectionStatus, PoolMetrics, PoolStatus, ServiceHealth};
use crate::clock;

/// What is said before the first attempt to connect has ended.
pub(super) const NOT_YET: &str = "connection not established yet";

impl Shared {
    /// The figures.
    pub(in crate::client) fn metrics(&self) -> PoolMetrics {
        let (counts, totals) = (self.counts(), self.reporter.totals());
        let Totals { checkouts, checkout_failures, .. } = totals;
        let Totals { connects, connect_failures, disconnects, .. } = totals;
        let Totals { health_checks, pings, health_check_failures, .. } = totals;
        let capacity = counts.ready * self.config().pool.calls_per_channel;
        PoolMetrics {
            size: counts.size,
            wanted: counts.wanted,
            connected: counts.ready,
            lent: counts.lent,
            waiting: counts.waiting,
            checkouts,
            checkout_failures,
            connects,
            connect_failures,
            disconnects,
            available: capacity.saturating_sub(counts.lent),
            health_checks,
            pings,
            health_check_failures,
            last_health_check: self.last_check(),
        }
    }

    /// What the last attempt to connect failed with.
    pub(in crate::client) fn last_error(&self) -> Option<String> {
        self.counts().last_error
    }

    /// The figures, and every connection.
    pub(in crate::client) fn status(&self) -> PoolStatus {
        let now = clock::now();
        let connections = self.views().into_iter().map(|view| self.connection(view, now)).collect();
        let (metrics, last_error) = (self.metrics(), self.last_error());
        let (service, kind) = (self.service.clone(), self.config().kind.clone());
        PoolStatus { service, kind, metrics, last_error, connections }
    }

    fn connection(&self, view: ChannelView<Arc<Link>>, now: Instant) -> ConnectionStatus {
        let to = view.channel.map(|link| Arc::clone(link.to()));
        let to = to.or_else(|| self.destination(view.address));
        ConnectionStatus {
            address: to.map(|to| to.to_string()).unwrap_or_default(),
            state: view.state,
            age: view.since.map(|since| now.saturating_duration_since(since)),
            lent: view.lent,
            served: view.served,
            idle: view.heard.map(|heard| now.saturating_duration_since(heard)),
            unanswered: view.silent,
            error: self.lock().trouble(view.slot).map(|down| down.error.clone()),
            holder: view.loan.and_then(|loan| holder(&loan, now)),
        }
    }

    /// Whether a connection stands, and why not.
    pub(in crate::client) fn health(&self) -> ServiceHealth {
        let PoolMetrics { wanted, connected, connect_failures, .. } = self.metrics();
        let failures = self.reporter.totals().health_check_failures;
        let healthy = connected > 0;
        let error = (!healthy).then(|| self.last_error().unwrap_or_else(|| NOT_YET.to_owned()));
        ServiceHealth {
            healthy,
            state: if healthy { "Connected" } else { "NotConnected" },
            level: self.level().as_str(),
            error,
            message: format!(
                "Connection pool: {connected}/{wanted} connections active, \
                 {connect_failures} errors, {failures} health check failures"
            ),
        }
    }
}

impl Measured for Shared {
    fn measure(&self) -> Option<PoolFigures> {
        let meter = self.reporter.meter();
        let service = meter.label()?.to_owned();
        let PoolCounts { size, wanted, lent, waiting, .. } = self.counts();
        let ((usable, down), ejected) = {
            let line = self.lock();
            (line.addresses(), line.ejected())
        };
        let mut figures = PoolFigures {
            service,
            size,
            capacity: size * self.config().pool.calls_per_channel,
            waiting,
            lent,
            checkouts: self.reporter.totals().checkouts,
            connects: self.reporter.totals().connects,
            addresses: Addresses { usable, down, ejected },
            closed: self.is_closed(),
            level: self.level().as_number(),
            last_check: self.last_check().and_then(|at| at.duration_since(UNIX_EPOCH).ok()),
            ..PoolFigures::default()
        };
        for view in self.views() {
            *figures.channels.entry(view.state).or_default() += 1;
        }
        let missing = wanted.saturating_sub(figures.channels.values().sum());
        figures.channels.insert("resting", missing);
        for (method, state) in self.breakers().states() {
            let own = figures.breakers.entry(meter.method_label(&method)).or_default();
            *own = state.max(*own);
        }
        Some(figures)
    }
}

//! What may be shown of the health of tenants and of the service.

use std::sync::Arc;

use crate::core::breaker::BreakerPhase;
use crate::core::gate::GateState;
use crate::core::health::Level;
use crate::core::ids::TenantId;
use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::port::Reach;
use crate::pool::servers::Starving;
use crate::pool::service::Service;
use crate::pool::tenant::Tenant;

/// One tenant's health, as it may be shown.
#[derive(Debug, Clone)]
pub struct Row {
    /// The tenant.
    pub tenant: TenantId,
    /// How well it is.
    pub level: Level,
    /// What its breaker does.
    pub breaker: BreakerPhase,
    /// When a check last ran, in microseconds since 1970.
    pub last_check: Option<u64>,
    /// An operator has paused it.
    pub paused: bool,
    /// Its requests get no connection, because its server has none left for them.
    pub starving: bool,
    /// What last went wrong, and when.
    pub last_error: Option<(String, u64)>,
    /// Checks that failed.
    pub check_failures: u64,
    /// Attempts to open a connection that failed.
    pub open_failures: u64,
    /// Connections that are open or being opened.
    pub total: usize,
    /// Connections that are open and not known to be broken.
    pub open: usize,
    /// Those in use.
    pub active: usize,
    /// Connections that could be had at once.
    pub available: usize,
}

/// The health of all, from one look.
#[derive(Debug, Clone)]
pub struct Report {
    /// The service as a whole.
    pub level: Level,
    /// True once it stops.
    pub draining: bool,
    /// Whether calls over gRPC are answered.
    pub grpc: Reach,
    /// One row a tenant, by name.
    pub rows: Vec<Row>,
}

impl Report {
    /// True if requests should be sent here, whatever databases do: a balancer that took
    /// all instances out because a database is away would hide the reason from clients,
    /// and keep those out whose databases work.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.grpc == Reach::Serving
    }

    /// The same, and every tenant is healthy.
    pub fn is_all_well(&self) -> bool {
        self.is_ready() && self.level == Level::Healthy
    }

    /// The service's state in one word: `draining`, or how well it is.
    pub fn status(&self) -> &'static str {
        if self.draining {
            "draining"
        } else {
            self.level.as_str()
        }
    }
}

impl Row {
    /// What it has works, and it gets no more.
    fn starve(&mut self, starving: Starving) {
        self.starving = true;
        self.level = match self.open {
            0 => Level::Unhealthy,
            _ => self.level.min(Level::Degraded),
        };
        let (error, at) = (starving.error, starving.at);
        if self.last_error.as_ref().is_none_or(|(_, last)| *last <= at) {
            self.last_error = Some((error, at));
        }
    }

    fn of_unopened(starving: Starving) -> Row {
        Row {
            tenant: starving.tenant,
            level: Level::Unhealthy,
            breaker: BreakerPhase::Closed,
            last_check: None,
            paused: false,
            starving: true,
            last_error: Some((starving.error, starving.at)),
            check_failures: 0,
            open_failures: 0,
            total: 0,
            open: 0,
            active: 0,
            available: 0,
        }
    }
}

impl Tenant {
    /// What may be shown of its health.
    pub fn health(&self) -> Row {
        let (backends, figures) = (self.backends(), self.figures());
        let level = backends.level();
        let record = backends.record.lock();
        Row {
            tenant: self.id().clone(),
            level,
            breaker: figures.breaker,
            paused: figures.paused.is_some(),
            starving: false,
            last_check: record.last_check,
            last_error: record.last_error.clone(),
            check_failures: record.failures,
            open_failures: record.open_failures,
            total: figures.open,
            open: figures.open.saturating_sub(figures.opening),
            active: figures.open.saturating_sub(figures.idle + figures.opening),
            available: figures.max.saturating_sub(figures.used),
        }
    }
}

impl Service {
    /// Tells those who watch whether requests are wanted.
    pub fn publish(&self) {
        self.context().serving.set(self.health().is_ready());
    }

    /// Whether a caller may see that there is a tenant.
    ///
    /// # Errors
    /// It may not.
    pub fn expect_visible(&self, tenant: &TenantId, caller: &Caller) -> Result<(), Error> {
        Ok(self.context().access.now().may_see(tenant, caller.authentication())?)
    }

    /// The same as [`health`](Self::health), with rows of those tenants only that a caller may see.
    pub fn health_for(&self, caller: &Caller) -> Report {
        let (mut report, access) = (self.health(), self.context().access.now());
        report.rows.retain(|row| access.may_see(&row.tenant, caller.authentication()).is_ok());
        report
    }

    /// The health of the service and of each tenant that has been opened, or that cannot
    /// be because its server is full.
    pub fn health(&self) -> Report {
        let known = |tenant: &Arc<Tenant>| {
            matches!(tenant.figures().state, GateState::Active | GateState::Draining)
        };
        let tenants = self.registry.named().into_iter().filter(known);
        let mut rows: Vec<Row> = tenants.map(|tenant| tenant.health()).collect();
        for starving in self.context().servers.starving() {
            match rows.iter_mut().find(|row| row.tenant == starving.tenant) {
                Some(row) => row.starve(starving),
                None => rows.push(Row::of_unopened(starving)),
            }
        }
        rows.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        Report {
            level: Level::of_all(rows.iter().map(|row| row.level)),
            draining: self.registry.is_draining(),
            grpc: self.context().port.reach(),
            rows,
        }
    }
}

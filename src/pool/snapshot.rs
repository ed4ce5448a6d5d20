//! A tenant as one look finds it. Whatever is shown of it, in an answer, on a page or as a metric,
//! is made from that.

use crate::core::health::Level;
use crate::core::ids::TenantId;
use crate::pool::numbers::Figures;
use crate::pool::servers::Starving;
use crate::pool::tenant::Tenant;

/// A tenant at one moment.
#[derive(Debug, Clone)]
pub struct TenantSnapshot {
    pub tenant: TenantId,
    /// What its gate and its backends count.
    pub figures: Figures,
    /// How many leases it has.
    pub leases: usize,
    /// How well it is.
    pub level: Level,
    /// Its requests get no connection, because its server has none left for them.
    pub starving: bool,
    /// When a check last ran, in microseconds since 1970.
    pub last_check: Option<u64>,
    /// What last went wrong, and when, in microseconds since 1970.
    pub last_error: Option<(String, u64)>,
    /// Checks that failed.
    pub check_failures: u64,
    /// Attempts to open a connection that failed.
    pub open_failures: u64,
}

impl TenantSnapshot {
    /// A look at a tenant, which has so many leases.
    pub(super) fn of(tenant: &Tenant, leases: usize) -> TenantSnapshot {
        let (backends, figures) = (tenant.backends(), tenant.figures());
        let level = backends.level();
        let record = backends.record.lock();
        TenantSnapshot {
            tenant: tenant.id().clone(),
            figures,
            leases,
            level,
            starving: false,
            last_check: record.last_check,
            last_error: record.last_error.clone(),
            check_failures: record.failures,
            open_failures: record.open_failures,
        }
    }

    /// What it has works, and it gets no more.
    pub(super) fn starve(&mut self, starving: Starving) {
        self.starving = true;
        self.level = match self.figures.alive() {
            0 => Level::Unhealthy,
            _ => self.level.min(Level::Degraded),
        };
        let (error, at) = (starving.error, starving.at);
        if self.last_error.as_ref().is_none_or(|(_, last)| *last <= at) {
            self.last_error = Some((error, at));
        }
    }

    /// Of a tenant that has no name yet, and whose requests get no connection.
    pub(super) fn of_unopened(starving: Starving) -> TenantSnapshot {
        TenantSnapshot {
            tenant: starving.tenant,
            figures: Figures::NONE,
            leases: 0,
            level: Level::Unhealthy,
            starving: true,
            last_check: None,
            last_error: Some((starving.error, starving.at)),
            check_failures: 0,
            open_failures: 0,
        }
    }
}

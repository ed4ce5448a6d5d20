//! What may be shown of the health of tenants and of the service.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::gate::GateState;
use crate::core::health::Level;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::port::Reach;
use crate::pool::servers::Starving;
use crate::pool::service::Service;
use crate::pool::snapshot::TenantSnapshot;
use crate::pool::tenant::Tenant;

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
    pub rows: Vec<TenantSnapshot>,
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

/// All tenants, from one look.
pub struct AllTenants {
    /// Those that have their names, in the order of these.
    pub named: Vec<TenantSnapshot>,
    /// Those that have none yet, and get no connection because their servers are full.
    pub starving: Vec<TenantSnapshot>,
}

impl AllTenants {
    /// Those that have been opened, or that cannot be because their servers are full.
    pub fn shown(&self) -> impl Iterator<Item = &TenantSnapshot> {
        let is_open = |state| matches!(state, GateState::Active | GateState::Draining);
        let named = self.named.iter();
        named.filter(move |one| one.starving || is_open(one.figures.state)).chain(&self.starving)
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
    pub fn expect_visible(&self, tenant: &TenantId, caller: &Caller) -> Result<(), RequestError> {
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
        let mut rows: Vec<TenantSnapshot> = self.look_at_all().shown().cloned().collect();
        rows.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        Report {
            level: Level::of_all(rows.iter().map(|row| row.level)),
            draining: self.registry.is_draining(),
            grpc: self.context().port.reach(),
            rows,
        }
    }

    pub fn look_at_all(&self) -> AllTenants {
        let mut tenants = self.registry.named();
        tenants.sort_by(|a, b| a.id().cmp(b.id()));
        let (named, starving) = self.look_at_these(&tenants);
        let starving = starving.into_values().map(TenantSnapshot::of_unopened).collect();
        AllTenants { named, starving }
    }

    /// A look at some tenants; and who of the others starves.
    pub(super) fn look_at_these(
        &self,
        tenants: &[Arc<Tenant>],
    ) -> (Vec<TenantSnapshot>, HashMap<TenantId, Starving>) {
        let starving = self.context().servers.starving().into_iter();
        let mut starving: HashMap<TenantId, Starving> =
            starving.map(|one| (one.tenant.clone(), one)).collect();
        let look = |tenant: &Arc<Tenant>| {
            let mut snapshot = TenantSnapshot::of(tenant, self.leases.count_of(tenant.id()));
            let starves = starving.remove(tenant.id());
            starves.into_iter().for_each(|starves| snapshot.starve(starves));
            snapshot
        };
        (tenants.iter().map(look).collect(), starving)
    }

    pub(super) fn look_at(&self, tenant: &Tenant) -> TenantSnapshot {
        let mut snapshot = TenantSnapshot::of(tenant, self.leases.count_of(tenant.id()));
        let mut starving = self.context().servers.starving().into_iter();
        let starves = starving.find(|one| one.tenant == snapshot.tenant);
        starves.into_iter().for_each(|starves| snapshot.starve(starves));
        snapshot
    }

    /// A look at the tenant of this name.
    ///
    /// # Errors
    /// If the caller may not see the tenant, or there is none.
    pub fn look(&self, tenant: &TenantId, caller: &Caller) -> Result<TenantSnapshot, RequestError> {
        self.expect_visible(tenant, caller)?;
        let found = self.registry.find(tenant);
        let found = found.ok_or_else(|| RequestError::TenantNotFound(tenant.clone()))?;
        Ok(self.look_at(&found))
    }
}

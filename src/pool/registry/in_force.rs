//! How other settings take effect at tenants.

use std::sync::Arc;

use super::change::TenantChange;
use super::Registry;
use crate::config::plan::ReloadPlan;
use crate::config::Config;
use crate::core::ids::TenantId;
use crate::error::Error;
use crate::pool::reloading::Reloaded;
use crate::pool::tenant::Tenant;

impl Registry {
    /// Puts settings in force that have been checked, tenant by tenant. What only a restart
    /// changes stays as it is. Does not block. To be called by one thread at a time.
    pub fn put_in_force(&self, config: Config) -> Reloaded {
        let old = self.context.live();
        let plan = ReloadPlan::between(&self.context.config, &old, &config);
        self.context.put_in_force(config);
        let mut refused = Vec::new();
        if plan.defaults || plan.waiters {
            // Who registers from now on has them already.
            for tenant in self.named() {
                let change = self.of_all_tenants(&tenant, &plan);
                refused.extend(self.try_change(tenant.id(), &change));
            }
        }
        Reloaded { applied: plan.applied, needs_restart: plan.needs_restart, refused }
    }

    /// Changes a tenant; returns why not.
    fn try_change(&self, id: &TenantId, change: &TenantChange) -> Option<(TenantId, Error)> {
        match self.change(id, change) {
            // It has gone meanwhile.
            Ok(_) | Err(Error::TenantNotFound(_)) => None,
            Err(error) => Some((id.clone(), error)),
        }
    }

    /// What a tenant is to have of the settings of all.
    fn of_all_tenants(&self, tenant: &Arc<Tenant>, plan: &ReloadPlan) -> TenantChange {
        let live = self.context.live();
        let own = &tenant.backends().origin.dsn.pool;
        TenantChange {
            settings: plan.defaults.then(|| live.pool.with(own)),
            max_waiters: plan.waiters.then_some(live.limits.waiters_per_tenant),
            ..TenantChange::default()
        }
    }
}

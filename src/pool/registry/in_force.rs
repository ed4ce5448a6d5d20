//! How other settings take effect at tenants.

use std::sync::Arc;

use super::change::TenantChange;
use super::configured::Catalog;
use super::Registry;
use crate::clock;
use crate::config::plan::{ReloadPlan, TenantStep};
use crate::config::tenants::TenantConfig;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::reloading::ReloadOutcome;
use crate::pool::tenant::Tenant;

impl Registry {
    /// Puts settings in force that have been checked, tenant by tenant. What only a restart
    /// changes stays as it is. Does not block. To be called by one thread at a time.
    pub fn put_in_force(self: &Arc<Self>, config: ServerConfig) -> ReloadOutcome {
        let old = self.context.live();
        let plan = ReloadPlan::between(&self.context.config, &old, &config);
        let catalog = Arc::new(Catalog::of(&config));
        let ended = self.about_to_end(&plan, &old, &config);
        let own = || plan.tenants.iter().filter(|step| step.is_own()).map(TenantStep::id);
        let has_changed = |id: &TenantId| own().any(|one| one == id);
        self.context.keeping.overruled(own());
        self.context.put_in_force(config, has_changed);
        let before = std::mem::replace(&mut *self.catalog.lock(), catalog);
        drop(before);
        let mut refused = Vec::new();
        for step in &plan.tenants {
            let taken = self.take(step);
            refused.extend(taken.err().map(|error| (step.id().clone(), error)));
        }
        if plan.defaults || plan.waiters {
            // Who registers from now on has them already.
            for tenant in self.named() {
                let change = self.of_all_tenants(&tenant, &plan, &old);
                refused.extend(self.try_change(tenant.id(), &change));
            }
        }
        ended.iter().for_each(|(id, _)| self.note_changed(id));
        let ended = ended.into_iter().map(|(_, ended)| ended).collect();
        ReloadOutcome { applied: plan.applied, needs_restart: plan.needs_restart, refused, ended }
    }

    /// Takes a step at a configured tenant.
    fn take(self: &Arc<Self>, step: &TenantStep) -> Result<(), RequestError> {
        match step {
            TenantStep::Remove(id) => {
                if let Some(tenant) = self.find(id).filter(|tenant| tenant.configured) {
                    self.take_out(&tenant, RequestError::TenantNotFound(id.clone()));
                }
                Ok(())
            }
            TenantStep::Change { to, before } => self.take_change(to, before.as_deref()),
            TenantStep::Add(config) => self.add(config),
        }
    }

    /// The settings of a configured tenant are others; with `before` only in what is of all.
    fn take_change(
        self: &Arc<Self>,
        to: &TenantConfig,
        before: Option<&TenantPoolConfig>,
    ) -> Result<(), RequestError> {
        let found = self.find(&to.id).filter(|tenant| tenant.configured);
        let mut change = TenantChange { must: true, ..TenantChange::default() };
        match (&found, before) {
            (None, None) => return self.add(to),
            // An operator has removed it.
            (None, Some(_)) => return Ok(()),
            (Some(_), Some(before)) => change.moved = Some((before.clone(), to.pool.clone())),
            (Some(tenant), None) => {
                change.settings = Some(to.pool.clone());
                // An operator may have put another.
                let backends = tenant.backends();
                let is_same = backends.origin.connect.dsn().is_some_and(|dsn| *dsn == to.dsn);
                change.dsn = (!is_same).then(|| to.dsn.clone());
            }
        }
        match self.change(&to.id, &change) {
            Ok(_) => Ok(()),
            // It was removed meanwhile, in another way than by the file.
            Err(RequestError::TenantNotFound(_)) if before.is_some() => Ok(()),
            Err(RequestError::TenantNotFound(_)) => self.add(to),
            Err(error) => Err(error),
        }
    }

    /// Takes up a configured tenant. Whoever has its name by a DSN of a client loses it.
    fn add(self: &Arc<Self>, config: &TenantConfig) -> Result<(), RequestError> {
        let tenant = self.configured(config)?;
        if let Some(before) = self.find(&config.id) {
            let why = before.backends().origin.mismatch(&config.id, &config.dsn);
            self.take_out(&before, why);
        }
        let limit = self.context.live().limits.max_backends;
        let used = self.reserved() + tenant.setup().permits;
        // The configuration promises it its connections, so it comes in in any case.
        if used > limit {
            self.make_room(&tenant, tenant.setup().permits, used - limit);
        }
        tenant.begin();
        self.write().name_configured(&tenant);
        self.context.keeper.due(clock::now());
        Ok(())
    }

    /// Takes a tenant out of service; leases go on to their ends. Its connections count against
    /// the limit of the service for as long as there are any.
    pub(super) fn take_out(&self, tenant: &Arc<Tenant>, why: RequestError) {
        log::info!("event=tenant_taken_out tenant={}", tenant.id());
        // First, so that they count at no time for nobody.
        self.write().keep_former(tenant);
        self.remove(tenant);
        tenant.end(why.clone());
        tenant.answer_line(&why);
    }

    /// Changes a tenant; returns why not.
    fn try_change(&self, id: &TenantId, change: &TenantChange) -> Option<(TenantId, RequestError)> {
        match self.change(id, change) {
            // It has gone meanwhile.
            Ok(_) | Err(RequestError::TenantNotFound(_)) => None,
            Err(error) => Some((id.clone(), error)),
        }
    }

    /// What a tenant is to have of the settings of all. Those of one of the file were laid over
    /// them already.
    fn of_all_tenants(
        &self,
        tenant: &Arc<Tenant>,
        plan: &ReloadPlan,
        old: &ServerConfig,
    ) -> TenantChange {
        let live = self.context.live();
        let own = &tenant.backends().origin.dsn.pool;
        let is_of_file = tenant.configured && live.tenants.contains_key(tenant.id());
        let defaults = plan.defaults && !is_of_file;
        TenantChange {
            moved: defaults.then(|| (old.pool.with(own), live.pool.with(own))),
            max_waiters: plan.waiters.then_some(live.limits.waiters_per_tenant),
            ..TenantChange::default()
        }
    }
}

#[cfg(test)]
mod tests;

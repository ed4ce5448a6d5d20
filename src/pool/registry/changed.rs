//! What operators have changed of tenants, and what of it a reload ends.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::Registry;
use crate::config::changes::{ChangeKind, ChangedTenant};
use crate::config::plan::{ReloadPlan, TenantStep};
use crate::config::tenants::TenantConfig;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::ids::TenantId;
use crate::pool::reloading::EndedChange;

impl Registry {
    /// How a tenant differs from what is configured of it. `None`: it does not, or a client has
    /// brought it.
    pub(in crate::pool) fn changed_from(
        &self,
        id: &TenantId,
        configured: Option<&TenantConfig>,
    ) -> Option<ChangedTenant> {
        // What a client has brought goes with the service, and all that was done to it.
        let found = self.find(id).filter(|tenant| tenant.configured);
        let Some(tenant) = found else {
            return configured.map(|_| ChangedTenant { change: ChangeKind::Removed, paused: None });
        };
        let (paused, setup) = (tenant.paused(), tenant.setup());
        let backends = &setup.backends;
        let users = self.context.access.put_users(id);
        let pool = TenantPoolConfig { max_connections: setup.permits, ..backends.settings.clone() };
        let dsn = backends.origin.connect.dsn()?.clone();
        let is_same =
            users.is_none() && configured.is_some_and(|it| it.dsn == dsn && it.pool == pool);
        let now = TenantConfig { id: id.clone(), dsn, pool, own: BTreeMap::new() };
        let change = match is_same {
            true => ChangeKind::Same,
            false => ChangeKind::Put { tenant: Box::new(now), users },
        };
        let differs = !is_same || paused.is_some();
        differs.then_some(ChangedTenant { change, paused })
    }

    /// What operators have changed that a reload is about to end, because the settings say
    /// something else of those tenants.
    pub(super) fn about_to_end(
        &self,
        plan: &ReloadPlan,
        old: &ServerConfig,
        new: &ServerConfig,
    ) -> Vec<(TenantId, EndedChange)> {
        let mut ended = Vec::new();
        let mut add = |id: &TenantId, holds: &dyn Fn(&str) -> bool| {
            let configured = old.tenants.get(id);
            let changed = self.changed_from(id, configured);
            let mut names = changed.map_or_else(Vec::new, |it| it.names(configured, &old.pool));
            names.retain(|name| !holds(name));
            if !names.is_empty() {
                let (key, what) = (format!("tenants.{id}"), names.join(", "));
                ended.push((id.clone(), EndedChange { key, what }));
            }
        };
        for step in plan.tenants.iter().filter(|step| step.is_own()) {
            // A pause ends with the tenant only.
            let stays = matches!(step, TenantStep::Change { .. });
            add(step.id(), &|name| stays && name == "paused");
        }
        for id in old.tenants.keys().filter(|id| new.tenants.contains_key(*id)) {
            let is_own = || plan.tenants.iter().any(|step| step.is_own() && step.id() == id);
            if !new.access.has_users_of(&old.access, id) && !is_own() {
                add(id, &|name| name != "identities");
            }
        }
        ended
    }

    /// Whether an operator has changed a tenant, once that may have ended.
    pub(super) fn note_changed(&self, id: &TenantId) {
        let configured = self.catalog().tenants.get(id).cloned();
        let changed = self.changed_from(id, configured.as_ref());
        if let Some(tenant) = self.find(id) {
            let is_changed = changed.is_some_and(|it| it.change != ChangeKind::Same);
            tenant.account.changed.store(is_changed, Ordering::Relaxed);
        }
    }
}

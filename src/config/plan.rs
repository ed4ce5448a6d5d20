//! What a reload does: the difference between settings that are in force and others.

use crate::config::draft::Draft;
use crate::config::keys::{self, SettingKey};
use crate::config::tenants::{TenantConfig, Tenants};
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::ids::TenantId;

/// What a reload does. Nothing of it blocks or can be wrong: both settings have been checked.
#[derive(Debug, PartialEq)]
pub struct ReloadPlan {
    /// What changes, as an operator knows it: `service.wait`, `identities`.
    pub applied: Vec<String>,
    /// Keys that have other values than at the start, and that only a restart changes.
    pub needs_restart: Vec<String>,
    /// The settings that tenants of client DSNs have from all tenants are others.
    pub defaults: bool,
    /// Another number of requests may wait at a tenant.
    pub waiters: bool,
    /// What becomes of configured tenants. Those that take connections come after those that
    /// give some back.
    pub tenants: Vec<TenantStep>,
}

/// What becomes of a configured tenant.
#[derive(Debug, Clone, PartialEq)]
pub enum TenantStep {
    /// It is configured no more.
    Remove(TenantId),
    /// It has another pool or DSN.
    Change {
        /// Its settings from now on.
        to: Box<TenantConfig>,
        /// Its pool before, if its own table says what it said and only the defaults of all
        /// tenants are others: then what operators have changed stays.
        before: Option<Box<TenantPoolConfig>>,
    },
    /// It is configured from now on.
    Add(Box<TenantConfig>),
}

impl TenantStep {
    /// The tenant.
    pub fn id(&self) -> &TenantId {
        match self {
            TenantStep::Remove(id) => id,
            TenantStep::Change { to, .. } | TenantStep::Add(to) => &to.id,
        }
    }

    /// True if the settings say something else of this very tenant, which ends what operators have
    /// changed of it.
    pub fn is_own(&self) -> bool {
        !matches!(self, TenantStep::Change { before: Some(_), .. })
    }
}

impl ReloadPlan {
    /// What leads from the settings in force to others. `start`: those of the start, which hold
    /// for keys that only a restart changes.
    pub fn between(start: &ServerConfig, old: &ServerConfig, new: &ServerConfig) -> ReloadPlan {
        let mut plan = ReloadPlan {
            applied: differing(old, new, |key| key.live),
            needs_restart: differing(start, new, |key| !key.live),
            defaults: old.pool != new.pool,
            waiters: old.limits.waiters_per_tenant != new.limits.waiters_per_tenant,
            tenants: tenant_steps(&old.tenants, &new.tenants),
        };
        if !new.access.has_identities_of(&old.access) {
            plan.applied.push("identities".to_owned());
        }
        plan.applied.extend(plan.tenants.iter().map(|step| format!("tenants.{}", step.id())));
        let stays = |id: &&TenantId| old.tenants.contains_key(*id);
        let others = |id: &&TenantId| !new.access.has_users_of(&old.access, id);
        let changed = new.tenants.keys().filter(stays).filter(others);
        plan.applied.extend(changed.map(|id| format!("tenants.{id}.identities")));
        plan
    }
}

fn tenant_steps(old: &Tenants, new: &Tenants) -> Vec<TenantStep> {
    let gone = old.keys().filter(|id| !new.contains_key(*id));
    let mut steps: Vec<TenantStep> = gone.cloned().map(TenantStep::Remove).collect();
    let both = new.values().filter_map(|to| old.get(&to.id).map(|from| (from, to)));
    let mut changed: Vec<_> = both.filter(|(from, to)| from != to).collect();
    changed.sort_by_key(|(from, to)| to.pool.max_connections > from.pool.max_connections);
    steps.extend(changed.into_iter().map(|(from, to)| TenantStep::Change {
        to: Box::new(to.clone()),
        before: to.says_as(from).then(|| Box::new(from.pool.clone())),
    }));
    let added = new.values().filter(|to| !old.contains_key(&to.id));
    steps.extend(added.map(|to| TenantStep::Add(Box::new(to.clone()))));
    steps
}

fn differing(
    old: &ServerConfig,
    new: &ServerConfig,
    which: impl Fn(&SettingKey) -> bool,
) -> Vec<String> {
    let (old, new) = (Draft::of(old), Draft::of(new));
    let differs = |key: &&SettingKey| which(key) && key.show(&old) != key.show(&new);
    keys::keys().filter(differs).map(SettingKey::path).collect()
}

#[cfg(test)]
mod tests;

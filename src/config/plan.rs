//! What a reload does: the difference between settings that are in force and others.

use crate::config::draft::Draft;
use crate::config::keys::{self, SettingKey};
use crate::config::Config;

/// What a reload does. Nothing of it blocks or can be wrong: both settings have been checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReloadPlan {
    /// What changes, as an operator knows it: `service.wait`, `identities`.
    pub applied: Vec<String>,
    /// Keys that have other values than at the start, and that only a restart changes.
    pub needs_restart: Vec<String>,
    /// The settings that tenants of client DSNs have from all tenants are others.
    pub defaults: bool,
    /// As many requests may wait at a tenant as never before.
    pub waiters: bool,
}

impl ReloadPlan {
    /// What leads from the settings in force to others. `start`: those of the start, which hold
    /// for keys that only a restart changes.
    pub fn between(start: &Config, old: &Config, new: &Config) -> ReloadPlan {
        let mut plan = ReloadPlan {
            applied: differing(old, new, |key| key.live),
            needs_restart: differing(start, new, |key| !key.live),
            defaults: old.pool != new.pool,
            waiters: old.limits.waiters_per_tenant != new.limits.waiters_per_tenant,
        };
        if old.access != new.access {
            plan.applied.push("identities".to_owned());
        }
        plan
    }
}

fn differing(old: &Config, new: &Config, which: impl Fn(&SettingKey) -> bool) -> Vec<String> {
    let (old, new) = (Draft::of(old), Draft::of(new));
    let differs = |key: &&SettingKey| which(key) && key.show(&old) != key.show(&new);
    keys::keys().filter(differs).map(SettingKey::path).collect()
}

#[cfg(test)]
mod tests;

//! What is to be kept, read off what is in force.

use crate::config::changes::{ChangeKind, ChangedTenant, RuntimeChanges};
use crate::config::ServerConfig;
use crate::core::ids::TenantId;
use crate::pool::keeping::{Keeping, Mark, Touch};
use crate::pool::registry::Registry;

/// What is in force and differs from `config`, which was in force before this was called: where
/// a reload has come between, its own word holds at the next start.
pub(super) fn snapshot(
    keeping: &Keeping,
    registry: &Registry,
    config: &ServerConfig,
) -> RuntimeChanges {
    let log_level = keeping.kept_log_level().filter(|level| *level != config.log_level);
    let mut changes = RuntimeChanges { log_level, ..RuntimeChanges::default() };
    for (id, mark) in keeping.marks() {
        match changed(registry, config, &id, mark) {
            Some(changed) => drop(changes.tenants.insert(id, changed)),
            None => keeping.forget(&id, mark),
        }
    }
    changes
}

/// `None`: it is as configured, or is not kept.
fn changed(
    registry: &Registry,
    config: &ServerConfig,
    id: &TenantId,
    mark: Mark,
) -> Option<ChangedTenant> {
    let found = registry.changed_from(id, config.tenants.get(id))?;
    if mark.touch == Touch::Settings {
        return Some(found);
    }
    let paused = found.paused.filter(|_| found.change != ChangeKind::Removed);
    paused.map(|_| ChangedTenant { change: ChangeKind::Same, paused })
}

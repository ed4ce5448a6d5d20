//! What is to be kept, read off what is in force.

use crate::config::changes::{ChangeKind, ChangedTenant, RuntimeChanges};
use crate::config::tenants::TenantConfig;
use crate::config::{Config, PoolConfig};
use crate::core::ids::TenantId;
use crate::pool::keeping::{Keeping, Mark, Touch};
use crate::pool::registry::Registry;

/// What is in force and differs from `config`, which was in force before this was called: where
/// a reload has come between, its own word holds at the next start.
pub(super) fn snapshot(keeping: &Keeping, registry: &Registry, config: &Config) -> RuntimeChanges {
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
    config: &Config,
    id: &TenantId,
    mark: Mark,
) -> Option<ChangedTenant> {
    let configured = config.tenants.get(id);
    // What a client has brought goes with the service, and all that was done to it.
    let found = registry.find(id).filter(|tenant| tenant.backends().origin.is_configured);
    let Some(tenant) = found else {
        let is_removed = mark.touch == Touch::Settings && configured.is_some();
        let removed = ChangedTenant { change: ChangeKind::Removed, paused: None };
        return is_removed.then_some(removed);
    };
    let (paused, setup) = (tenant.paused(), tenant.setup());
    let backends = &setup.backends;
    let users = registry.context().access.put_users(id);
    let pool = PoolConfig { max_connections: setup.permits, ..backends.settings.clone() };
    let dsn = backends.origin.connect.dsn()?.clone();
    let now = TenantConfig { id: id.clone(), dsn, pool };
    let is_same = configured == Some(&now) && users.is_none();
    let change = match mark.touch == Touch::Settings && !is_same {
        true => ChangeKind::Put { tenant: Box::new(now), users },
        false => ChangeKind::Same,
    };
    let differs = change != ChangeKind::Same || paused.is_some();
    differs.then_some(ChangedTenant { change, paused })
}

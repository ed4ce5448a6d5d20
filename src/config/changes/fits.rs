//! Whether what a file keeps goes with a configuration: there is room for it, and it is allowed.

use super::{ChangeKind, KeptChanges};
use crate::config::raw::tenants::TENANTS_MAX;
use crate::config::tenants::TenantConfig;
use crate::config::ServerConfig;
use crate::core::ids::TenantId;
use crate::settings::{Origin, SettingFault, SettingFaults};

/// So many tenants with most connections are named where there is no room for all.
const NAMED_MAX: usize = 5;

/// Checks it.
///
/// # Errors
/// The tenants that could not be taken up again, or what all of them have too much of.
pub(super) fn check(kept: &KeptChanges, config: &ServerConfig) -> Result<(), SettingFaults> {
    let mut faults = SettingFaults::default();
    for (id, changed) in &kept.changes.tenants {
        if let ChangeKind::Put { tenant, .. } = &changed.change {
            if let Err(rule) = allowed(tenant, config) {
                let rule = format!("cannot be taken up again: {rule}");
                faults.add(SettingFault::new(&key(id), place(kept, id), rule));
            }
        }
    }
    faults.ended()?;
    Ok(room(kept, config)?)
}

fn key(id: &TenantId) -> String {
    format!("tenants.{id}")
}

/// Where the file has the tenant.
fn place(kept: &KeptChanges, id: &TenantId) -> Origin {
    let key = key(id);
    let found = kept.shown.iter().find(|(known, _, _)| *known == key);
    found.map_or(Origin::Default, |(_, _, at)| at.clone())
}

/// Whether the settings allow a tenant by itself.
fn allowed(tenant: &TenantConfig, config: &ServerConfig) -> Result<(), String> {
    let configured = config.tenants.get(&tenant.id);
    if configured.is_none_or(|configured| configured.dsn != tenant.dsn) {
        let confined = tenant.dsn.tls.confine(config.dsn_cert_dir.as_deref());
        confined.map_err(|error| format!("dsn: {error}"))?;
    }
    let (wanted, most) = (tenant.pool.max_connections, config.most_connections());
    match wanted <= most {
        true => Ok(()),
        false => Err(format!(
            "max_connections must be 1 to {most} (max_connections_per_dsn), and is {wanted}"
        )),
    }
}

/// Whether all tenants together have no more than there may be.
fn room(kept: &KeptChanges, config: &ServerConfig) -> Result<(), SettingFault> {
    let changes = &kept.changes.tenants;
    let mut all: Vec<(&TenantId, usize)> = Vec::new();
    for tenant in config.tenants.values() {
        match changes.get(&tenant.id).map(|changed| &changed.change) {
            Some(ChangeKind::Put { .. } | ChangeKind::Removed) => {}
            Some(ChangeKind::Same) | None => all.push((&tenant.id, tenant.pool.max_connections)),
        }
    }
    for (id, changed) in changes {
        if let ChangeKind::Put { tenant, .. } = &changed.change {
            all.push((id, tenant.pool.max_connections));
        }
    }
    let fault = |rule: String| Err(SettingFault::new("", Origin::Default, rule));
    if all.len() > TENANTS_MAX {
        let (count, most) = (all.len(), TENANTS_MAX);
        return fault(format!(
            "the tenants of the configuration and those that operators have put cannot be taken \
             up again: they are {count}, and may be {most}"
        ));
    }
    let (sum, most) = (all.iter().map(|(_, size)| size).sum::<usize>(), config.limits.max_backends);
    if sum <= most {
        return Ok(());
    }
    all.sort_by_key(|(id, size)| (std::cmp::Reverse(*size), *id));
    let named = all.iter().take(NAMED_MAX).map(|(id, size)| match place(kept, id) {
        Origin::Default => format!("{id} {size}"),
        place => format!("{id} {size} ({place})"),
    });
    let (named, dots) = (named.collect::<Vec<_>>().join(", "), all.len() > NAMED_MAX);
    fault(format!(
        "the tenants with what operators have changed cannot be taken up again: their \
         max_connections together are {sum}, and max_backends is {most}. It must be raised, or \
         a tenant resized or removed: {named}{}",
        if dots { ", …" } else { "" }
    ))
}

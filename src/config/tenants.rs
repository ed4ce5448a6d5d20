//! Tenants that the operator configures, so that clients need to send a name alone.

mod build;
mod dsn;
pub mod environment;
pub mod keys;
pub mod raw;
mod secret_file;
mod users;

use std::collections::BTreeMap;

use crate::config::dsn::Dsn;
use crate::config::PoolConfig;
use crate::core::ids::TenantId;

pub(super) use build::build;

/// The most tenants of a file. Each is known from the start, with a queue and metrics of its own:
/// some 20 kB.
pub const TENANTS_MAX: usize = 5000;

/// The configured tenants. They are equal if nothing that is in force differs, wherever it was
/// written.
pub type Tenants = BTreeMap<TenantId, TenantConfig>;

/// One configured tenant. `Debug` does not show the password.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantConfig {
    /// Its name.
    pub id: TenantId,
    /// Where its database is, and how to log in there.
    pub dsn: Dsn,
    /// Its pool: the defaults of all tenants, overridden by its table and by its DSN.
    pub pool: PoolConfig,
}

/// Rejects tenants that could not be served together.
///
/// # Errors
/// The rule that is broken.
pub(super) fn check(tenants: &Tenants, max_backends: usize) -> Result<(), String> {
    for tenant in tenants.values() {
        tenant.pool.check().map_err(|rule| format!("tenant {}: {rule}", tenant.id))?;
    }
    let sum: usize = tenants.values().map(|tenant| tenant.pool.max_connections).sum();
    if sum > max_backends {
        // Each is to get what it was promised, whatever the others use.
        return Err(format!(
            "max_connections of all configured tenants together cannot be greater than max_backends ({sum} > {max_backends})"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

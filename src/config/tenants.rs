//! Tenants that the operator configures, so that clients need to send a name alone.

mod build;
mod dsn;
mod pool;
mod secret_file;
mod users;

use std::collections::BTreeMap;

use crate::config::contradiction::Contradiction;
use crate::config::dsn::Dsn;
use crate::config::TenantPoolConfig;
use crate::core::ids::TenantId;

pub(super) use build::build;

/// The configured tenants. They are equal if neither anything that is in force differs nor what
/// their own tables say, in whichever form.
pub type Tenants = BTreeMap<TenantId, TenantConfig>;

/// One configured tenant. `Debug` does not show the password.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantConfig {
    /// Its name.
    pub id: TenantId,
    /// Where its database is, and how to log in there.
    pub dsn: Dsn,
    /// Its pool: the defaults of all tenants, overridden by its table and by its DSN.
    pub pool: TenantPoolConfig,
    /// What its own table says of the pool: keys with their values.
    pub own: BTreeMap<&'static str, String>,
}

impl TenantConfig {
    /// True if the table of this tenant says the same as that of another, whatever the defaults of
    /// all tenants are.
    pub fn says_as(&self, other: &TenantConfig) -> bool {
        self.dsn == other.dsn && self.own == other.own
    }
}

/// The rules that tenants break together, so that they could not be served.
pub(super) fn contradictions(tenants: &Tenants, max_backends: usize) -> Vec<Contradiction> {
    let of = |tenant: &TenantConfig| {
        let subject = format!("tenants.{}", tenant.id);
        let told = |one| Contradiction { subject: subject.clone(), ..one };
        tenant.pool.contradictions().into_iter().map(told).collect::<Vec<_>>()
    };
    let mut broken: Vec<Contradiction> = tenants.values().flat_map(of).collect();
    let sum: usize = tenants.values().map(|tenant| tenant.pool.max_connections).sum();
    if sum > max_backends {
        // Each is to get what it was promised, whatever the others use.
        let rule = format!(
            "max_connections of all configured tenants together cannot be greater than max_backends: {sum} > {max_backends}"
        );
        broken.push(Contradiction::new(rule, &["max_backends"]));
    }
    broken
}

#[cfg(test)]
mod tests;

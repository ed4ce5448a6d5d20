//! Tenants that the operator has configured.
//!
//! Each is there from the start, with its name and its connections reserved: no DSN of a client
//! can take either, and nobody's use of others takes it away. Its pool is filled up to
//! `min_connections` at once; with a minimum of 0 its first connection is opened for the first
//! request. A database that is away closes nothing: the tenant's breaker says so, and probes.

use std::sync::{Arc, Weak};

use super::entry::Bringer;
use super::known::fingerprint_of;
use super::{Registry, Target};
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::tenants::{TenantConfig, Tenants};
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::allowed_hosts::AllowedHosts;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::lock::Leaf;
use crate::pool::breaker::TenantBreaker;
use crate::pool::identity::Difference;
use crate::pool::tenant::{Registrar, Tenant};

/// What the operator has configured of tenants. Replaced as a whole.
pub struct Catalog {
    /// The configured tenants.
    pub tenants: Arc<Tenants>,
    /// Whether clients may register others by a DSN that they send.
    pub takes_dsns: bool,
    /// The hosts that such a DSN may name.
    pub allowed_hosts: Arc<AllowedHosts>,
}

impl Catalog {
    /// None yet, of these settings.
    pub(super) fn none(config: &ServerConfig) -> Catalog {
        Catalog { tenants: Arc::default(), ..Catalog::of(config) }
    }

    /// That of these settings.
    pub fn of(config: &ServerConfig) -> Catalog {
        Catalog {
            tenants: Arc::clone(&config.tenants),
            takes_dsns: config.allow_client_dsn,
            allowed_hosts: Arc::clone(&config.allowed_hosts),
        }
    }
}

pub(super) type InForce = Leaf<Arc<Catalog>>;

impl Registry {
    /// What is configured of tenants at present.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.lock())
    }

    /// Takes up the configured tenants of a service that has none yet. Does not block.
    ///
    /// # Errors
    /// A DSN names files that it may not; then none is taken up.
    pub fn take_up(self: &Arc<Self>, catalog: Catalog) -> Result<(), RequestError> {
        let tenants: Result<Vec<_>, RequestError> =
            catalog.tenants.values().map(|config| self.configured(config)).collect();
        let (tenants, catalog) = (tenants?, Arc::new(catalog));
        // A request finds them ready.
        tenants.iter().for_each(Tenant::begin);
        let mut known = self.write();
        tenants.iter().for_each(|tenant| known.name_configured(tenant));
        drop(known);
        *self.catalog.lock() = catalog;
        self.context.keeper.due(clock::now());
        Ok(())
    }

    /// A configured tenant, which nobody knows yet.
    ///
    /// # Errors
    /// The DSN names files that it may not.
    pub(super) fn configured(
        self: &Arc<Self>,
        config: &TenantConfig,
    ) -> Result<Arc<Tenant>, RequestError> {
        let operator = CallerId::new(OPERATOR);
        self.configured_as(&config.id, &config.dsn, &config.pool, Bringer::Operator(&operator))
    }

    /// The same of this DSN and these settings.
    ///
    /// # Errors
    /// The DSN names files that it may not.
    pub(super) fn configured_as(
        self: &Arc<Self>,
        id: &TenantId,
        dsn: &Dsn,
        pool: &TenantPoolConfig,
        by: Bringer<'_>,
    ) -> Result<Arc<Tenant>, RequestError> {
        let identity = self.digests.identity(dsn, self.digests.fingerprint(dsn));
        let origin = self.origin(id, dsn, identity, by, pool)?;
        let breaker = TenantBreaker::new(pool, &self.context.keeper);
        let registrar = Arc::downgrade(self) as Weak<dyn Registrar>;
        Ok(Tenant::new(id.clone(), pool.clone(), origin, breaker, &self.context, registrar))
    }

    /// Whether a request of `by` may use a configured tenant: with its name alone, or with a DSN
    /// that is the configured one.
    ///
    /// # Errors
    /// The DSN is another, or passwords were guessed from its host.
    pub(super) fn may_use(
        &self,
        tenant: &Tenant,
        target: &Target,
        by: &CallerId,
    ) -> Result<(), RequestError> {
        let Some(dsn) = &target.dsn else { return Ok(()) };
        self.may_compare(tenant, dsn, by)?;
        let fingerprint = self.fingerprint(dsn);
        if fingerprint_of(tenant) == fingerprint {
            self.acquaint(tenant, by);
            return Ok(());
        }
        let (backends, other) = (tenant.backends(), self.digests.identity(dsn, fingerprint));
        if backends.origin.identity.against(&other) == Difference::Password {
            self.guesses.another(tenant.id(), by);
        }
        Err(backends.origin.mismatch(tenant.id(), dsn))
    }

    /// What to tell who names a tenant that is not there and cannot be registered.
    pub(super) fn unknown(&self, target: &Target) -> RequestError {
        match (&target.dsn, self.catalog().takes_dsns) {
            (Some(_), _) => RequestError::DsnNotTaken { tenant: target.tenant.clone() },
            (None, true) => {
                let rule = "dsn is required: no tenant of this name is configured";
                RequestError::invalid("dsn", rule)
            }
            (None, false) => RequestError::TenantNotFound(target.tenant.clone()),
        }
    }
}

/// Who has brought the DSNs of tenants in the configuration file.
const OPERATOR: &str = "configuration";

#[cfg(test)]
mod tests;

//! How an operator creates a tenant, or gives one another DSN, while the service runs.

use std::sync::Arc;

use super::change::TenantChange;
use super::entry::Bringer;
use super::known::{fingerprint_of, Known};
use super::{room, Registry, LOOKUPS};
use crate::backend::cert_files::FileScope;
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::raw::tenants::TENANTS_MAX;
use crate::config::TenantPoolConfig;
use crate::core::access::TenantUsers;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::tenant::Tenant;

/// What a tenant is to be. Whatever is `None` stays as it is; at a new tenant it is as the DSN and
/// the defaults of all tenants say.
#[derive(Clone)]
pub struct PutTenant {
    /// Its DSN, whose pool keys hold too; a new tenant needs one. It may name files as a client's.
    pub dsn: Option<Dsn>,
    /// The most connections.
    pub max_connections: Option<usize>,
    /// The connections that are kept open.
    pub min_connections: Option<usize>,
    /// Who may use it; a new tenant needs them. Nobody: as before.
    pub users: TenantUsers,
}

impl PutTenant {
    /// The settings that come of those before.
    fn settings(&self, before: &TenantPoolConfig) -> TenantPoolConfig {
        let mut own = before.clone();
        if let Some(dsn) = &self.dsn {
            own = own.with(&dsn.pool);
        }
        own.max_connections = self.max_connections.unwrap_or(own.max_connections);
        // One that nobody asks for follows the maximum.
        let least = own.min_connections.min(own.max_connections);
        own.min_connections = self.min_connections.unwrap_or(least);
        own
    }
}

impl Registry {
    /// Creates a tenant, or changes the one that is there, as [`change`](Registry::change) does.
    /// `by` is the operator. True: it was created. Does not block.
    ///
    /// # Errors
    /// If a setting breaks a rule, a new tenant has no DSN, or there is no room for so many
    /// connections.
    pub(in crate::pool) fn put(
        self: &Arc<Self>,
        id: &TenantId,
        put: &PutTenant,
        by: &CallerId,
    ) -> Result<bool, RequestError> {
        if let Some(dsn) = &put.dsn {
            self.expect_files(dsn)?;
        }
        for _ in 0..LOOKUPS {
            if let Some(tenant) = self.find(id) {
                self.put_again(&tenant, put)?;
                self.permit(id, put);
                return Ok(false);
            }
            // Before anybody can find it.
            self.permit(id, put);
            match self.create(id, put, by) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    if self.find(id).is_none() {
                        self.context.access.put(id, None);
                    }
                    return Err(error);
                }
            }
        }
        Err(RequestError::Internal("a tenant was created and removed again and again"))
    }

    /// The DSN may name files as a client's.
    pub(super) fn expect_files(&self, dsn: &Dsn) -> Result<(), RequestError> {
        let files = FileScope::of_clients(self.context.live().dsn_cert_dir.clone());
        let allowed = files.check(&dsn.tls);
        allowed.map_err(|error| RequestError::invalid("dsn", format!("dsn: {error}")))
    }

    fn permit(&self, id: &TenantId, put: &PutTenant) {
        if !put.users.is_nobody() {
            self.context.access.put(id, Some(&put.users));
        }
    }

    fn put_again(&self, tenant: &Tenant, put: &PutTenant) -> Result<(), RequestError> {
        let before = TenantPoolConfig {
            max_connections: tenant.setup().permits,
            ..tenant.backends().settings.clone()
        };
        let settings = self.checked(put.settings(&before))?;
        let mut change = TenantChange { settings: Some(settings), ..TenantChange::default() };
        if let Some(dsn) = &put.dsn {
            // The same again replaces nothing.
            let same = self.digests.fingerprint(dsn) == fingerprint_of(tenant);
            change.dsn = (!same).then(|| dsn.clone());
        }
        self.change(tenant.id(), &change).map(drop)
    }

    pub(super) fn checked(
        &self,
        settings: TenantPoolConfig,
    ) -> Result<TenantPoolConfig, RequestError> {
        let (min, max) = (settings.min_connections, settings.max_connections);
        if min > max {
            // Who asks by a call knows its fields, and no flags.
            let rule =
                format!("min_connections cannot be greater than max_connections: {min} > {max}");
            return Err(RequestError::invalid("min_connections", rule));
        }
        settings.check().map_err(|rule| RequestError::invalid("max_connections", rule))?;
        let most = self.context.live().most_connections();
        match settings.max_connections <= most {
            true => Ok(settings),
            false => {
                let rule = format!("max_connections must be 1 to {most} (max_connections_per_dsn)");
                Err(RequestError::invalid("max_connections", rule))
            }
        }
    }

    /// False: another tenant of the name was quicker.
    fn create(
        self: &Arc<Self>,
        id: &TenantId,
        put: &PutTenant,
        by: &CallerId,
    ) -> Result<bool, RequestError> {
        let missing = || RequestError::invalid("dsn", "dsn is required for a new tenant");
        let dsn = put.dsn.as_ref().ok_or_else(missing)?;
        if put.users.is_nobody() {
            let rule = "identities or anonymous is required for a new tenant";
            return Err(RequestError::invalid("identities", rule));
        }
        let settings = self.checked(put.settings(&self.context.live().pool))?;
        self.create_as(id, dsn, &settings, by)
    }

    /// The same of these settings.
    pub(super) fn create_as(
        self: &Arc<Self>,
        id: &TenantId,
        dsn: &Dsn,
        settings: &TenantPoolConfig,
        by: &CallerId,
    ) -> Result<bool, RequestError> {
        let tenant = self.configured_as(id, dsn, settings, Bringer::Operator(by))?;
        let limit = self.context.live().limits.max_backends;
        for _ in 0..=LOOKUPS {
            let full = self.write().find_room(&tenant, settings.max_connections, limit);
            match full {
                None => break,
                Some((used, limit)) => {
                    let gets = settings.max_connections;
                    if !self.make_room(&tenant, gets, used - limit) {
                        return Err(room::no_room(used, limit));
                    }
                }
            }
        }
        // A request finds it ready.
        tenant.begin();
        let named = name_if_free(&mut self.write(), &tenant, limit);
        if !matches!(named, Ok(true)) {
            tenant.end(RequestError::TenantNotFound(id.clone()));
        }
        self.context.keeper.due(clock::now());
        named
    }
}

fn name_if_free(
    known: &mut Known,
    tenant: &Arc<Tenant>,
    limit: usize,
) -> Result<bool, RequestError> {
    if known.find(tenant.id()).is_some() {
        return Ok(false);
    }
    let used = known.named().count() + 1;
    if used > TENANTS_MAX {
        return Err(RequestError::ServiceLimit { what: "tenants", used, limit: TENANTS_MAX });
    }
    if let Some((used, limit)) = known.find_room(tenant, tenant.setup().permits, limit) {
        return Err(room::no_room(used, limit));
    }
    known.name_configured(tenant);
    Ok(true)
}

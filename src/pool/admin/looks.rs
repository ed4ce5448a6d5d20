//! Lists of tenants, leases and backends, in pages.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use crate::config::changes::ChangeKind;
use crate::config::TenantPoolConfig;
use crate::core::access::TenantUsers;
use crate::core::ids::TenantId;
use crate::core::lease_table::LeaseView;
use crate::error::RequestError;
use crate::pool::service::Service;
use crate::pool::snapshot::TenantSnapshot;
use crate::pool::store::ListedBackend;
use crate::pool::tenant::Tenant;

/// A part of a list.
pub struct Page<K, T> {
    /// Its entries in order, each with its key: the next page goes on behind the last.
    pub entries: Vec<(K, T)>,
    /// There are more.
    pub more: bool,
}

/// A tenant as a list has it.
pub struct ListedTenant {
    /// A look at it.
    pub now: TenantSnapshot,
    /// What it comes from.
    pub source: TenantSource,
    /// An operator has changed it from what came from there.
    pub is_changed: bool,
    /// Who may use it, if that was said.
    pub users: TenantUsers,
}

/// What a tenant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantSource {
    /// A DSN that a client has sent.
    Client,
    /// The configuration file.
    File,
    /// An operator, while the service runs.
    Operator,
}

/// A tenant with its settings.
pub struct ShownTenant {
    /// As a list has it.
    pub listed: ListedTenant,
    pub settings: TenantPoolConfig,
    /// The servers of its DSN.
    pub servers: String,
    /// The database of its DSN.
    pub database: String,
    /// The role of its DSN.
    pub user: String,
    /// How its connections are secured.
    pub sslmode: &'static str,
    /// Since when its DSN is what it is.
    pub since: Instant,
}

impl<K, T> Page<K, T> {
    /// The first `size` of these.
    fn first(mut entries: Vec<(K, T)>, size: usize) -> Page<K, T> {
        let more = entries.len() > size;
        entries.truncate(size);
        Page { entries, more }
    }
}

impl Service {
    /// A tenant that was looked at. What is told of its source is the same after a restart.
    fn listed(&self, now: TenantSnapshot, tenant: &Tenant) -> ListedTenant {
        let (id, catalog) = (tenant.id(), self.registry.catalog());
        let of_file = catalog.tenants.get(id);
        let (source, is_changed) = match (tenant.configured, of_file) {
            (false, _) => (TenantSource::Client, tenant.account.changed.load(Ordering::Relaxed)),
            (true, None) => (TenantSource::Operator, false),
            (true, of_file) => {
                let changed = self.registry.changed_from(id, of_file);
                (TenantSource::File, changed.is_some_and(|it| it.change != ChangeKind::Same))
            }
        };
        let users = self.context().access.now().users_of(id).cloned().unwrap_or_default();
        ListedTenant { now, source, is_changed, users }
    }

    /// The tenants behind this name, in the order of their names.
    pub fn list_tenants(
        &self,
        after: Option<&TenantId>,
        size: usize,
    ) -> Page<TenantId, ListedTenant> {
        let mut tenants = self.registry.named();
        tenants.retain(|tenant| after.is_none_or(|after| tenant.id() > after));
        tenants.sort_by(|a, b| a.id().cmp(b.id()));
        let more = tenants.len() > size;
        tenants.truncate(size);
        let looks = self.look_at_these(&tenants).0.into_iter();
        let listed = looks.zip(&tenants).map(|(now, tenant)| self.listed(now, tenant));
        let entries = listed.map(|listed| (listed.now.tenant.clone(), listed)).collect();
        Page { entries, more }
    }

    /// Does something with a tenant. Returns how it is afterwards.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(super) fn with_tenant(
        &self,
        id: &TenantId,
        work: impl FnOnce(&Arc<Tenant>),
    ) -> Result<ListedTenant, RequestError> {
        let found = self.registry.find(id);
        let tenant = found.ok_or_else(|| RequestError::TenantNotFound(id.clone()))?;
        work(&tenant);
        Ok(self.listed(self.look_at(&tenant), &tenant))
    }

    /// One tenant.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn show_tenant(&self, id: &TenantId) -> Result<ShownTenant, RequestError> {
        let found = self.registry.find(id);
        let tenant = found.ok_or_else(|| RequestError::TenantNotFound(id.clone()))?;
        let listed = self.listed(self.look_at(&tenant), &tenant);
        let backends = tenant.backends();
        let origin = &backends.origin;
        // A resized gate has other numbers than its pool was made with.
        let max_connections = listed.now.figures.max;
        Ok(ShownTenant {
            settings: TenantPoolConfig { max_connections, ..backends.settings.clone() },
            servers: origin.connect.servers(),
            database: origin.dsn.dbname.clone(),
            user: origin.dsn.user.clone(),
            sslmode: origin.dsn.tls.mode.as_str(),
            since: origin.since,
            listed,
        })
    }

    /// The leases of a tenant, or of all, that were granted after this one, in the order of
    /// the grants.
    ///
    /// # Errors
    /// If there is no tenant of this name, and no lease of a former one.
    pub fn list_leases(
        &self,
        tenant: Option<&TenantId>,
        after: Option<u64>,
        size: usize,
    ) -> Result<Page<u64, LeaseView>, RequestError> {
        if let Some(id) = tenant {
            if self.registry.find(id).is_none() && self.leases.count_of(id) == 0 {
                return Err(RequestError::TenantNotFound(id.clone()));
            }
        }
        Ok(Page::first(self.leases.page(tenant, after, size + 1), size))
    }

    /// The open backends of a tenant behind this one, in the order in which they were opened.
    ///
    /// # Errors
    /// If there is no tenant of this name.
    pub fn list_backends(
        &self,
        id: &TenantId,
        after: Option<u64>,
        size: usize,
    ) -> Result<Page<u64, ListedBackend>, RequestError> {
        let found = self.registry.find(id);
        let tenant = found.ok_or_else(|| RequestError::TenantNotFound(id.clone()))?;
        Ok(Page::first(tenant.backends().store.list(after, size + 1), size))
    }
}

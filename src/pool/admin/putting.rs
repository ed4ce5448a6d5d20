//! A tenant that an operator creates, or gives another DSN.

use crate::core::access::IdentityPattern;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::error::RequestError;
use crate::pool::admin::actions::Administration;
use crate::pool::admin::looks::ListedTenant;
use crate::pool::keeping::Touch;
use crate::pool::registry::putting::PutTenant;

impl Administration<'_> {
    /// Creates a tenant, or changes it. True: it was created.
    ///
    /// # Errors
    /// If a setting breaks a rule, a new tenant has no DSN, or there is no room for so many
    /// connections.
    pub fn put(
        &self,
        id: &TenantId,
        put: &PutTenant,
    ) -> Result<(ListedTenant, bool), RequestError> {
        let known = self.expect_known_users(put);
        let done = known.and_then(|()| self.service.registry.put(id, put, self.by.id()));
        let done = done.and_then(|created| match created {
            true => Ok((self.service.with_tenant(id, |_| ())?, true)),
            false => Ok((self.changed(id)?, false)),
        });
        let max_connections = match &done {
            Ok((after, _)) => format!(" max_connections={}", after.now.figures.max),
            Err(_) => String::new(),
        };
        self.touched(id, Touch::Settings, &done);
        let (to, users) = (destination(put), users(put));
        self.told("put", format_args!(" tenant={id}{max_connections}{to}{users}"), done)
    }

    /// A name that nobody has would open the tenant to whoever gets it later.
    fn expect_known_users(&self, put: &PutTenant) -> Result<(), RequestError> {
        let access = self.service.context().access.now();
        let mut names = put.users.identities.iter().filter_map(IdentityPattern::name);
        match names.find(|name| access.identity(name).is_none()) {
            None => Ok(()),
            Some(name) => {
                let rule = format!("identities has {name:?}, which is no identity of the service");
                Err(RequestError::invalid("identities", rule))
            }
        }
    }
}

/// Where a tenant that is put leads to, without its password.
fn destination(put: &PutTenant) -> String {
    let Some(dsn) = &put.dsn else { return String::new() };
    let servers: Vec<String> = dsn.hosts.iter().map(ToString::to_string).collect();
    format!(
        " server={} database={} user={}",
        Quoted(&servers.join(",")),
        Quoted(&dsn.dbname),
        Quoted(&dsn.user)
    )
}

/// Who may use it.
fn users(put: &PutTenant) -> String {
    if put.users.is_nobody() {
        return String::new();
    }
    let names: Vec<&str> = put.users.identities.iter().map(IdentityPattern::as_str).collect();
    format!(" identities={} anonymous={}", Quoted(&names.join(",")), put.users.anonymous)
}

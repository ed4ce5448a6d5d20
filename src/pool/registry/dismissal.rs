//! How an operator removes a tenant that is in use.

use super::Registry;
use crate::core::ids::TenantId;
use crate::error::Error;

impl Registry {
    /// Removes a tenant: those who wait are told that there is none, what rests is closed, and
    /// what is leased when it comes back. Until then its connections count against the limit of
    /// the service. Does not block.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(in crate::pool) fn dismiss(&self, id: &TenantId) -> Result<(), Error> {
        let why = || Error::TenantNotFound(id.clone());
        let tenant = self.find(id).ok_or_else(why)?;
        self.write().keep_former(&tenant);
        self.remove(&tenant);
        tenant.end(why());
        tenant.answer_line(&why());
        self.context.access.put(id, None);
        Ok(())
    }
}

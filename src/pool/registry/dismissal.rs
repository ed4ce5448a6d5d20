//! How an operator removes a tenant that is in use.

use super::Registry;
use crate::core::ids::TenantId;
use crate::error::RequestError;

impl Registry {
    /// Removes a tenant: waiting requests fail with that error, what is idle is closed, and what
    /// is leased when it comes back. Does not block.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(in crate::pool) fn dismiss(&self, id: &TenantId) -> Result<(), RequestError> {
        let why = || RequestError::TenantNotFound(id.clone());
        let tenant = self.find(id).ok_or_else(why)?;
        self.take_out(&tenant, why());
        self.context.access.put(id, None);
        Ok(())
    }
}

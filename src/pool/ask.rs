//! What is asked for beside the tenant.

use crate::core::lease_table::Terms;

/// What is asked for beside the tenant.
#[derive(Clone)]
pub struct Ask {
    /// The clocks of the lease.
    pub terms: Terms,
    /// Who holds it, for people.
    pub holder: String,
    /// The address it is asked for from.
    pub peer: String,
}

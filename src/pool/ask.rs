//! What is asked for beside the tenant.

use crate::core::callers::CallerId;
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
    /// The identity that it is bound to, if its caller has one.
    pub owner: Option<CallerId>,
}

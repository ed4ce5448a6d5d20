//! Guesses at the password of a tenant that is there.
//!
//! The DSN of a request is compared with that tenant's own, and PostgreSQL is not asked if they
//! are equal. So a client could guess passwords as fast as it can send requests. Therefore, after
//! a few wrong passwords from a host, only one request a second from there is compared, in turns.
//! Client connections that have shown the right password before are exempt.

use super::Registry;
use crate::clock;
use crate::config::dsn::Dsn;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::core::logins::LoginHistory;
use crate::error::{ConnectError, RequestError};
use crate::lock::Leaf;
use crate::pool::tenant::Tenant;

/// A tenant, and the host that its password is guessed from.
type GuessKey = (TenantId, Box<str>);

/// Places with guesses of late, of some 300 bytes each.
const PLACES_MAX: usize = 4096;
/// The guesses at the passwords of all tenants.
pub(super) struct Guesses(Leaf<LoginHistory<GuessKey>>);

impl Default for Guesses {
    fn default() -> Guesses {
        Guesses(Leaf::new(LoginHistory::new(PLACES_MAX)))
    }
}

impl Guesses {
    /// `by` has brought another password for this tenant.
    pub(super) fn another(&self, tenant: &TenantId, by: &CallerId) {
        self.0.lock().refused(&place(tenant, by), by, clock::now());
    }

    /// The tenant has another password now: those who brought it were right.
    pub(super) fn forget(&self, tenant: &TenantId) {
        self.0.lock().forget(|(of, _)| of == tenant);
    }
}

fn place(tenant: &TenantId, by: &CallerId) -> GuessKey {
    (tenant.clone(), by.host().into())
}

impl Registry {
    /// Whether a request of `by` may be compared with the DSN of a tenant.
    ///
    /// # Errors
    /// If passwords were guessed from its host, and it is not its turn.
    pub(super) fn may_compare(
        &self,
        tenant: &Tenant,
        dsn: &Dsn,
        by: &CallerId,
    ) -> Result<(), RequestError> {
        // Before PostgreSQL has let it in, its own password may be wrong.
        if tenant.is_opening() || tenant.backends().origin.acquainted.knows(by) {
            return Ok(());
        }
        let entered = self.guesses.0.lock().enter(&place(tenant.id(), by), by, clock::now());
        entered.map_err(|deferred| RequestError::Connect {
            tenant: tenant.id().clone(),
            cause: ConnectError::Deferred {
                target: "this service".to_owned(),
                user: dsn.user.clone(),
                refusals: deferred.refusals,
                retry: deferred.retry,
            },
        })
    }

    /// `by` has brought the DSN of a tenant. If that has yet to be opened, and its
    /// password is wrong, it goes, with those whom it knows.
    pub(super) fn acquaint(&self, tenant: &Tenant, by: &CallerId) {
        if !tenant.is_opening() && !tenant.backends().origin.acquainted.knows(by) {
            self.guesses.0.lock().let_in(&place(tenant.id(), by), by);
        }
        tenant.backends().origin.acquainted.note(by);
    }
}

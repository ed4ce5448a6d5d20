//! Another DSN for a name that a tenant has.
//!
//! Two kinds of them may take the name over, once PostgreSQL has let them in:
//!
//! * one with another password, at any time. PostgreSQL says which password is right.
//! * one with other servers, when the database was moved. Here PostgreSQL is no judge,
//!   for anybody may have a server that lets everybody in. So the password has to be the
//!   one of the tenant, which PostgreSQL has asked for; and nobody may be using the tenant,
//!   because otherwise work on both databases would be mixed.
//!
//! All others are refused until the tenant is forgotten. The error names the keys that
//! differ, and is the same whether the password is right: that may be guessed by one way
//! only, which is slowed down (`guesses`).
//!
//! Neither is a swap behind the tenant's gate, as a reload makes for a configured tenant. Whoever
//! claims has proven nothing yet: until PostgreSQL has let it in, it has a gate, a line and a
//! breaker of its own, and costs the tenant nothing. Afterwards the old leases keep their permits
//! to their end. At one gate the new password would wait for them, and a lease that is never
//! released would keep it out.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::known::{fingerprint_of, NameClaim};
use super::{room, Registry};
use crate::config::dsn::Dsn;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::error::RequestError;
use crate::logging;
use crate::pool::identity::{Difference, Identity};
use crate::pool::tenant::{Disuse, Tenant};

impl Registry {
    /// The tenant for a DSN that is not that of `found`, the tenant with the name.
    pub(super) fn another(
        self: &Arc<Self>,
        found: Option<Arc<Tenant>>,
        id: &TenantId,
        dsn: &Dsn,
        identity: Identity,
        by: &CallerId,
    ) -> Result<Arc<Tenant>, RequestError> {
        let known = match found {
            // Its DSN has led nowhere so far: another may be the right one.
            Some(tenant)
                if has_never_opened_and_fails(&tenant)
                    && !has_another_password(&tenant, identity) =>
            {
                self.remove(&tenant);
                tenant.end(mismatch(&tenant, dsn));
                self.register(id, dsn, identity, by)?
            }
            Some(tenant) => tenant,
            None => self.register(id, dsn, identity, by)?,
        };
        let claims = has_another_password(&known, identity)
            || has_other_servers(&known, identity) && !Disuse(&known).is_in_use();
        if claims && known.paused().is_some() {
            // The pause would not be that of who takes over.
            return Err(RequestError::TenantPaused(id.clone()));
        }
        let known = match claims {
            true => self.claim(id, dsn, identity, by)?,
            false => known,
        };
        match known.backends().origin.identity.against(&identity) {
            Difference::None => return Ok(known),
            // With the right password it might have taken over.
            Difference::Both => self.guesses.another(id, by),
            Difference::Password | Difference::Servers | Difference::More => {}
        }
        Err(mismatch(&known, dsn))
    }

    /// Whoever has the name that this one claims with other servers closes, if nobody uses
    /// it. Looked at and closed in one step; the name changes hands after it.
    pub(super) fn clear_the_way(&self, tenant: &Tenant) {
        let before = self.read().claimed_by(tenant).cloned();
        let wanted = &tenant.backends().origin;
        let moved = before.filter(|before| has_other_servers(before, wanted.identity));
        moved
            .into_iter()
            .for_each(|before| Disuse(&before).stand_down(mismatch(&before, &wanted.dsn)));
    }

    /// A tenant has its first backend. False: it claims a name and does not get it, or
    /// there is no room for its connections.
    pub(super) fn has_opened(&self, tenant: &Arc<Tenant>) -> bool {
        let claim = self.settle(tenant);
        if let NameClaim::Full { used, limit } = claim {
            self.give_up(tenant, room::no_room(used, limit));
            return false;
        }
        if tenant.stop_opening() {
            self.opening.fetch_sub(1, Ordering::AcqRel);
            let opened = (tenant.id().clone(), fingerprint_of(tenant));
            self.away.lock().remove(&opened);
        }
        match claim {
            NameClaim::Good(before) => {
                self.tell_change(&before, tenant);
                if before.stop_opening() {
                    self.opening.fetch_sub(1, Ordering::AcqRel);
                }
                before.end(mismatch(&before, &tenant.backends().origin.dsn));
                true
            }
            NameClaim::Bad => {
                let named = self.find(tenant.id()).unwrap_or_else(|| Arc::clone(tenant));
                tenant.end(mismatch(tenant, &named.backends().origin.dsn));
                false
            }
            NameClaim::None | NameClaim::Full { .. } => true,
        }
    }

    fn tell_change(&self, before: &Tenant, after: &Tenant) {
        let id = after.id();
        let (old, new) = (before.backends(), after.backends());
        let (old, new) = (&old.origin, &new.origin);
        if old.identity.against(&new.identity) == Difference::Servers {
            // Who still has the old DSN moves it back, so somebody should look.
            if logging::admits("servers_changed", Some(id)) {
                let (from, to) = (old.connect.servers(), new.connect.servers());
                log::warn!(
                    "event=servers_changed tenant={id} from={} to={} database={} user={} {}",
                    Quoted(&from),
                    Quoted(&to),
                    Quoted(&new.dsn.dbname),
                    Quoted(&new.dsn.user),
                    new.brought_by,
                );
            }
            return;
        }
        self.guesses.forget(id);
        if logging::admits("password_changed", Some(id)) {
            log::info!("event=password_changed tenant={id}");
        }
    }
}

/// True for a tenant that has yet to be opened, and whose database was away when it was looked
/// for: its DSN may be wrong.
fn has_never_opened_and_fails(tenant: &Tenant) -> bool {
    tenant.is_opening() && tenant.backends().breaker.has_failed_lately()
}

/// True if the tenant's DSN differs from this one in its password only, and PostgreSQL may
/// say which is right: where it let this tenant in without one, any would do.
pub(super) fn has_another_password(tenant: &Tenant, other: Identity) -> bool {
    let origin = &tenant.backends().origin;
    let differs = origin.identity.against(&other) == Difference::Password;
    differs && (tenant.is_opening() || origin.was_asked())
}

/// True if the tenant's DSN differs from this one in its servers only, and PostgreSQL has
/// asked for the password: a client that sends it is no stranger.
fn has_other_servers(tenant: &Tenant, other: Identity) -> bool {
    let origin = &tenant.backends().origin;
    let differs = origin.identity.against(&other) == Difference::Servers;
    differs && !tenant.is_opening() && origin.was_asked()
}

/// What to tell who brings this DSN, which is not the tenant's own.
fn mismatch(tenant: &Tenant, other: &Dsn) -> RequestError {
    tenant.backends().origin.mismatch(tenant.id(), other)
}

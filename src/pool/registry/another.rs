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

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::known::Claim;
use super::{room, Registry};
use crate::config::dsn::Dsn;
use crate::core::callers::CallerId;
use crate::core::gate::Gate;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::error::Error;
use crate::logging;
use crate::pool::identity::{Difference, Identity};
use crate::pool::job::Job;
use crate::pool::tenant::Tenant;

impl Registry {
    /// The tenant for a DSN that is not that of `found`, whoever has the name.
    pub(super) fn another(
        self: &Arc<Self>,
        found: Option<Arc<Tenant>>,
        id: &TenantId,
        dsn: &Dsn,
        identity: Identity,
        by: &CallerId,
    ) -> Result<Arc<Tenant>, Error> {
        let known = match found {
            // Its DSN has led nowhere so far: another may be the right one.
            Some(tenant) if tenant.is_in_vain() && !tenant.has_another_password(identity) => {
                self.remove(&tenant);
                tenant.displace(dsn);
                self.register(id, dsn, identity, by)?
            }
            Some(tenant) => tenant,
            None => self.register(id, dsn, identity, by)?,
        };
        let claims = known.has_another_password(identity)
            || known.has_other_servers(identity) && !known.is_in_use();
        let known = match claims {
            true => self.claim(id, dsn, identity, by)?,
            false => known,
        };
        match known.identity().against(&identity) {
            Difference::None => return Ok(known),
            // With the right password it might have taken over.
            Difference::Both => self.guesses.another(id, by),
            Difference::Password | Difference::Servers | Difference::More => {}
        }
        Err(known.mismatch(dsn))
    }

    /// Whoever has the name that this one claims with other servers closes, if nobody uses
    /// it. Looked at and closed in one step; the name changes hands after it.
    pub(super) fn clear_the_way(&self, tenant: &Tenant) {
        let before = self.read().claimed_by(tenant).cloned();
        let moved = before.filter(|before| before.has_other_servers(tenant.identity()));
        moved.into_iter().for_each(|before| before.stand_down(&tenant.dsn));
    }

    /// A tenant has its first backend. False: it claims a name and does not get it, or
    /// there is no room for its connections.
    pub(in crate::pool) fn opened(&self, tenant: &Arc<Tenant>) -> bool {
        let claim = self.settle(tenant);
        if let Claim::Full { used, limit } = claim {
            self.give_up(tenant, room::no_room(used, limit));
            return false;
        }
        if tenant.stop_opening() {
            self.opening.fetch_sub(1, Ordering::AcqRel);
            self.away.lock().remove(&(tenant.id().clone(), tenant.fingerprint()));
        }
        match claim {
            Claim::Good(before) => {
                self.tell_change(&before, tenant);
                if before.stop_opening() {
                    self.opening.fetch_sub(1, Ordering::AcqRel);
                }
                before.displace(&tenant.dsn);
                true
            }
            Claim::Bad => {
                let named = self.find(tenant.id());
                tenant.displace(named.as_ref().map_or(&tenant.dsn, |named| &named.dsn));
                false
            }
            Claim::None | Claim::Full { .. } => true,
        }
    }

    fn tell_change(&self, before: &Tenant, after: &Tenant) {
        let id = after.id();
        if before.identity().against(&after.identity()) == Difference::Servers {
            // Who still has the old DSN moves it back, so somebody should look.
            if logging::admits("servers_changed", Some(id)) {
                let (from, to) = (before.connect.servers(), after.connect.servers());
                log::warn!(
                    "event=servers_changed tenant={id} from={} to={} database={} user={} peer={}",
                    Quoted(&from),
                    Quoted(&to),
                    Quoted(&after.dsn.dbname),
                    Quoted(&after.dsn.user),
                    after.brought_by().as_str(),
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

impl Tenant {
    /// True if its DSN differs from this one in its password only, and PostgreSQL may
    /// say which is right: where it let this tenant in without one, any would do.
    pub(super) fn has_another_password(&self, other: Identity) -> bool {
        let differs = self.identity().against(&other) == Difference::Password;
        differs && (self.is_opening() || self.was_asked())
    }

    /// True if its DSN differs from this one in its servers only, and PostgreSQL has
    /// asked for the password: whoever brings it is no stranger.
    fn has_other_servers(&self, other: Identity) -> bool {
        let differs = self.identity().against(&other) == Difference::Servers;
        differs && !self.is_opening() && self.was_asked()
    }

    /// True while there is a lease, a one-shot, a waiter or a listener.
    fn is_in_use(&self) -> bool {
        !self.hub.is_empty() || self.works(&self.gate())
    }

    /// True if more permits are out than for what the service does with the pool.
    fn works(&self, gate: &Gate<Job>) -> bool {
        let numbers = &self.numbers;
        let own = [&numbers.upkeep, &numbers.returning, &numbers.resetting];
        let own: usize = own.iter().map(|number| number.load(Ordering::Relaxed)).sum();
        gate.waiting() > 0 || gate.used() > own
    }

    /// Closes in favour of this DSN, unless it is in use.
    fn stand_down(self: &Arc<Self>, other: &Dsn) {
        if !self.hub.is_empty() {
            return;
        }
        let mut gate = self.gate();
        if self.works(&gate) {
            return;
        }
        // Closed in the same breath. Nobody waits, so nothing comes out.
        let waiting = gate.close();
        drop(gate);
        drop(waiting);
        self.displace(other);
    }

    /// This DSN takes its name. Whoever wants its own is told; leases go on.
    fn displace(self: &Arc<Self>, other: &Dsn) {
        self.end(self.mismatch(other));
    }

    /// What to tell who brings this DSN, which is not its own.
    fn mismatch(&self, other: &Dsn) -> Error {
        let mut keys = self.dsn.differing(other);
        if keys.is_empty() {
            keys.push("password".to_owned());
        }
        Error::DsnMismatch { tenant: self.id().clone(), keys }
    }
}

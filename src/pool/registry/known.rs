//! Which tenants there are, and which of them has the name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::pool::identity::{Difference, Fingerprint};
use crate::pool::open_backends::OpenBackends;
use crate::pool::tenant::{Setup, Tenant};

/// Claimants of one name at once, and of them those that one client connection brought:
/// a client that guesses leaves room for one that knows. How often passwords are tried
/// is bounded elsewhere (`core::logins`).
pub(super) const CLAIMANTS_MAX: usize = 16;
pub(super) const CLAIMANTS_PER_CALLER: usize = 2;

/// Tenants by name, and those who would take a name over.
#[derive(Default)]
pub(super) struct Known {
    named: HashMap<TenantId, Arc<Tenant>>,
    /// How many backends those of them that were opened may have.
    reserved: HashMap<TenantId, usize>,
    /// Their DSNs have another password, or other servers, than that of the tenant which
    /// has the name.
    /// The first that gets a connection takes the name.
    claimants: HashMap<(TenantId, Fingerprint), Arc<Tenant>>,
    /// The connections of those who had a name, as long as there are any.
    former: HashMap<TenantId, Vec<OpenBackends>>,
}

/// What becomes of a claim.
pub(super) enum NameClaim {
    /// There is none, or nobody has the name.
    None,
    /// The claim succeeded; this tenant had the name before.
    Good(Arc<Tenant>),
    /// The name stays where it is.
    Bad,
    /// It would be good, but there is no room for so many backends.
    Full {
        /// How many there would be.
        used: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// What becomes of a change of a tenant.
pub(super) enum Changing {
    /// It is installed, and is to take effect.
    Installed,
    /// Another change was quicker, or the tenant has gone.
    Beaten,
    /// There is no room for so many backends.
    Full {
        /// How many there would be.
        used: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// What tells the DSN of a tenant from others.
pub(super) fn fingerprint_of(tenant: &Tenant) -> Fingerprint {
    tenant.backends().origin.identity.dsn
}

fn claim_of(tenant: &Tenant) -> (TenantId, Fingerprint) {
    (tenant.id().clone(), fingerprint_of(tenant))
}

impl Known {
    /// The tenant that has this name.
    pub(super) fn find(&self, id: &TenantId) -> Option<&Arc<Tenant>> {
        self.named.get(id)
    }

    /// The one that would take its name over with the same DSN.
    pub(super) fn find_like(&self, claimant: &Tenant) -> Option<&Arc<Tenant>> {
        self.claimants.get(&claim_of(claimant))
    }

    /// Those that have a name.
    pub(super) fn named(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.named.values()
    }

    /// Those as well that would have one.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.named.values().chain(self.claimants.values())
    }

    /// How many would take this name over, and how many of them `by` has brought.
    pub(super) fn claimants(&self, id: &TenantId, by: &CallerId) -> (usize, usize) {
        let here = || self.claimants.values().filter(|one| one.id() == id);
        (here().count(), here().filter(|one| one.backends().origin.brought_by == *by).count())
    }

    /// Gives a tenant its name, which nobody has.
    pub(super) fn name(&mut self, tenant: &Arc<Tenant>) {
        self.named.insert(tenant.id().clone(), Arc::clone(tenant));
    }

    /// Gives a configured tenant its name, with its backends reserved although none is open.
    pub(super) fn name_configured(&mut self, tenant: &Arc<Tenant>) {
        self.name(tenant);
        self.reserved.insert(tenant.id().clone(), tenant.setup().permits);
    }

    /// Lets a tenant claim its name, which another has.
    pub(super) fn claim(&mut self, tenant: &Arc<Tenant>) {
        self.claimants.insert(claim_of(tenant), Arc::clone(tenant));
    }

    /// PostgreSQL has let a tenant in, and its backends are reserved. If it claims its
    /// name, it gets it from one whose DSN is another in its password only, provided that
    /// PostgreSQL has asked for that; or in its servers only, provided that it stands down.
    pub(super) fn settle(&mut self, tenant: &Arc<Tenant>, limit: usize) -> NameClaim {
        let named = self.named.get(tenant.id()).cloned();
        if !self.is_claimant(tenant) {
            return match named {
                Some(named) if is(&named, tenant) => self.reserve(tenant, limit),
                // It was taken out meanwhile.
                _ => NameClaim::None,
            };
        }
        let Some(before) = named else {
            let claim = self.reserve(tenant, limit);
            if matches!(claim, NameClaim::None) {
                self.remove_claim(tenant);
                self.name(tenant);
            }
            return claim;
        };
        let (old, new) = (before.backends(), tenant.backends());
        let good = match old.origin.identity.against(&new.origin.identity) {
            _ if before.configured => false,
            Difference::Password => new.origin.was_asked(),
            Difference::Servers => before.has_ended(),
            Difference::None | Difference::Both | Difference::More => false,
        };
        if !good {
            self.remove_claim(tenant);
            return NameClaim::Bad;
        }
        let claim = self.reserve(tenant, limit);
        if !matches!(claim, NameClaim::None) {
            return claim;
        }
        self.remove_claim(tenant);
        self.keep_former(&before);
        self.name(tenant);
        NameClaim::Good(before)
    }

    /// Reserves its backends, in place of those of the tenant that has its name.
    fn reserve(&mut self, tenant: &Tenant, limit: usize) -> NameClaim {
        let max = tenant.setup().permits;
        match self.find_room(tenant, max, limit) {
            Some((used, limit)) => NameClaim::Full { used, limit },
            None => {
                self.reserved.insert(tenant.id().clone(), max);
                NameClaim::None
            }
        }
    }

    /// How many backends there would be, and how many there may be, if a tenant had so many,
    /// and that is too many.
    pub(super) fn find_room(
        &mut self,
        tenant: &Tenant,
        max: usize,
        limit: usize,
    ) -> Option<(usize, usize)> {
        let before = self.counted(tenant.id());
        let used = self.budgeted() - before + max;
        // A new password takes no more than the old one did.
        (used > limit && max > before).then_some((used, limit))
    }

    /// Installs another setup at a tenant that has its name, with as many backends reserved as
    /// it may have. One that has yet to be opened has none reserved before that.
    pub(super) fn change(
        &mut self,
        tenant: &Tenant,
        before: &Setup,
        next: &Setup,
        limit: usize,
    ) -> Changing {
        let is_named = self.named.get(tenant.id()).is_some_and(|found| is(found, tenant));
        if let Some((used, limit)) = self.find_room(tenant, next.permits, limit) {
            return Changing::Full { used, limit };
        }
        if !(is_named && tenant.install(before, next)) {
            return Changing::Beaten;
        }
        if let Some(reserved) = self.reserved.get_mut(tenant.id()) {
            *reserved = next.permits;
        }
        Changing::Installed
    }

    /// The connections of a tenant that goes count as long as there are any.
    pub(super) fn keep_former(&mut self, tenant: &Tenant) {
        let former = self.former.entry(tenant.id().clone()).or_default();
        former.retain(|former| former.now() > 0);
        former.push(tenant.account.open.clone());
    }

    /// The tenant that has the name that this one claims.
    pub(super) fn claimed_by(&self, tenant: &Tenant) -> Option<&Arc<Tenant>> {
        let claimant = self.claimants.get(&claim_of(tenant));
        claimant.filter(|found| is(found, tenant)).and_then(|_| self.named.get(tenant.id()))
    }

    /// Backends of those who had this name.
    pub(super) fn open_before(&self, id: &TenantId) -> usize {
        self.former.get(id).into_iter().flatten().map(OpenBackends::now).sum()
    }

    /// Backends that are reserved for a name. One that may have fewer than before counts for
    /// what it still has.
    fn counted(&self, id: &TenantId) -> usize {
        self.reserved.get(id).map_or(0, |reserved| self.at_least(*reserved, id))
    }

    fn at_least(&self, reserved: usize, id: &TenantId) -> usize {
        let open = self.named.get(id).map_or(0, |tenant| tenant.account.open.now());
        open.max(reserved)
    }

    /// Backends that all together may have, and those of all who had a name.
    pub(super) fn budgeted(&mut self) -> usize {
        self.former.retain(|_, former| former.iter().any(|former| former.now() > 0));
        let former: usize = self.former.values().flatten().map(OpenBackends::now).sum();
        // All of them are looked at whenever a tenant is to have room.
        former + self.reserved.iter().map(|(id, it)| self.at_least(*it, id)).sum::<usize>()
    }

    fn is_claimant(&self, tenant: &Tenant) -> bool {
        self.claimants.get(&claim_of(tenant)).is_some_and(|found| is(found, tenant))
    }

    fn remove_claim(&mut self, tenant: &Tenant) -> Option<Arc<Tenant>> {
        let claim = claim_of(tenant);
        let found = self.claimants.get(&claim);
        found.filter(|found| is(found, tenant))?;
        self.claimants.remove(&claim)
    }

    /// Forgets a tenant. Returns it with whether it had its name, if it was known.
    pub(super) fn remove(&mut self, tenant: &Tenant) -> Option<(Arc<Tenant>, bool)> {
        if let Some(claimant) = self.remove_claim(tenant) {
            return Some((claimant, false));
        }
        self.named.get(tenant.id()).filter(|found| is(found, tenant))?;
        self.reserved.remove(tenant.id());
        self.named.remove(tenant.id()).map(|named| (named, true))
    }
}

fn is(found: &Arc<Tenant>, tenant: &Tenant) -> bool {
    std::ptr::eq(Arc::as_ptr(found), tenant)
}

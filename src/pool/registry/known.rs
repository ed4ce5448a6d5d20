//! Which tenants there are, and which of them has the name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::ids::TenantId;
use crate::pool::identity::Fingerprint;
use crate::pool::tenant::Tenant;

/// Claimants of one name at once. Each tries a password of a client's on
/// PostgreSQL, which is not to be flooded with them.
pub(super) const CLAIMANTS_MAX: usize = 4;

/// Tenants by name, and those who would take a name over.
#[derive(Default)]
pub(super) struct Known {
    named: HashMap<TenantId, Arc<Tenant>>,
    /// Their DSNs have another password than that of the tenant which has the name.
    /// Whoever gets a connection takes the name.
    claimants: HashMap<(TenantId, Fingerprint), Arc<Tenant>>,
}

fn claim_of(tenant: &Tenant) -> (TenantId, Fingerprint) {
    (tenant.id().clone(), tenant.fingerprint())
}

impl Known {
    /// The tenant that has this name.
    pub(super) fn find(&self, id: &TenantId) -> Option<&Arc<Tenant>> {
        self.named.get(id)
    }

    /// Whoever would take its name over with the same DSN.
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

    /// How many would take this name over.
    pub(super) fn claimants(&self, id: &TenantId) -> usize {
        self.claimants.keys().filter(|(name, _)| name == id).count()
    }

    /// Gives a tenant its name, which nobody has.
    pub(super) fn name(&mut self, tenant: &Arc<Tenant>) {
        self.named.insert(tenant.id().clone(), Arc::clone(tenant));
    }

    /// Lets a tenant claim its name, which another has.
    pub(super) fn claim(&mut self, tenant: &Arc<Tenant>) {
        self.claimants.insert(claim_of(tenant), Arc::clone(tenant));
    }

    /// The claim of a tenant is good: it gets its name. Returns whoever had that. A
    /// tenant that claims nothing changes nothing.
    pub(super) fn take_over(&mut self, tenant: &Tenant) -> Option<Arc<Tenant>> {
        let claimant = self.remove_claim(tenant)?;
        self.named.insert(claimant.id().clone(), claimant)
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
        self.named.remove(tenant.id()).map(|named| (named, true))
    }
}

fn is(found: &Arc<Tenant>, tenant: &Tenant) -> bool {
    std::ptr::eq(Arc::as_ptr(found), tenant)
}

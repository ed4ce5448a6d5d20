//! Leases in pages, for those who list them.

use super::Leases;
use crate::clock;
use crate::core::ids::{ConnectionId, TenantId};
use crate::core::lease_table::{EndReason, LeaseView};
use crate::error::CancelCause;

/// The most leases that are looked at while nobody else can: so many take some 30 µs.
const AT_ONCE: usize = 50;

/// The same where only numbers are compared: so many take some 10 µs.
const COMPARED_AT_ONCE: usize = 1000;

impl Leases {
    /// The lease of this public name.
    pub fn find_named(&self, name: &str) -> Option<ConnectionId> {
        let token = u64::from_str_radix(name.strip_prefix(NAME)?, 16).ok()?;
        // Each lease has one spelling.
        if name != lease_name(token) {
            return None;
        }
        let mut after = None;
        loop {
            let looked = self.table().find_token(token, after, COMPARED_AT_ONCE);
            match looked {
                Ok(id) => return Some(id),
                Err(None) => return None,
                Err(last) => after = last,
            }
        }
    }

    /// An operator has revoked the lease of this name.
    pub fn note_revoked(&self, name: &str) {
        self.revoked.lock().put(name.to_owned(), (), clock::now());
    }

    /// Whether an operator has revoked the lease of this name, as far as is still known.
    pub fn was_revoked(&self, name: &str) -> bool {
        self.revoked.lock().find(&name.to_owned(), clock::now()).is_some()
    }

    /// Ends a tenant's leases, whatever they do: what runs is cancelled. Returns how many.
    pub fn end_of(&self, tenant: &TenantId) -> usize {
        let ids = self.table().ids_of(tenant);
        let end = |id| self.revoke(id, EndReason::TenantRemoved, CancelCause::Revoked);
        // One may have ended by itself meanwhile.
        ids.iter().filter(|id| end(id).is_ok()).count()
    }

    /// Up to `size` leases of a tenant, or of all, that were granted after number `after`, each
    /// with its number, in the order of the grants.
    pub fn page(
        &self,
        tenant: Option<&TenantId>,
        mut after: Option<u64>,
        size: usize,
    ) -> Vec<(u64, LeaseView)> {
        let mut page = Vec::new();
        while page.len() < size {
            let wanted = AT_ONCE.min(size - page.len());
            let some = self.table().views_after(tenant, after, wanted, clock::now());
            let last = some.len() < wanted;
            after = some.last().map(|(number, _)| *number).or(after);
            page.extend(some);
            if last {
                break;
            }
        }
        page
    }
}

/// What the public name of a lease begins with.
const NAME: &str = "lease-";

/// The public name of the lease with this fencing token.
pub(super) fn lease_name(fencing_token: u64) -> String {
    format!("{NAME}{fencing_token:x}")
}

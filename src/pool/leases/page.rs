//! Leases in pages, for those who list them.

use super::Leases;
use crate::clock;
use crate::core::ids::TenantId;
use crate::core::lease_table::LeaseView;

/// The most leases that are looked at while nobody else can: so many take some 30 µs.
const AT_ONCE: usize = 50;

impl Leases {
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

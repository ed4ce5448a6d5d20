//! Logs which tenants run out of permits, and who holds them.

use std::collections::{BTreeMap, HashSet};

use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::core::lease_table::LeaseView;
use crate::core::quoted::Quoted;
use crate::logging;
use crate::pool::numbers::Figures;
use crate::pool::service::Service;
use crate::pool::tenant::Tenant;

/// The most holders named in one line.
const NAMED: usize = 10;

/// A tenant of fewer permits reaches four fifths of them with the last one only: then nothing
/// comes before its exhaustion that could be a warning.
const LEAST_PERMITS: usize = 5;

/// The tenants whose present shortage was logged.
#[derive(Default)]
pub(super) struct LoadLog {
    exhausted: HashSet<TenantId>,
    nearly: HashSet<TenantId>,
}

impl LoadLog {
    /// Logs a line for each tenant for which requests have begun to wait since the last look, and
    /// for each that has come near to that.
    pub(super) fn write(&mut self, service: &Service) {
        let before = std::mem::take(self);
        for tenant in service.registry.named() {
            let (figures, id) = (tenant.figures(), tenant.id());
            let was_near = before.nearly.contains(id);
            // A round of checks may use all.
            let (used, limit) = (figures.used.saturating_sub(figures.upkeep), figures.max);
            if is_near(used, limit, was_near) {
                self.nearly.insert(id.clone());
                if !was_near && logging::admits("pool_nearly_exhausted", Some(id)) {
                    log::warn!("event=pool_nearly_exhausted tenant={id} used={used} limit={limit}");
                }
            }
            // Otherwise the tenant is not exhausted; its server is full.
            if figures.waiting == 0 || figures.used < figures.max {
                continue;
            }
            self.exhausted.insert(id.clone());
            if !before.exhausted.contains(id) && logging::admits("pool_exhausted", Some(id)) {
                tell_exhausted(service, &tenant, &figures);
            }
        }
    }
}

/// Whether a tenant with so many permits in use is near its limit: with four fifths of them, and
/// from then on until it has fewer than three fifths, so that a load that goes up and down is
/// logged once.
fn is_near(used: usize, limit: usize, was_near: bool) -> bool {
    let fifths = if was_near { 3 } else { 4 };
    limit >= LEAST_PERMITS && 5 * used >= fifths * limit
}

fn tell_exhausted(service: &Service, tenant: &Tenant, figures: &Figures) {
    let (holders, more) = holders(&service.leases.views_of(tenant.id()));
    log::warn!(
        "event=pool_exhausted tenant={} used={} limit={} waiting={} holders={} \
         more_holders={more}",
        tenant.id(),
        figures.used,
        figures.max,
        figures.waiting,
        Quoted(&holders)
    );
}

/// The holders of these leases with their counts, the largest first; and how many holders are not
/// named.
fn holders(leases: &[LeaseView]) -> (String, usize) {
    let mut counts: BTreeMap<(&str, Option<&CallerId>), usize> = BTreeMap::new();
    for view in leases {
        let facts = &view.facts;
        *counts.entry((&facts.holder, facts.identity.as_ref())).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = counts.len().saturating_sub(NAMED);
    let named = counts.iter().take(NAMED).map(|((holder, identity), count)| match identity {
        Some(identity) => format!("{holder} of {} ({count})", identity.as_str()),
        None => format!("{holder} ({count})"),
    });
    (named.collect::<Vec<_>>().join(", "), more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_near_its_limit_from_four_fifths_until_it_is_below_three() {
        let looks = |limit, seen: &[usize]| {
            let mut was_near = false;
            let mut look = |used: &usize| {
                was_near = is_near(*used, limit, was_near);
                was_near
            };
            seen.iter().map(&mut look).collect::<Vec<_>>()
        };
        let seen = looks(10, &[0, 7, 8, 10, 7, 6, 5, 7, 8]);
        assert_eq!(seen, [false, false, true, true, true, true, false, false, true]);
        assert_eq!(looks(5, &[3, 4, 3, 2]), [false, true, true, false]);
        assert_eq!(looks(4, &[4, 4]), [false, false], "exhausted, or nothing");
        // Of a limit that was lowered more may be in use.
        assert_eq!(looks(6, &[10, 2]), [true, false]);
    }
}

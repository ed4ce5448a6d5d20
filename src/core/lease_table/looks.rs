//! The reading calls of the table.

use super::super::ids::{ConnectionId, TenantId};
use super::entry::{Lease, LeasePhase};
use super::{Denied, LeaseTable, LeaseView};
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::time::{Duration, Instant};

/// The numbers of each tenant's leases, so that reading one tenant does not visit the leases of
/// others.
#[derive(Debug, Default)]
pub(super) struct ByTenant(HashMap<TenantId, BTreeSet<u64>>);

impl ByTenant {
    pub(super) fn add(&mut self, tenant: &TenantId, number: u64) {
        match self.0.get_mut(tenant) {
            Some(own) => drop(own.insert(number)),
            None => drop(self.0.insert(tenant.clone(), BTreeSet::from([number]))),
        }
    }

    pub(super) fn remove(&mut self, tenant: &TenantId, number: u64) {
        let Some(own) = self.0.get_mut(tenant) else { return };
        own.remove(&number);
        if own.is_empty() {
            self.0.remove(tenant);
        }
    }

    /// How many leases each tenant has.
    #[cfg(test)]
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.values().map(BTreeSet::len)
    }
}

/// A summary of one tenant's leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Leases without a running operation or an open transaction.
    pub idle: usize,
    /// Leases without a running operation, with an open transaction.
    pub in_transaction: usize,
    /// Leases with a running operation.
    pub busy: usize,
    /// When the oldest lease was granted.
    pub oldest: Option<Instant>,
    /// Since when the oldest open transaction has been left by operations.
    pub oldest_transaction: Option<Instant>,
}

impl Summary {
    fn add<S, H>(mut self, lease: &Lease<S, H>) -> Summary {
        let record = &lease.record;
        match lease.phase {
            LeasePhase::Busy(_) => self.busy += 1,
            LeasePhase::Idle(_) if record.transaction.is_open() => self.in_transaction += 1,
            LeasePhase::Idle(_) => self.idle += 1,
        }
        let earlier = |a: Option<Instant>, b: Option<Instant>| a.into_iter().chain(b).min();
        self.oldest = earlier(self.oldest, Some(record.granted_at));
        self.oldest_transaction = earlier(self.oldest_transaction, record.transaction_since);
        self
    }
}

/// A lease whose clock has run out is included until `due` moves its checkout out: it still
/// occupies a backend.
impl<S, H: Clone> LeaseTable<S, H> {
    /// The present state of a lease, idle or busy.
    pub fn view(&self, id: &ConnectionId, now: Instant) -> Result<LeaseView, Denied> {
        let Some(lease) = self.numbers.get(id).and_then(|number| self.leases.get(number)) else {
            return Err(self.tombstones.denied(id, now));
        };
        match lease.ran_out(now) {
            Some((ended_at, reason)) => {
                Err(Denied::Ended(lease.record.tombstone(reason, ended_at)))
            }
            None => Ok(lease.view(now)),
        }
    }

    /// The handle that cancels the lease's operation; `None` if none runs.
    pub fn running(&self, id: &ConnectionId) -> Option<H> {
        match &self.leases.get(self.numbers.get(id)?)?.phase {
            LeasePhase::Busy(operation) => Some(operation.handle.clone()),
            LeasePhase::Idle(_) => None,
        }
    }

    fn of<'a>(&'a self, tenant: &TenantId) -> impl Iterator<Item = &'a Lease<S, H>> {
        let numbers = self.by_tenant.0.get(tenant).into_iter().flatten();
        numbers.filter_map(|number| self.leases.get(number))
    }

    /// How many leases a tenant has.
    pub fn count_of(&self, tenant: &TenantId) -> usize {
        self.by_tenant.0.get(tenant).map_or(0, BTreeSet::len)
    }

    /// A summary of a tenant's leases.
    pub fn summary_of(&self, tenant: &TenantId) -> Summary {
        self.of(tenant).fold(Summary::default(), Summary::add)
    }

    /// The ids of a tenant's leases, in the order of the grants.
    pub fn ids_of(&self, tenant: &TenantId) -> Vec<ConnectionId> {
        self.of(tenant).map(|lease| lease.record.id.clone()).collect()
    }

    /// A tenant's leases in the order of the grants.
    pub fn views_of(&self, tenant: &TenantId, now: Instant) -> Vec<LeaseView> {
        self.of(tenant).map(|lease| lease.view(now)).collect()
    }

    /// Up to `limit` leases of a tenant, or of all, that were granted after the lease of this
    /// number, each with its number, in the order of the grants.
    pub fn views_after(
        &self,
        tenant: Option<&TenantId>,
        after: Option<u64>,
        limit: usize,
        now: Instant,
    ) -> Vec<(u64, LeaseView)> {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let numbered = |(number, lease): (&u64, &Lease<S, H>)| (*number, lease.view(now));
        match tenant {
            None => self.leases.range(behind).take(limit).map(numbered).collect(),
            Some(tenant) => {
                let own = self.by_tenant.0.get(tenant).into_iter();
                let own = own.flat_map(|own| own.range(behind)).take(limit);
                own.filter_map(|number| self.leases.get_key_value(number)).map(numbered).collect()
            }
        }
    }

    /// The id of the lease with this fencing token, which is looked for among up to `limit` leases
    /// behind the one of number `after`.
    ///
    /// # Errors
    /// The number of the last one that was looked at, if there may be more; `None` if not.
    pub fn find_token(
        &self,
        fencing_token: u64,
        after: Option<u64>,
        limit: usize,
    ) -> Result<ConnectionId, Option<u64>> {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let (mut seen, mut last) = (0, None);
        for (number, lease) in self.leases.range(behind).take(limit) {
            if lease.record.facts.fencing_token == fencing_token {
                return Ok(lease.record.id.clone());
            }
            (seen, last) = (seen + 1, Some(*number));
        }
        Err(last.filter(|_| seen == limit))
    }

    /// The leases that have been held for longer than `limit`, in the order of the grants.
    pub fn held_longer(&self, limit: Duration, now: Instant) -> Vec<LeaseView> {
        let held = |lease: &Lease<S, H>| now.saturating_duration_since(lease.record.granted_at);
        // The table is in the order of the grants, so no lease after the first younger one is
        // older.
        let old = self.leases.values().take_while(|lease| held(lease) > limit);
        old.map(|lease| lease.view(now)).collect()
    }

    /// All leases in the order of the grants.
    #[cfg(test)]
    pub fn views(&self, now: Instant) -> Vec<LeaseView> {
        self.leases.values().map(|lease| lease.view(now)).collect()
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

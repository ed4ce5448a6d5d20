//! All leases: which checkout each has, until when, and how ended ones ended.

mod entry;
mod looks;
mod outcomes;
mod sweep;
mod tombstones;
mod view;

use super::deadlines::Deadlines;
use super::ids::ConnectionId;
use super::transaction::TransactionState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use looks::Summary;
pub use outcomes::{AllEnded, Denied, Due, Ended, Revoked};
pub use view::{EndReason, LeaseFacts, LeaseState, LeaseView, Left, Terms, Tombstone, Via};

use entry::{BusyWith, Lease, LeasePhase, LeaseRecord};
use looks::ByTenant;
use tombstones::Tombstones;

/// Every lease of the service, and for some time the tombstones of ended ones.
///
/// `S` is an idle checkout; `H` is a handle that cancels a running operation. A handle should be
/// cheap to clone and drop, as both happen in here. Invariants:
///
/// - A checkout is in the table or with the caller, never both. [`begin`](LeaseTable::begin) moves
///   it out, so having it is the proof that nobody else does.
/// - A lease ends once and never comes back. One that is idle and whose clock has run out is over
///   for every caller, even while [`due`](LeaseTable::due) has not yet moved its checkout out.
/// - A busy lease ends only with its operation, in [`end`](LeaseTable::end) or
///   [`lost`](LeaseTable::lost). Until then an end can only be asked for, and the first reason asked
///   for is the one that stays.
#[derive(Debug)]
pub struct LeaseTable<S, H: Clone> {
    /// Increases with every grant, so the numbers are in the order of the grants.
    next_number: u64,
    numbers: HashMap<ConnectionId, u64>,
    leases: BTreeMap<u64, Lease<S, H>>,
    by_tenant: ByTenant,
    deadlines: Deadlines<u64>,
    tombstones: Tombstones,
}

impl<S, H: Clone> LeaseTable<S, H> {
    /// An empty table that remembers up to `max_tombstones` ended leases for `tombstone_age`.
    pub fn new(max_tombstones: usize, tombstone_age: Duration) -> Self {
        LeaseTable {
            next_number: 0,
            numbers: HashMap::new(),
            leases: BTreeMap::new(),
            by_tenant: ByTenant::default(),
            deadlines: Deadlines::new(),
            tombstones: Tombstones::new(max_tombstones, tombstone_age),
        }
    }

    /// Grants a lease on a checkout and starts all its clocks.
    ///
    /// The id must be new; 16 random bytes ensure that.
    pub fn grant(
        &mut self,
        id: ConnectionId,
        facts: LeaseFacts,
        terms: Terms,
        checkout: S,
        now: Instant,
    ) -> LeaseView {
        self.tombstones.forget_old(now);
        debug_assert!(!self.numbers.contains_key(&id), "a connection id was granted twice");
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(id.clone(), number);
        self.by_tenant.add(&facts.tenant, number);
        let record = LeaseRecord {
            number,
            id,
            facts: Arc::new(facts),
            terms,
            granted_at: now,
            last_used_at: now,
            ttl_from: now,
            transaction: TransactionState::None,
            transaction_since: None,
            last_command: String::new(),
        };
        self.put_back(Lease { record, phase: LeasePhase::Idle(checkout) }, now)
    }

    /// Moves the checkout out for an operation that `handle` can cancel.
    ///
    /// Every `begin` that succeeds is followed by one [`end`](Self::end) or [`lost`](Self::lost).
    /// A lease whose clock has run out does not begin; its checkout stays for [`due`](Self::due).
    pub fn begin(
        &mut self,
        id: &ConnectionId,
        via: Via,
        handle: H,
        now: Instant,
    ) -> Result<(S, LeaseView), Denied> {
        let mut lease = self.take_via(id, via, now)?;
        match lease.phase {
            LeasePhase::Idle(checkout) => {
                lease.record.used(now);
                let phase = LeasePhase::Busy(BusyWith { handle, ending: None, overdue: false });
                Ok((checkout, self.put_back(Lease { record: lease.record, phase }, now)))
            }
            LeasePhase::Busy(_) => Err(Denied::Busy(Box::new(self.put_back(lease, now)))),
        }
    }

    /// Takes the checkout back after an operation, unless the lease has ended.
    ///
    /// It has ended if an end was requested meanwhile or its lifetime is over. Otherwise both idle
    /// clocks restart.
    pub fn end(
        &mut self,
        id: &ConnectionId,
        checkout: S,
        left: impl Into<Left>,
        now: Instant,
    ) -> Ended<S> {
        let (mut record, operation) = match self.take_busy(id, now) {
            Some(taken) => taken,
            None => return Ended::Unknown(checkout),
        };
        record.used(now);
        record.left(left.into(), now);
        let outlived = record.lifetime_end().is_some_and(|at| at <= now);
        match operation.ending.or(outlived.then_some(EndReason::MaxLifetime)) {
            Some(reason) => {
                let view = record.view(LeaseState::Idle, now);
                self.bury(record, reason, now);
                Ended::Over { checkout, view, reason }
            }
            None => {
                Ended::Kept(self.put_back(Lease { record, phase: LeasePhase::Idle(checkout) }, now))
            }
        }
    }

    /// Ends a busy lease whose checkout was lost.
    ///
    /// Returns the reason it ended with: the earlier one, if an end had been requested before.
    /// `None` means that no operation runs under this id.
    pub fn lost(
        &mut self,
        id: &ConnectionId,
        reason: EndReason,
        now: Instant,
    ) -> Option<(LeaseView, EndReason)> {
        let (record, operation) = self.take_busy(id, now)?;
        let reason = operation.ending.unwrap_or(reason);
        let view = record.view(LeaseState::Busy, now);
        self.bury(record, reason, now);
        Some((view, reason))
    }

    /// Ends an idle lease at its holder's request and moves the checkout out.
    pub fn release(
        &mut self,
        id: &ConnectionId,
        via: Via,
        now: Instant,
    ) -> Result<(S, LeaseView), Denied> {
        let lease = self.take_via(id, via, now)?;
        match lease.phase {
            LeasePhase::Idle(checkout) => {
                let view = lease.record.view(LeaseState::Idle, now);
                self.bury(lease.record, EndReason::Released, now);
                Ok((checkout, view))
            }
            LeasePhase::Busy(_) => Err(Denied::Busy(Box::new(self.put_back(lease, now)))),
        }
    }

    /// Ends a lease, idle or busy.
    ///
    /// A busy lease ends with its operation, which the caller should cancel. The reason of an
    /// earlier revocation stays.
    pub fn revoke(
        &mut self,
        id: &ConnectionId,
        reason: EndReason,
        now: Instant,
    ) -> Result<Revoked<S, H>, Denied> {
        let Lease { record, phase } = self.take(id, now)?;
        match phase {
            LeasePhase::Idle(checkout) => {
                let view = record.view(LeaseState::Idle, now);
                self.bury(record, reason, now);
                Ok(Revoked::Over { checkout, view })
            }
            LeasePhase::Busy(mut operation) => {
                operation.ending.get_or_insert(reason);
                let handle = operation.handle.clone();
                let view = self.put_back(Lease { record, phase: LeasePhase::Busy(operation) }, now);
                Ok(Revoked::Ending { handle, view })
            }
        }
    }

    /// Restarts the ttl clock of a lease that is used by calls, with a new length if one is given.
    ///
    /// A busy lease can be renewed too; if its end was requested, it still ends.
    pub fn renew(
        &mut self,
        id: &ConnectionId,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<LeaseView, Denied> {
        let mut lease = self.take_via(id, Via::Call, now)?;
        lease.record.ttl_from = now;
        lease.record.terms.ttl = ttl.unwrap_or(lease.record.terms.ttl);
        Ok(self.put_back(lease, now))
    }

    /// Takes out a lease that has not ended, for the duration of one call: `put_back` or `bury`
    /// follows.
    fn take(&mut self, id: &ConnectionId, now: Instant) -> Result<Lease<S, H>, Denied> {
        self.tombstones.forget_old(now);
        let Some(lease) = self.numbers.get(id).and_then(|number| self.leases.remove(number)) else {
            return Err(self.tombstones.denied(id, now));
        };
        match lease.ran_out(now) {
            Some((ended_at, reason)) => {
                let tombstone = lease.record.tombstone(reason, ended_at);
                self.leases.insert(lease.record.number, lease);
                Err(Denied::Ended(tombstone))
            }
            None => Ok(lease),
        }
    }

    /// Takes out a lease that is used in this way; any other stays.
    fn take_via(
        &mut self,
        id: &ConnectionId,
        via: Via,
        now: Instant,
    ) -> Result<Lease<S, H>, Denied> {
        let lease = self.take(id, now)?;
        if lease.record.facts.via == via {
            return Ok(lease);
        }
        Err(Denied::OtherWay(Box::new(self.put_back(lease, now))))
    }

    /// Takes out a lease under which an operation runs; any other stays.
    fn take_busy(&mut self, id: &ConnectionId, now: Instant) -> Option<(LeaseRecord, BusyWith<H>)> {
        let lease = self.take(id, now).ok()?;
        match lease.phase {
            LeasePhase::Busy(operation) => Some((lease.record, operation)),
            LeasePhase::Idle(_) => {
                self.put_back(lease, now);
                None
            }
        }
    }

    /// Puts a lease back and sets its deadline.
    fn put_back(&mut self, lease: Lease<S, H>, now: Instant) -> LeaseView {
        let (number, view) = (lease.record.number, lease.view(now));
        match lease.deadline() {
            Some(at) => self.deadlines.set(number, at),
            None => {
                self.deadlines.clear(&number);
            }
        }
        self.leases.insert(number, lease);
        view
    }

    /// Removes a lease that was taken out, and records its end.
    fn bury(&mut self, record: LeaseRecord, reason: EndReason, ended_at: Instant) {
        self.deadlines.clear(&record.number);
        self.numbers.remove(&record.id);
        self.by_tenant.remove(&record.facts.tenant, record.number);
        let tombstone = record.tombstone(reason, ended_at);
        self.tombstones.insert(record.id, tombstone);
    }
}

#[cfg(test)]
mod tests;

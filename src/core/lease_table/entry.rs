//! One lease in the table, and its clocks.

use super::super::ids::ConnectionId;
use super::super::transaction::TransactionState;
use super::{EndReason, LeaseFacts, LeaseState, LeaseView, Left, Terms, Tombstone};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An entry of the table.
#[derive(Debug)]
pub(super) struct Lease<S, H> {
    pub(super) record: LeaseRecord,
    pub(super) phase: LeasePhase<S, H>,
}

/// The facts of a lease that do not depend on its phase.
#[derive(Debug)]
pub(super) struct LeaseRecord {
    pub(super) number: u64,
    pub(super) id: ConnectionId,
    pub(super) facts: Arc<LeaseFacts>,
    pub(super) terms: Terms,
    pub(super) granted_at: Instant,
    pub(super) last_used_at: Instant,
    pub(super) ttl_from: Instant,
    pub(super) transaction: TransactionState,
    pub(super) transaction_since: Option<Instant>,
    pub(super) last_command: String,
}

/// Where the checkout is.
#[derive(Debug)]
pub(super) enum LeasePhase<S, H> {
    /// Here. Exit: `begin` to `Busy`, or out of the table.
    Idle(S),
    /// With an operation. Exit: `end` to `Idle`, or out of the table.
    Busy(BusyWith<H>),
}

#[derive(Debug)]
pub(super) struct BusyWith<H> {
    pub(super) handle: H,
    /// Set once: why the lease ends after this operation, if it does.
    pub(super) ending: Option<EndReason>,
    /// Whether it was reported as overdue.
    pub(super) overdue: bool,
}

impl<S, H> Lease<S, H> {
    pub(super) fn view(&self, now: Instant) -> LeaseView {
        let state = match self.phase {
            LeasePhase::Idle(_) => LeaseState::Idle,
            LeasePhase::Busy(_) => LeaseState::Busy,
        };
        self.record.view(state, now)
    }

    /// When and why an idle lease's clock ran out; `None` for a busy one.
    pub(super) fn ran_out(&self, now: Instant) -> Option<(Instant, EndReason)> {
        match self.phase {
            LeasePhase::Idle(_) => self.record.idle_clock().filter(|(at, _)| *at <= now),
            LeasePhase::Busy(_) => None,
        }
    }

    /// When `due` must look at the lease.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            LeasePhase::Idle(_) => self.record.idle_clock().map(|(at, _)| at),
            LeasePhase::Busy(operation) if operation.overdue => None,
            LeasePhase::Busy(_) => self.record.lifetime_end(),
        }
    }
}

impl LeaseRecord {
    /// Notes that an operation began or ended.
    pub(super) fn used(&mut self, now: Instant) {
        self.last_used_at = now;
        self.ttl_from = now;
    }

    /// Notes what an ended operation leaves behind.
    pub(super) fn left(&mut self, left: Left, now: Instant) {
        self.transaction = left.transaction;
        self.transaction_since =
            left.transaction.is_open().then(|| self.transaction_since.unwrap_or(now));
        self.last_command = left.command.unwrap_or_else(|| std::mem::take(&mut self.last_command));
    }

    /// `None` if the end is beyond what the clock can express.
    pub(super) fn lifetime_end(&self) -> Option<Instant> {
        self.granted_at.checked_add(self.terms.max_lifetime)
    }

    /// The clock that runs out first if the lease stays idle. Among clocks of the same moment, the
    /// one that nothing could have restarted.
    pub(super) fn idle_clock(&self) -> Option<(Instant, EndReason)> {
        let Terms { ttl, idle_in_transaction, .. } = self.terms;
        let transaction_end = match self.transaction.is_open() {
            true => self.last_used_at.checked_add(idle_in_transaction),
            false => None,
        };
        let clocks = [
            (self.lifetime_end(), EndReason::MaxLifetime),
            (transaction_end, EndReason::IdleInTransaction),
            (self.ttl_from.checked_add(ttl), EndReason::Ttl),
        ];
        // `min_by_key` returns the first of equal elements.
        clocks
            .into_iter()
            .filter_map(|(at, reason)| Some((at?, reason)))
            .min_by_key(|clock| clock.0)
    }

    pub(super) fn view(&self, state: LeaseState, now: Instant) -> LeaseView {
        let idle_for = match state {
            LeaseState::Idle => now.saturating_duration_since(self.ttl_from),
            LeaseState::Busy => Duration::ZERO,
        };
        let lasted = now.saturating_duration_since(self.granted_at);
        LeaseView {
            facts: Arc::clone(&self.facts),
            state,
            transaction: self.transaction,
            ttl: self.terms.ttl,
            idle_in_transaction: self.terms.idle_in_transaction,
            ttl_remaining: self.terms.ttl.saturating_sub(idle_for),
            lifetime_remaining: self.terms.max_lifetime.saturating_sub(lasted),
            last_command: self.last_command.clone(),
            granted_at: self.granted_at,
            last_used_at: self.last_used_at,
            transaction_since: self.transaction_since,
        }
    }

    pub(super) fn tombstone(&self, reason: EndReason, ended_at: Instant) -> Tombstone {
        Tombstone {
            lease_name: self.facts.lease_name.clone(),
            tenant: self.facts.tenant.clone(),
            reason,
            ended_at,
        }
    }
}

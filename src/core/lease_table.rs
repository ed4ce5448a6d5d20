//! All leases: who has which session, until when, and how those ended that did.

use super::deadlines::Deadlines;
use super::ids::{ConnectionId, TenantId};
use super::transaction::TransactionState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

/// Every lease of the service, and for a while the tombstones of those that ended.
///
/// `S` is a session at rest, `H` is how to cancel a running operation; a handle should be cheap to
/// clone and to drop, for both happen in here. Invariants:
///
/// - A session is in the table or with the caller, never both. [`begin`](LeaseTable::begin) moves it
///   out, so having it is the proof that nobody else does.
/// - A lease ends once and never comes back. One that is idle and whose clock has run out is over
///   for every caller, even while [`due`](LeaseTable::due) has not yet moved its session out.
/// - A busy lease ends only with its operation, in [`end`](LeaseTable::end) or
///   [`lost`](LeaseTable::lost). Until then an end can only be asked for, and the first reason asked
///   for is the one that stays.
#[derive(Debug)]
pub struct LeaseTable<S, H: Clone> {
    /// Grows with every grant, so the order of the numbers is the order of the grants.
    next_number: u64,
    numbers: HashMap<ConnectionId, u64>,
    leases: BTreeMap<u64, Lease<S, H>>,
    deadlines: Deadlines<u64>,
    tombstones: Tombstones,
}

/// The clocks of a lease. The allowed ranges are the caller's to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease may be idle. Restarted by the start and the end of every operation and by
    /// [`LeaseTable::renew`]; stands still while an operation runs.
    pub ttl: Duration,
    /// How long a lease may be idle with an open transaction. Runs from the end of the last
    /// operation, and nothing but an operation restarts it.
    pub idle_in_transaction: Duration,
    /// How long a lease may last at all. Runs from the grant and is never restarted.
    pub max_lifetime: Duration,
}

/// What may be told about a lease. Nothing in here gives the right to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The public name of the lease.
    pub lease_name: String,
    /// Whose backend it is.
    pub tenant: TenantId,
    /// The process id of the backend.
    pub backend_pid: i32,
    /// Grows from lease to lease, so that a system behind can turn down a late holder.
    pub fencing_token: u64,
    /// Who asked for the lease.
    pub holder: String,
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndReason {
    /// Its holder gave it back.
    Released,
    /// It was idle for too long.
    Ttl,
    /// It was idle for too long with an open transaction.
    IdleInTransaction,
    /// It lasted as long as a lease may.
    MaxLifetime,
    /// The session broke, or its state became unknown.
    BackendLost,
    /// An operator, or its holder by force, took it away.
    Revoked,
    /// It was granted to a caller that was gone before it could be told.
    Undelivered,
    /// Its tenant was taken out of service.
    TenantRemoved,
    /// The service stopped.
    Shutdown,
}

/// Whether an operation runs under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseState {
    /// The session is at rest. Exits: `begin` to `Busy`, or the end of the lease.
    Idle,
    /// An operation has the session. Exits: `end` to `Idle`, or the end of the lease.
    Busy,
}

/// A lease as it was at one moment; after its end, as it was last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// What may be told about it.
    pub facts: Facts,
    /// Whether an operation runs.
    pub state: LeaseState,
    /// The transaction state the last operation left behind.
    pub transaction: TransactionState,
    /// The length of the ttl clock.
    pub ttl: Duration,
    /// What is left on the ttl clock; all of it while busy, for it starts anew at the end.
    pub ttl_remaining: Duration,
    /// What is left of the longest time it may last.
    pub lifetime_remaining: Duration,
    /// When it was granted.
    pub granted_at: Instant,
    /// When an operation last began or ended; before the first one, the grant.
    pub last_used_at: Instant,
    /// Since when operations have left a transaction open: the end of the first that did.
    pub transaction_since: Option<Instant>,
}

/// What remains of a lease that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The public name of the lease.
    pub lease_name: String,
    /// Whose backend it was.
    pub tenant: TenantId,
    /// Why it ended.
    pub reason: EndReason,
    /// When it ended. If a clock of an idle lease ran out, the moment at which it did.
    pub ended_at: Instant,
}

/// Why something cannot be done with a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No lease has this id, and none that is still remembered had it.
    NotFound,
    /// An operation runs under the lease. The lease as it is; boxed, for it is large.
    Busy(Box<View>),
    /// The lease is over.
    Ended(Tombstone),
}

/// What [`LeaseTable::end`] made of the lease.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<S> {
    /// The lease goes on and has its session back.
    Kept(View),
    /// The lease ended with the operation, and the session is the caller's.
    Over {
        /// The session, to be reset or closed.
        session: S,
        /// The lease as it was last.
        view: View,
        /// Why it ended.
        reason: EndReason,
    },
    /// No operation runs under this id, so the table does not take the session. Whoever calls `end`
    /// once for every `begin`, and not after `lost`, does not see this.
    Unknown(S),
}

/// What [`LeaseTable::revoke`] came to.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Revoked<S, H> {
    /// The lease was idle and has ended.
    Over {
        /// The session, to be reset or closed.
        session: S,
        /// The lease as it was last.
        view: View,
    },
    /// The lease is busy and ends with its operation.
    Ending {
        /// How to cancel the operation.
        handle: H,
        /// The lease as it is.
        view: View,
    },
}

/// What the clocks ask for.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Due<S, H> {
    /// A clock of an idle lease ran out; the lease has ended.
    Over {
        /// The id it had.
        id: ConnectionId,
        /// The session, to be reset or closed.
        session: S,
        /// The lease as it was last.
        view: View,
        /// Which clock it was.
        reason: EndReason,
    },
    /// A busy lease has lasted as long as a lease may; it ends with its operation. Comes once.
    Overdue {
        /// Its id.
        id: ConnectionId,
        /// How to cancel the operation.
        handle: H,
        /// The lease as it is.
        view: View,
    },
}

/// What [`LeaseTable::end_all`] came to: the sessions of the leases that have ended, and how to
/// cancel the operations of those that are about to.
pub type AllEnded<S, H> = (Vec<(S, View)>, Vec<(H, View)>);

/// An entry of the table.
#[derive(Debug)]
struct Lease<S, H> {
    record: Record,
    phase: Phase<S, H>,
}

/// What is known of a lease in either phase.
#[derive(Debug)]
struct Record {
    number: u64,
    id: ConnectionId,
    facts: Facts,
    terms: Terms,
    granted_at: Instant,
    last_used_at: Instant,
    ttl_from: Instant,
    transaction: TransactionState,
    transaction_since: Option<Instant>,
}

/// Where the session is.
#[derive(Debug)]
enum Phase<S, H> {
    /// Here. Exit: `begin` to `Busy`, or out of the table.
    Idle(S),
    /// With an operation. Exit: `end` to `Idle`, or out of the table.
    Busy(Operation<H>),
}

#[derive(Debug)]
struct Operation<H> {
    handle: H,
    /// Set once: why the lease ends with this operation, if it does.
    ending: Option<EndReason>,
    /// Whether it has come out as overdue.
    overdue: bool,
}

impl<S, H: Clone> LeaseTable<S, H> {
    /// An empty table that remembers up to `max_tombstones` ended leases for `tombstone_age`.
    pub fn new(max_tombstones: usize, tombstone_age: Duration) -> Self {
        LeaseTable {
            next_number: 0,
            numbers: HashMap::new(),
            leases: BTreeMap::new(),
            deadlines: Deadlines::new(),
            tombstones: Tombstones::new(max_tombstones, tombstone_age),
        }
    }

    /// Makes a lease of a session. All clocks start.
    ///
    /// The id must be new, which 16 random bytes see to.
    pub fn grant(
        &mut self,
        id: ConnectionId,
        facts: Facts,
        terms: Terms,
        session: S,
        now: Instant,
    ) -> View {
        self.tombstones.forget_old(now);
        debug_assert!(!self.numbers.contains_key(&id), "a connection id was granted twice");
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(id.clone(), number);
        let record = Record {
            number,
            id,
            facts,
            terms,
            granted_at: now,
            last_used_at: now,
            ttl_from: now,
            transaction: TransactionState::None,
            transaction_since: None,
        };
        self.put_back(Lease { record, phase: Phase::Idle(session) }, now)
    }

    /// Moves the session out for an operation that `handle` can cancel.
    ///
    /// Every `begin` that succeeds is followed by one [`end`](Self::end) or [`lost`](Self::lost).
    /// A lease whose clock has run out does not begin; its session stays for [`due`](Self::due).
    pub fn begin(
        &mut self,
        id: &ConnectionId,
        handle: H,
        now: Instant,
    ) -> Result<(S, View), Denied> {
        let mut lease = self.take(id, now)?;
        match lease.phase {
            Phase::Idle(session) => {
                lease.record.used(now);
                let phase = Phase::Busy(Operation { handle, ending: None, overdue: false });
                Ok((session, self.put_back(Lease { record: lease.record, phase }, now)))
            }
            Phase::Busy(_) => Err(Denied::Busy(Box::new(self.put_back(lease, now)))),
        }
    }

    /// Takes the session back after an operation, unless the lease is over.
    ///
    /// It is over if an end was asked for meanwhile, or if it has lasted as long as a lease may. If
    /// it goes on, both idle clocks start anew.
    pub fn end(
        &mut self,
        id: &ConnectionId,
        session: S,
        transaction: TransactionState,
        now: Instant,
    ) -> Ended<S> {
        let (mut record, operation) = match self.take_busy(id, now) {
            Some(taken) => taken,
            None => return Ended::Unknown(session),
        };
        record.used(now);
        record.transaction = transaction;
        record.transaction_since =
            transaction.is_open().then(|| record.transaction_since.unwrap_or(now));
        let outlived = record.lifetime_end().is_some_and(|at| at <= now);
        match operation.ending.or(outlived.then_some(EndReason::MaxLifetime)) {
            Some(reason) => {
                let view = record.view(LeaseState::Idle, now);
                self.bury(record, reason, now);
                Ended::Over { session, view, reason }
            }
            None => Ended::Kept(self.put_back(Lease { record, phase: Phase::Idle(session) }, now)),
        }
    }

    /// Ends a busy lease whose session is gone.
    ///
    /// Returned is the reason it ended with: an earlier one, if an end had been asked for before.
    /// None means that no operation runs under this id.
    pub fn lost(
        &mut self,
        id: &ConnectionId,
        reason: EndReason,
        now: Instant,
    ) -> Option<(View, EndReason)> {
        let (record, operation) = self.take_busy(id, now)?;
        let reason = operation.ending.unwrap_or(reason);
        let view = record.view(LeaseState::Busy, now);
        self.bury(record, reason, now);
        Some((view, reason))
    }

    /// Ends an idle lease at its holder's wish and moves the session out.
    pub fn release(&mut self, id: &ConnectionId, now: Instant) -> Result<(S, View), Denied> {
        let lease = self.take(id, now)?;
        match lease.phase {
            Phase::Idle(session) => {
                let view = lease.record.view(LeaseState::Idle, now);
                self.bury(lease.record, EndReason::Released, now);
                Ok((session, view))
            }
            Phase::Busy(_) => Err(Denied::Busy(Box::new(self.put_back(lease, now)))),
        }
    }

    /// Ends a lease, idle or not; it is never denied as busy.
    ///
    /// A busy lease ends when its operation does, which the caller should cancel. The reason of an
    /// earlier revocation stays.
    pub fn revoke(
        &mut self,
        id: &ConnectionId,
        reason: EndReason,
        now: Instant,
    ) -> Result<Revoked<S, H>, Denied> {
        let Lease { record, phase } = self.take(id, now)?;
        match phase {
            Phase::Idle(session) => {
                let view = record.view(LeaseState::Idle, now);
                self.bury(record, reason, now);
                Ok(Revoked::Over { session, view })
            }
            Phase::Busy(mut operation) => {
                operation.ending.get_or_insert(reason);
                let handle = operation.handle.clone();
                let view = self.put_back(Lease { record, phase: Phase::Busy(operation) }, now);
                Ok(Revoked::Ending { handle, view })
            }
        }
    }

    /// Restarts the ttl clock, with a new length if one is given.
    ///
    /// A busy lease can be renewed too; if its end has been asked for, it ends all the same.
    pub fn renew(
        &mut self,
        id: &ConnectionId,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<View, Denied> {
        let mut lease = self.take(id, now)?;
        lease.record.ttl_from = now;
        lease.record.terms.ttl = ttl.unwrap_or(lease.record.terms.ttl);
        Ok(self.put_back(lease, now))
    }

    /// The lease as it is; a busy one is not denied.
    pub fn view(&self, id: &ConnectionId, now: Instant) -> Result<View, Denied> {
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

    /// Ends up to `limit` leases whose clocks have run out, the earliest first.
    ///
    /// Idle ones come out as [`Due::Over`]. A busy one past its longest life comes out as
    /// [`Due::Overdue`], once.
    #[must_use]
    pub fn due(&mut self, now: Instant, limit: usize) -> Vec<Due<S, H>> {
        self.tombstones.forget_old(now);
        let numbers = self.deadlines.pop_due(now, limit);
        let mut due = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(lease) = self.leases.remove(&number) else { continue };
            let ran_out = lease.ran_out(now);
            let Lease { record, phase } = lease;
            let id = record.id.clone();
            match (phase, ran_out) {
                (Phase::Idle(session), Some((ended_at, reason))) => {
                    let view = record.view(LeaseState::Idle, now);
                    self.bury(record, reason, ended_at);
                    due.push(Due::Over { id, session, view, reason });
                }
                (Phase::Busy(mut operation), _) => {
                    operation.overdue = true;
                    operation.ending.get_or_insert(EndReason::MaxLifetime);
                    let handle = operation.handle.clone();
                    let view = self.put_back(Lease { record, phase: Phase::Busy(operation) }, now);
                    due.push(Due::Overdue { id, handle, view });
                }
                // The deadline of an idle lease is its clock, so this is not reached; if it were,
                // the lease would only have been looked at too early.
                (phase @ Phase::Idle(_), None) => {
                    self.put_back(Lease { record, phase }, now);
                }
            }
        }
        due
    }

    /// When [`due`](Self::due) will next find something.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Ends all leases: the sessions of the idle ones, and the handles of the busy ones, which end
    /// with their operations. Both in the order of the grants.
    ///
    /// An idle lease whose clock has run out comes out too, and is remembered with the reason its
    /// holder may have been told already.
    #[must_use]
    pub fn end_all(&mut self, reason: EndReason, now: Instant) -> AllEnded<S, H> {
        self.tombstones.forget_old(now);
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for (_, lease) in mem::take(&mut self.leases) {
            let (ended_at, reason) = lease.ran_out(now).unwrap_or((now, reason));
            let Lease { record, phase } = lease;
            match phase {
                Phase::Idle(session) => {
                    idle.push((session, record.view(LeaseState::Idle, now)));
                    self.bury(record, reason, ended_at);
                }
                Phase::Busy(mut operation) => {
                    operation.ending.get_or_insert(reason);
                    let handle = operation.handle.clone();
                    let view = self.put_back(Lease { record, phase: Phase::Busy(operation) }, now);
                    busy.push((handle, view));
                }
            }
        }
        (idle, busy)
    }

    /// All leases in the order of the grants.
    ///
    /// One whose clock has run out is among them until `due` moves its session out: it still
    /// occupies a backend.
    pub fn views(&self, now: Instant) -> Vec<View> {
        self.leases.values().map(|lease| lease.view(now)).collect()
    }

    /// How many leases there are, those counted that [`views`](Self::views) shows.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Takes a lease that is not over out of its place, for the length of one call: it goes on to
    /// `put_back` or `bury`.
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

    /// The same for a lease under which an operation runs; any other stays.
    fn take_busy(&mut self, id: &ConnectionId, now: Instant) -> Option<(Record, Operation<H>)> {
        let lease = self.take(id, now).ok()?;
        match lease.phase {
            Phase::Busy(operation) => Some((lease.record, operation)),
            Phase::Idle(_) => {
                self.put_back(lease, now);
                None
            }
        }
    }

    /// Puts a lease in its place and sets its deadline.
    fn put_back(&mut self, lease: Lease<S, H>, now: Instant) -> View {
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

    /// Forgets a lease that was taken out, and remembers its end.
    fn bury(&mut self, record: Record, reason: EndReason, ended_at: Instant) {
        self.deadlines.clear(&record.number);
        self.numbers.remove(&record.id);
        let tombstone = record.tombstone(reason, ended_at);
        self.tombstones.insert(record.id, tombstone);
    }
}

impl EndReason {
    /// Every reason there is.
    pub const ALL: &'static [EndReason] = &[
        EndReason::Released,
        EndReason::Ttl,
        EndReason::IdleInTransaction,
        EndReason::MaxLifetime,
        EndReason::BackendLost,
        EndReason::Revoked,
        EndReason::Undelivered,
        EndReason::TenantRemoved,
        EndReason::Shutdown,
    ];

    /// The reason in snake case, as metrics and log lines name it.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Released => "released",
            EndReason::Ttl => "ttl",
            EndReason::IdleInTransaction => "idle_in_transaction",
            EndReason::MaxLifetime => "max_lifetime",
            EndReason::BackendLost => "backend_lost",
            EndReason::Revoked => "revoked",
            EndReason::Undelivered => "undelivered",
            EndReason::TenantRemoved => "tenant_removed",
            EndReason::Shutdown => "shutdown",
        }
    }
}

impl<S, H> Lease<S, H> {
    fn view(&self, now: Instant) -> View {
        let state = match self.phase {
            Phase::Idle(_) => LeaseState::Idle,
            Phase::Busy(_) => LeaseState::Busy,
        };
        self.record.view(state, now)
    }

    /// When and why an idle lease came to its end; a busy one goes on.
    fn ran_out(&self, now: Instant) -> Option<(Instant, EndReason)> {
        match self.phase {
            Phase::Idle(_) => self.record.idle_clock().filter(|(at, _)| *at <= now),
            Phase::Busy(_) => None,
        }
    }

    /// When `due` has to look at the lease.
    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle(_) => self.record.idle_clock().map(|(at, _)| at),
            Phase::Busy(operation) if operation.overdue => None,
            Phase::Busy(_) => self.record.lifetime_end(),
        }
    }
}

impl Record {
    /// An operation began or ended.
    fn used(&mut self, now: Instant) {
        self.last_used_at = now;
        self.ttl_from = now;
    }

    /// None if the clock has no end that can be told.
    fn lifetime_end(&self) -> Option<Instant> {
        self.granted_at.checked_add(self.terms.max_lifetime)
    }

    /// The clock that runs out first if the lease stays idle; of several at one moment, the one
    /// that nothing could have restarted.
    fn idle_clock(&self) -> Option<(Instant, EndReason)> {
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
        // Of equal elements the first is the minimum.
        clocks
            .into_iter()
            .filter_map(|(at, reason)| Some((at?, reason)))
            .min_by_key(|clock| clock.0)
    }

    fn view(&self, state: LeaseState, now: Instant) -> View {
        let idle_for = match state {
            LeaseState::Idle => now.saturating_duration_since(self.ttl_from),
            LeaseState::Busy => Duration::ZERO,
        };
        let lasted = now.saturating_duration_since(self.granted_at);
        View {
            facts: self.facts.clone(),
            state,
            transaction: self.transaction,
            ttl: self.terms.ttl,
            ttl_remaining: self.terms.ttl.saturating_sub(idle_for),
            lifetime_remaining: self.terms.max_lifetime.saturating_sub(lasted),
            granted_at: self.granted_at,
            last_used_at: self.last_used_at,
            transaction_since: self.transaction_since,
        }
    }

    fn tombstone(&self, reason: EndReason, ended_at: Instant) -> Tombstone {
        Tombstone {
            lease_name: self.facts.lease_name.clone(),
            tenant: self.facts.tenant.clone(),
            reason,
            ended_at,
        }
    }
}

/// The leases that ended last, bounded in number and in age.
#[derive(Debug)]
struct Tombstones {
    max: usize,
    age: Duration,
    by_id: HashMap<ConnectionId, Tombstone>,
    /// In the order of burial. Invariant: the same ids as in `by_id`.
    order: VecDeque<ConnectionId>,
}

impl Tombstones {
    fn new(max: usize, age: Duration) -> Self {
        Tombstones { max, age, by_id: HashMap::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, id: ConnectionId, tombstone: Tombstone) {
        self.order.push_back(id.clone());
        self.by_id.insert(id, tombstone);
        if self.order.len() > self.max {
            self.forget_first();
        }
    }

    /// What to answer for an id that has no lease. Too old a tombstone does not count, whether or
    /// not it has been dropped.
    fn denied(&self, id: &ConnectionId, now: Instant) -> Denied {
        match self.by_id.get(id) {
            Some(tombstone) if !self.is_old(tombstone, now) => Denied::Ended(tombstone.clone()),
            _ => Denied::NotFound,
        }
    }

    /// Drops old tombstones: more than one call adds on average, and few enough for every call.
    fn forget_old(&mut self, now: Instant) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let first = self.order.front().and_then(|id| self.by_id.get(id));
            if !first.is_some_and(|tombstone| self.is_old(tombstone, now)) {
                break;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(id) = self.order.pop_front() {
            self.by_id.remove(&id);
        }
    }

    fn is_old(&self, tombstone: &Tombstone, now: Instant) -> bool {
        now.saturating_duration_since(tombstone.ended_at) > self.age
    }
}

const FORGOTTEN_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests;

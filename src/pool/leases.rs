//! The lease table as the service uses it: one lock, short methods, and what has
//! to happen with the checkouts that come out.

mod page;
pub mod release;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::clock;
use crate::config::Limits;
use crate::core::expiring_map::ExpiringMap;
use crate::core::ids::{ConnectionId, TenantId};
use crate::core::lease_table::{
    Due, EndReason, Ended, LeaseFacts, LeaseTable, LeaseView, Left, Summary, Tombstone, Via,
};
use crate::error::{CancelCause, RequestError};
use crate::lock::Leaf;
use crate::logging;
use crate::metrics::Metrics;
use crate::pool::ask::Ask;
use crate::pool::checkout::Checkout;
use crate::pool::lease_log_line::{level_of_end, LeaseLogLine};
use crate::pool::work::operation::Operation;
use crate::random;
use crate::threads::bell::Bell;

type CheckoutTable = LeaseTable<Checkout, Arc<Operation>>;

/// The most names of revoked leases that are kept: those of a minute of sixteen a second.
const REVOKED: usize = 1000;

/// All leases of the service.
pub struct Leases {
    /// Every lease, with its checkout at rest. Never held over I/O, logging, or
    /// the drop of a checkout: those are moved out first.
    table: Mutex<CheckoutTable>,
    fencing: AtomicU64,
    bell: Bell,
    metrics: Metrics,
    /// Fencing tokens of leases that were warned of.
    warned: Leaf<HashSet<u64>>,
    /// The names of leases that operators have revoked.
    pub(super) revoked: Leaf<ExpiringMap<String, ()>>,
    /// Tells streams of the end of their leases, by fencing token.
    pub(super) streams: Leaf<HashMap<u64, oneshot::Sender<Tombstone>>>,
}

impl Leases {
    /// No leases yet.
    pub fn new(limits: &Limits, bell: Bell, metrics: Metrics) -> Arc<Leases> {
        Arc::new(Leases {
            table: Mutex::new(LeaseTable::new(limits.tombstones, limits.tombstone_age)),
            // Grows over restarts too, as long as the clock is not set back by
            // more than the time the service was down.
            fencing: AtomicU64::new(clock::unix_micros()),
            bell,
            metrics,
            warned: Leaf::default(),
            revoked: Leaf::new(ExpiringMap::new(REVOKED, limits.tombstone_age)),
            streams: Leaf::default(),
        })
    }

    fn table(&self) -> MutexGuard<'_, CheckoutTable> {
        // The table is consistent between its own calls, which do not panic half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fencing_token(&self) -> u64 {
        let now = clock::unix_micros();
        let next = |last: u64| Some(now.max(last + 1));
        let order = Ordering::AcqRel;
        match self.fencing.fetch_update(order, Ordering::Acquire, next) {
            Ok(last) | Err(last) => now.max(last + 1),
        }
    }

    /// A name for a lease, and what may be shown of it.
    pub(super) fn named(
        &self,
        checkout: &Checkout,
        ask: &Ask,
        via: Via,
    ) -> Result<(ConnectionId, LeaseFacts), RequestError> {
        let random = random::bytes()
            .map_err(|_| RequestError::Internal("no random bytes for a connection_id"))?;
        let tenant = checkout.account().id().clone();
        let fencing_token = self.fencing_token();
        let facts = LeaseFacts {
            lease_name: page::lease_name(fencing_token),
            backend_pid: checkout.taken.backend.pid(),
            fencing_token,
            holder: ask.holder.clone(),
            peer: ask.peer.clone(),
            identity: ask.owner.clone(),
            via,
            tenant,
        };
        Ok((ConnectionId::new(&facts.tenant, random).of(ask.owner.as_ref()), facts))
    }

    /// The lease is there from now on.
    pub(super) fn enter(
        &self,
        id: &ConnectionId,
        facts: LeaseFacts,
        checkout: Checkout,
        ask: &Ask,
    ) -> LeaseView {
        let now = clock::now();
        let series = checkout.account().series();
        let view = self.table().grant(id.clone(), facts, ask.terms, checkout, now);
        self.wake();
        series.granted();
        log::debug!("event=lease_granted {}", LeaseLogLine { view: &view, now });
        view
    }

    fn wake(&self) {
        let next = self.table().next_deadline();
        if let Some(at) = next {
            self.bell.due(at);
        }
    }

    /// Moves the checkout out for an operation.
    ///
    /// # Errors
    /// If there is no such lease, it has ended, or is busy.
    pub fn begin(
        &self,
        id: &ConnectionId,
        via: Via,
        operation: &Arc<Operation>,
    ) -> Result<(Checkout, LeaseView), RequestError> {
        let begun = self.table().begin(id, via, Arc::clone(operation), clock::now());
        Ok(begun?)
    }

    /// The operation that runs on a lease.
    pub(super) fn running(&self, id: &ConnectionId) -> Option<Arc<Operation>> {
        self.table().running(id)
    }

    /// The operation is over and its checkout comes back. True: the lease goes on.
    pub fn end(&self, id: &ConnectionId, checkout: Checkout, left: Left) -> bool {
        let now = clock::now();
        checkout.backends.worked(now);
        let ended = self.table().end(id, checkout, left, now);
        match ended {
            Ended::Kept(_) => {
                self.wake();
                true
            }
            Ended::Over { checkout, view, reason } => {
                self.over(&checkout, &view, reason);
                checkout.settle();
                false
            }
            Ended::Unknown(checkout) => {
                let (tenant, pid) = (checkout.account().id(), checkout.taken.backend.pid());
                log::error!("event=lease_end_unmatched tenant={tenant} pid={pid}");
                checkout.discard("unknown_lease");
                false
            }
        }
    }

    /// The checkout of a busy lease is lost.
    pub fn lost(&self, id: &ConnectionId, checkout: Checkout) {
        let ended = self.table().lost(id, EndReason::BackendLost, clock::now());
        if let Some((view, reason)) = ended {
            self.over(&checkout, &view, reason);
        }
        checkout.discard("lost");
    }

    /// Restarts a lease's time to live.
    ///
    /// # Errors
    /// If there is no such lease, or it has ended.
    pub fn renew(
        &self,
        id: &ConnectionId,
        ttl: Option<Duration>,
    ) -> Result<LeaseView, RequestError> {
        let view = self.table().renew(id, ttl, clock::now())?;
        self.wake();
        Ok(view)
    }

    /// Acts on what is due, up to `limit`. Returns when to look again.
    pub fn expire(&self, now: Instant, limit: usize) -> Option<Instant> {
        let mut table = self.table();
        let due = table.due(now, limit);
        let next = table.next_deadline();
        drop(table);
        for due in due {
            match due {
                Due::Over { checkout, view, reason, .. } => {
                    self.over(&checkout, &view, reason);
                    checkout.settle();
                }
                Due::Overdue { handle, .. } => handle.cancel(CancelCause::MaxLifetime),
            }
        }
        next
    }

    /// Ends every lease: idle ones now, busy ones by cancelling.
    pub fn end_all(&self, reason: EndReason) {
        let (idle, busy) = self.table().end_all(reason, clock::now());
        for (checkout, view) in idle {
            self.over(&checkout, &view, reason);
            checkout.settle();
        }
        for (operation, _) in busy {
            operation.cancel(CancelCause::Shutdown);
        }
    }

    fn over(&self, checkout: &Checkout, view: &LeaseView, reason: EndReason) {
        let (facts, now) = (&view.facts, clock::now());
        let held = now.saturating_duration_since(view.granted_at);
        checkout.account().series().ended(reason, held);
        let level = level_of_end(reason);
        // A stop names all that it ends, which comes once; others can be caused at will.
        let may_be_many = level < log::Level::Debug && reason != EndReason::Shutdown;
        if !may_be_many || logging::admits("lease_ended", Some(&facts.tenant)) {
            let (reason, line) = (reason.as_str(), LeaseLogLine { view, now });
            log::log!(level, "event=lease_ended reason={reason} {line}");
        }
        if facts.via == Via::Call {
            return;
        }
        let stream = self.streams.lock().remove(&facts.fencing_token);
        if let Some(stream) = stream {
            let (lease_name, tenant) = (facts.lease_name.clone(), facts.tenant.clone());
            // The stream may be gone; then nobody asks.
            let _ = stream.send(Tombstone { lease_name, tenant, reason, ended_at: now });
        }
    }

    /// A lease as it is.
    ///
    /// # Errors
    /// If there is no such lease, or it has ended.
    pub fn view(&self, id: &ConnectionId) -> Result<LeaseView, RequestError> {
        Ok(self.table().view(id, clock::now())?)
    }

    /// A tenant's live leases, oldest first.
    pub fn views_of(&self, tenant: &TenantId) -> Vec<LeaseView> {
        self.table().views_of(tenant, clock::now())
    }

    /// How many a tenant has.
    pub fn count_of(&self, tenant: &TenantId) -> usize {
        self.table().count_of(tenant)
    }

    /// A tenant's leases in numbers.
    pub fn summary_of(&self, tenant: &TenantId) -> Summary {
        self.table().summary_of(tenant)
    }

    /// Warns of each lease held for longer than `limit`, once. A leak shows here
    /// with the name of its holder.
    pub fn warn_of_leaks(&self, limit: Duration) {
        let now = clock::now();
        let views = self.table().held_longer(limit, now);
        let tokens: HashSet<u64> = views.iter().map(|view| view.facts.fencing_token).collect();
        let before = std::mem::replace(&mut *self.warned.lock(), tokens);
        for view in views.iter().filter(|view| !before.contains(&view.facts.fencing_token)) {
            self.metrics.of(&view.facts.tenant).leak_warned();
            log::warn!("event=lease_held_too_long {}", LeaseLogLine { view, now });
        }
    }

    /// How many are alive.
    pub fn count(&self) -> usize {
        self.table().len()
    }
}

//! The lease table as the service uses it: one lock, short methods, and what has
//! to happen with the sessions that come out.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Limits;
use crate::core::ids::ConnectionId;
use crate::core::lease_table::{
    Denied, Due, EndReason, Ended, Facts, LeaseTable, Revoked, Terms, View,
};
use crate::core::transaction::TransactionState;
use crate::error::{CancelCause, Error};
use crate::metrics::Metrics;
use crate::pool::alarms::Bell;
use crate::pool::job::Session;
use crate::pool::operation::Operation;
use crate::pool::tenant::Tenant;

type Table = LeaseTable<Session, Arc<Operation>>;

/// All leases of the service.
pub struct Leases {
    /// Every lease, with its session at rest. Never held over I/O, logging, or
    /// the drop of a session: those are moved out first.
    table: Mutex<Table>,
    fencing: AtomicU64,
    bell: Bell,
    metrics: Metrics,
    /// Fencing tokens of leases that were warned of. A leaf lock.
    warned: Mutex<HashSet<u64>>,
}

/// A lease that was granted and is on its way to its caller.
pub struct Grant {
    /// Its secret name.
    pub id: ConnectionId,
    /// What may be shown.
    pub view: View,
    /// Takes it back unless it is delivered.
    pub undelivered: Undelivered,
}

/// Ends a lease that nobody has heard of, when dropped before `delivered`.
pub struct Undelivered {
    pending: Option<(Arc<Leases>, ConnectionId)>,
}

impl Undelivered {
    /// The grant has reached its caller.
    pub fn delivered(mut self) {
        self.pending = None;
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let Some((leases, id)) = self.pending.take() {
            // It may have ended by itself meanwhile.
            let _ = leases.revoke(&id, EndReason::Undelivered, CancelCause::Caller);
        }
    }
}

/// What a release did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The lease ended; no transaction was open.
    Released,
    /// The lease ended; its transaction was rolled back.
    RolledBack,
    /// It had ended before.
    AlreadyEnded(EndReason),
    /// Its operation is being cancelled; it ends with that.
    Cancelling,
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
            warned: Mutex::default(),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
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

    /// Grants a lease on `session`.
    ///
    /// # Errors
    /// If there are no random bytes for its name; the session is closed then.
    pub fn grant(
        self: &Arc<Self>,
        session: Session,
        terms: Terms,
        holder: String,
    ) -> Result<Grant, Error> {
        let mut random = [0; 16];
        openssl::rand::rand_bytes(&mut random)
            .map_err(|_| Error::Internal("no random bytes for a connection_id"))?;
        let tenant = session.tenant().id().clone();
        let id = ConnectionId::new(&tenant, random);
        let fencing_token = self.fencing_token();
        let facts = Facts {
            lease_name: format!("lease-{fencing_token:x}"),
            backend_pid: session.taken.backend.pid(),
            fencing_token,
            holder,
            tenant,
        };
        let view = self.table().grant(id.clone(), facts, terms, session, clock::now());
        self.wake();
        self.metrics.granted(&view.facts.tenant);
        log::debug!(
            "event=lease_granted tenant={} lease={} pid={} holder={:?}",
            view.facts.tenant,
            view.facts.lease_name,
            view.facts.backend_pid,
            view.facts.holder
        );
        Ok(Grant {
            undelivered: Undelivered { pending: Some((Arc::clone(self), id.clone())) },
            id,
            view,
        })
    }

    fn wake(&self) {
        let next = self.table().next_deadline();
        if let Some(at) = next {
            self.bell.due(at);
        }
    }

    /// Moves the session out for an operation.
    ///
    /// # Errors
    /// If there is no such lease, it has ended, or is busy.
    pub fn begin(
        &self,
        id: &ConnectionId,
        operation: &Arc<Operation>,
    ) -> Result<(Session, View), Error> {
        let begun = self.table().begin(id, Arc::clone(operation), clock::now());
        Ok(begun?)
    }

    /// The operation is over and its session comes back. True: the lease goes on.
    pub fn end(&self, id: &ConnectionId, session: Session, state: TransactionState) -> bool {
        let ended = self.table().end(id, session, state, clock::now());
        match ended {
            Ended::Kept(_) => {
                self.wake();
                true
            }
            Ended::Over { session, view, reason } => {
                self.over(&view, reason);
                Tenant::settle(session);
                false
            }
            Ended::Unknown(session) => {
                log::error!("event=unknown_lease_ended");
                Tenant::discard(session, "unknown_lease");
                false
            }
        }
    }

    /// The session of a busy lease is lost.
    pub fn lost(&self, id: &ConnectionId, session: Session) {
        let ended = self.table().lost(id, EndReason::BackendLost, clock::now());
        if let Some((view, reason)) = ended {
            self.over(&view, reason);
        }
        Tenant::discard(session, "lost");
    }

    /// Ends a lease for its holder; a busy one only with `force`.
    ///
    /// # Errors
    /// If there is no such lease, or it is busy.
    pub fn release(&self, id: &ConnectionId, force: bool) -> Result<Release, Error> {
        let released = self.table().release(id, clock::now());
        match released {
            Ok((session, view)) => {
                self.over(&view, EndReason::Released);
                Tenant::settle(session);
                Ok(if view.transaction.is_open() { Release::RolledBack } else { Release::Released })
            }
            Err(Denied::Ended(tombstone)) => Ok(Release::AlreadyEnded(tombstone.reason)),
            Err(Denied::Busy(_)) if force => {
                self.revoke(id, EndReason::Released, CancelCause::Release)
            }
            Err(denied) => Err(denied.into()),
        }
    }

    /// Ends a lease whatever it does.
    ///
    /// # Errors
    /// If there is no such lease.
    pub fn revoke(
        &self,
        id: &ConnectionId,
        reason: EndReason,
        cause: CancelCause,
    ) -> Result<Release, Error> {
        let revoked = self.table().revoke(id, reason, clock::now());
        match revoked {
            Ok(Revoked::Over { session, view }) => {
                self.over(&view, reason);
                Tenant::settle(session);
                Ok(Release::Released)
            }
            Ok(Revoked::Ending { handle, .. }) => {
                handle.cancel(cause);
                Ok(Release::Cancelling)
            }
            Err(Denied::Ended(tombstone)) => Ok(Release::AlreadyEnded(tombstone.reason)),
            Err(denied) => Err(denied.into()),
        }
    }

    /// Restarts a lease's time to live.
    ///
    /// # Errors
    /// If there is no such lease, or it has ended.
    pub fn renew(&self, id: &ConnectionId, ttl: Option<Duration>) -> Result<View, Error> {
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
                Due::Over { session, view, reason, .. } => {
                    self.over(&view, reason);
                    Tenant::settle(session);
                }
                Due::Overdue { handle, .. } => handle.cancel(CancelCause::MaxLifetime),
            }
        }
        next
    }

    /// Ends every lease: idle ones now, busy ones by cancelling.
    pub fn end_all(&self, reason: EndReason) {
        let (idle, busy) = self.table().end_all(reason, clock::now());
        for (session, view) in idle {
            self.over(&view, reason);
            Tenant::settle(session);
        }
        for (operation, _) in busy {
            operation.cancel(CancelCause::Shutdown);
        }
    }

    fn over(&self, view: &View, reason: EndReason) {
        let facts = &view.facts;
        let held = clock::now().saturating_duration_since(view.granted_at);
        self.metrics.ended(reason.as_str(), &facts.tenant, held);
        let level = match reason {
            EndReason::Released | EndReason::Shutdown | EndReason::Undelivered => log::Level::Debug,
            EndReason::BackendLost => log::Level::Warn,
            _ => log::Level::Info,
        };
        log::log!(
            level,
            "event=lease_ended reason={} tenant={} lease={} pid={} holder={:?} held={held:?} transaction={:?}",
            reason.as_str(),
            facts.tenant,
            facts.lease_name,
            facts.backend_pid,
            facts.holder,
            view.transaction
        );
    }

    /// All live leases, oldest first.
    pub fn views(&self) -> Vec<View> {
        self.table().views(clock::now())
    }

    /// Warns of each lease held for longer than `limit`, once. A leak shows here
    /// with the name of its holder.
    pub fn warn_of_leaks(&self, limit: Duration) {
        let now = clock::now();
        let old = |view: &&View| now.saturating_duration_since(view.granted_at) > limit;
        let views = self.views();
        let views: Vec<&View> = views.iter().filter(old).collect();
        let tokens: HashSet<u64> = views.iter().map(|view| view.facts.fencing_token).collect();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *warned, tokens);
        drop(warned);
        for view in views.iter().filter(|view| !before.contains(&view.facts.fencing_token)) {
            let facts = &view.facts;
            let held = now.saturating_duration_since(view.granted_at);
            self.metrics.leak_warned(&facts.tenant);
            log::warn!(
                "event=lease_held_long tenant={} lease={} pid={} holder={:?} held={held:?} transaction={:?}",
                facts.tenant,
                facts.lease_name,
                facts.backend_pid,
                facts.holder,
                view.transaction
            );
        }
    }

    /// How many are alive.
    pub fn count(&self) -> usize {
        self.table().len()
    }
}

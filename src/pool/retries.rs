//! Requests for a lease that carry a `request_id`, so that a repeated one gets
//! what the first one got: its place in the queue while that waits, its lease
//! while that lives.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::core::callers::CallerId;
use crate::core::ids::{ConnectionId, TenantId};
use crate::error::RequestError;
use crate::lock::Leaf;
use crate::pool::caller::Caller;
use crate::pool::grant::{FoundGrant, Grant, GrantDelivery, Undelivered};
use crate::pool::identity::Fingerprint;
use crate::pool::leases::Leases;
use crate::pool::requests::responder::Responder;
use crate::pool::requests::stage::Stage;

/// What repeats of one request have in common. The DSN is part of it: a caller that does not know
/// the DSN learns nothing of the lease.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RetryKey {
    pub tenant: TenantId,
    /// What tells its DSN from others, if the request brought one.
    pub fingerprint: Option<Fingerprint>,
    /// The caller's name for the request.
    pub request: Vec<u8>,
    /// Its identity: another one's request is another.
    pub owner: Option<CallerId>,
}

/// All requests that can be repeated.
#[derive(Default)]
pub struct IdempotentRequests(Leaf<HashMap<RetryKey, CallEntry>>);

enum CallEntry {
    Waiting {
        /// Grows with every job, so that a late one does not touch its successor.
        job: u64,
        /// Who stands in the queue.
        standing: Arc<Caller>,
        /// Which call is to be answered: 1 is the first.
        call: u64,
        responder: Responder<Grant>,
    },
    Granted {
        id: ConnectionId,
        delivery: GrantDelivery,
    },
}

/// A call's seat at a request that waits.
pub struct CallSeat {
    retries: Weak<IdempotentRequests>,
    key: RetryKey,
    job: u64,
    call: u64,
}

/// What a call is to do.
pub enum Joining {
    /// Ask for a lease, as this caller, and settle the job with what comes.
    Ask(Arc<Caller>, CallJob),
    /// Nothing: the answer comes, or has been given.
    Wait,
}

/// A job on its way to a lease. Dropped unsettled, it answers for itself.
pub struct CallJob {
    retries: Arc<IdempotentRequests>,
    key: RetryKey,
    number: u64,
    settled: bool,
}

impl IdempotentRequests {
    /// A call of `caller` comes, which wants to wait until `deadline` at most.
    pub fn call(
        self: &Arc<Self>,
        key: RetryKey,
        leases: &Arc<Leases>,
        caller: &Arc<Caller>,
        deadline: Instant,
        responder: Responder<Grant>,
    ) -> Joining {
        let mut ended = None;
        loop {
            let mut map = self.0.lock();
            match map.get_mut(&key) {
                Some(CallEntry::Granted { id, delivery }) if ended.as_ref() != Some(id) => {
                    let (id, delivery) = (id.clone(), delivery.clone());
                    drop(map);
                    if let Some(grant) = granted_before(&id, &delivery, leases) {
                        drop(responder.send(Ok(grant)));
                        return Joining::Wait;
                    }
                    ended = Some(id);
                }
                Some(CallEntry::Waiting { job, standing, call, responder: earlier }) => {
                    *call += 1;
                    let earlier = std::mem::replace(earlier, responder);
                    let standing = Arc::clone(standing);
                    let seat = self.seat(&key, *job, *call);
                    drop(map);
                    drop(earlier.send(Err(RequestError::Superseded)));
                    standing.postpone(deadline);
                    caller.represented(Arc::new(seat));
                    return Joining::Wait;
                }
                _ => {
                    let (number, call) = (NEXT.fetch_add(1, Ordering::Relaxed), 1);
                    let standing = caller.again();
                    let entry = CallEntry::Waiting {
                        job: number,
                        standing: Arc::clone(&standing),
                        call,
                        responder,
                    };
                    map.insert(key.clone(), entry);
                    drop(map);
                    caller.represented(Arc::new(self.seat(&key, number, call)));
                    let job = CallJob { retries: Arc::clone(self), key, number, settled: false };
                    return Joining::Ask(standing, job);
                }
            }
        }
    }

    fn seat(self: &Arc<Self>, key: &RetryKey, job: u64, call: u64) -> CallSeat {
        CallSeat { retries: Arc::downgrade(self), key: key.clone(), job, call }
    }

    /// Forgets requests whose leases have ended.
    pub fn forget_ended(&self, leases: &Leases) {
        let id_of = |(key, entry): (&RetryKey, &CallEntry)| match entry {
            CallEntry::Granted { id, .. } => Some((key.clone(), id.clone())),
            CallEntry::Waiting { .. } => None,
        };
        let granted: Vec<(RetryKey, ConnectionId)> =
            self.0.lock().iter().filter_map(id_of).collect();
        for (key, ended) in granted.into_iter().filter(|(_, id)| leases.view(id).is_err()) {
            let mut map = self.0.lock();
            // The request may have been made anew meanwhile.
            if matches!(map.get(&key), Some(CallEntry::Granted { id, .. }) if *id == ended) {
                map.remove(&key);
            }
        }
    }
}

/// Numbers the jobs of the process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The lease that an earlier call got, while it lives.
fn granted_before(
    id: &ConnectionId,
    delivery: &GrantDelivery,
    leases: &Arc<Leases>,
) -> Option<Grant> {
    let view = leases.view(id).ok()?;
    let undelivered = match delivery.join() {
        FoundGrant::Delivered => Undelivered::nothing(),
        FoundGrant::Claimed(claim) => Undelivered::new(leases, id, claim),
        FoundGrant::GivenUp => return None,
    };
    Some(Grant { id: id.clone(), view, undelivered })
}

impl Stage for CallSeat {
    /// The call's caller has left. If no later call sits here, nobody waits any
    /// more for what the job brings.
    fn leave(self: Arc<Self>) {
        let Some(retries) = self.retries.upgrade() else { return };
        let mut map = retries.0.lock();
        let mine = matches!(map.get(&self.key),
            Some(CallEntry::Waiting { job, call, .. }) if *job == self.job && *call == self.call);
        let entry = if mine { map.remove(&self.key) } else { None };
        drop(map);
        if let Some(CallEntry::Waiting { standing, .. }) = entry {
            standing.leave();
        }
    }
}

impl CallJob {
    /// Answers the call that sits there now.
    pub fn settle(mut self, granted: Result<Grant, RequestError>) {
        self.settled = true;
        let mut map = self.retries.0.lock();
        if !matches!(map.get(&self.key), Some(CallEntry::Waiting { job, .. }) if *job == self.number)
        {
            drop(map);
            // Everybody has left. A grant takes itself back.
            return drop(granted);
        }
        let entry = match &granted {
            Ok(Grant { id, undelivered, .. }) => map.insert(
                self.key.clone(),
                CallEntry::Granted { id: id.clone(), delivery: undelivered.delivery() },
            ),
            Err(_) => map.remove(&self.key),
        };
        drop(map);
        if let Some(CallEntry::Waiting { responder, .. }) = entry {
            drop(responder.send(granted));
        }
    }
}

impl Drop for CallJob {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut map = self.retries.0.lock();
        let mine = matches!(map.get(&self.key), Some(CallEntry::Waiting { job, .. }) if *job == self.number);
        let entry = if mine { map.remove(&self.key) } else { None };
        drop(map);
        // The responder inside says that the request was lost.
        drop(entry);
    }
}

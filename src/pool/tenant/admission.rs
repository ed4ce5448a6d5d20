//! How requests come in at the gate, wait there, and get their permits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Tenant, POOL_CLOSED};
use crate::clock;
use crate::core::budget::Held;
use crate::core::callers::CallerId;
use crate::core::gate::{Asks, GateEntry, GateRefusal};
use crate::core::wait_queue::{Handed, WaiterId};
use crate::error::{QueuePosition, RequestError};
use crate::pool::job::Job;
use crate::pool::listen::Host;
use crate::pool::memory::{self, Use, SMALL};
use crate::pool::requests::stage::Stage;
use crate::pool::waiting_room::Full;
use crate::threads::agenda::DueSource;

/// A request in the queue, as its caller knows it.
struct QueuePlace {
    tenant: Weak<Tenant>,
    id: WaiterId,
}

impl Stage for QueuePlace {
    fn leave(self: Arc<Self>) {
        if let Some(tenant) = self.tenant.upgrade() {
            let left = tenant.gate().leave(self.id);
            left.into_iter().for_each(|job| job.left(&tenant.account));
        }
    }

    fn postpone(&self, until: Instant) {
        if let Some(tenant) = self.tenant.upgrade() {
            if tenant.gate().postpone(self.id, until) {
                note_deadline(&tenant, until);
            }
        }
    }
}

impl Tenant {
    /// Lets a job in: it is served, queued or answered. `Err` gives it back when
    /// this tenant has just closed, so that another can be looked up.
    pub fn admit(self: &Arc<Self>, mut job: Job, wait: Duration) -> Result<(), Job> {
        let deadline = job.since + wait;
        let caller = Arc::clone(&job.caller);
        // A tenant that has just closed sends it on with a place.
        job.parked = None;
        job.held = Held::default();
        let held = self.account.room(Use::Requests, caller.peer()).try_take(job.bytes);
        let spent = held.as_ref().err().copied();
        job.held = held.unwrap_or_default();
        if let Some(spent) = spent.filter(|_| job.bytes > SMALL) {
            job.fail(&self.account, memory::refused(spent, self.id()));
            return Ok(());
        }
        // Taken before it is known to be needed, so that the gate is asked once.
        let place = match spent {
            Some(spent) => Err(Full::Memory(spent)),
            None => self.context().park(&caller),
        };
        let full = place.as_ref().err().copied();
        job.parked = place.ok();
        job.until = deadline;
        let asks = Asks { caller: job.counted_for(), may_wait: full.is_none() };
        let entry = self.gate().admit(job, asks, deadline, clock::now());
        match entry {
            GateEntry::Granted(job) => self.start(job),
            GateEntry::Queued { id, .. } => {
                note_deadline(self, deadline);
                caller.queued(Arc::new(QueuePlace { tenant: Arc::downgrade(self), id }));
            }
            GateEntry::Refused(job, GateRefusal::Closed) => return Err(job),
            GateEntry::Refused(job, GateRefusal::MayNotWait) => {
                let error = match full {
                    Some(full) => full.error(self.id()),
                    None => RequestError::Internal("a request was refused for no reason"),
                };
                job.fail(&self.account, error);
            }
            GateEntry::Refused(job, refusal) => {
                job.fail(&self.account, RequestError::refused(self.id(), refusal))
            }
        }
        Ok(())
    }

    fn answer_expired(&self, expired: Vec<(Job, usize)>, now: Instant) {
        if expired.is_empty() {
            return;
        }
        let first = self.standing();
        for (job, position) in expired {
            let standing = QueuePosition { position, ..first };
            let (tenant, waited) = (self.id().clone(), now.saturating_duration_since(job.since));
            job.fail(&self.account, RequestError::WaitTimeout { tenant, waited, standing });
        }
    }

    /// A permit came back: the next waiter gets it.
    pub(super) fn finish(self: &Arc<Self>, caller: Option<&CallerId>, upkeep: bool) {
        let now = clock::now();
        let mut gate = self.gate();
        let too_many = gate.used() > gate.permits();
        let handed = gate.finish(caller, now);
        if too_many {
            self.account.open.set_limit(gate.permits(), gate.used());
        }
        if upkeep {
            self.account.numbers.upkeep.fetch_sub(1, Ordering::Relaxed);
        }
        // Nobody is left who would open the first backend. The gate is closed under the same
        // lock, so that the next request registers the tenant anew.
        let abandoned = gate.is_abandoned();
        let stranded = if abandoned { gate.failed() } else { Vec::new() };
        drop(gate);
        self.hand(handed, now);
        if abandoned {
            self.backends().retire(POOL_CLOSED);
            self.unregister();
        }
        for job in stranded {
            job.fail(
                &self.account,
                RequestError::Internal("the tenant was given up while opening"),
            );
        }
    }

    pub(super) fn hand(self: &Arc<Self>, handed: Handed<Job>, now: Instant) {
        for job in handed.granted {
            self.start(job);
        }
        // They were passed over when they stood in front.
        let expired = handed.expired.into_iter().map(|job| (job, 1));
        self.answer_expired(expired.collect(), now);
        for job in handed.refused {
            let held = |caller| self.gate().held_by(&caller);
            let used = job.counted_for().map_or(0, held);
            let limit = self.context().config.limits.leases_per_caller;
            let refusal = GateRefusal::CallerLimit { used, limit };
            job.fail(&self.account, RequestError::refused(self.id(), refusal));
        }
    }
}

/// The reaper is to look at the waiters then.
fn note_deadline(tenant: &Arc<Tenant>, deadline: Instant) {
    tenant.context().agenda.note(Arc::downgrade(tenant) as Weak<dyn DueSource>, deadline);
}

impl DueSource for Tenant {
    /// Answers waiters whose time is over. Returns when to look again.
    fn act(&self, now: Instant, limit: usize) -> Option<Instant> {
        let mut gate = self.gate();
        let expired = gate.expire(now, limit);
        let next = gate.next_deadline();
        drop(gate);
        self.answer_expired(expired, now);
        next
    }
}

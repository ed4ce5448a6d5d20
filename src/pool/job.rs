//! Values that settle themselves when dropped: permits and sessions; and the job that
//! waits for a session.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::core::budget::Held;
use crate::core::callers::CallerId;
use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::requests::outstanding::Counted;
use crate::pool::store::Taken;
use crate::pool::tenant::Tenant;
use crate::pool::waiting_room::Parked;
use crate::pool::work::task::REQUEST_BYTES;

/// One of a tenant's rights to have a backend in use. Dropping it hands it to
/// the oldest waiter, or back to the gate.
pub struct Permit {
    tenant: Arc<Tenant>,
    /// Whom the gate has counted it for.
    caller: Option<CallerId>,
    /// It is for the service's own work on the pool.
    upkeep: bool,
    _counted: Counted,
}

impl Permit {
    /// Wraps a permit for a job that the gate has just given out.
    pub(super) fn new(tenant: &Arc<Tenant>, caller: Option<CallerId>) -> Permit {
        let counted = tenant.context().outstanding.count();
        Permit { tenant: Arc::clone(tenant), caller, upkeep: false, _counted: counted }
    }

    /// Wraps a permit for the service's own work that the gate has just given out.
    pub(super) fn for_upkeep(tenant: &Arc<Tenant>) -> Permit {
        tenant.numbers.upkeep.fetch_add(1, Ordering::Relaxed);
        let mut permit = Permit::new(tenant, None);
        permit.upkeep = true;
        permit
    }

    /// Whose permit it is.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tenant.finish(self.caller.as_ref(), self.upkeep);
    }
}

/// A backend in use, and the permit for it. Dropped without having been settled
/// it closes the backend, then gives the permit back: the fields drop in order.
pub struct Session {
    /// The backend.
    pub taken: Taken,
    /// The right to it.
    pub permit: Permit,
}

impl Session {
    /// Whose session it is.
    pub fn tenant(&self) -> &Arc<Tenant> {
        self.permit.tenant()
    }
}

/// A request that waits for a session.
pub struct Job {
    /// Who asked.
    pub caller: Arc<Caller>,
    /// When.
    pub since: Instant,
    /// Until when its caller waits for a backend; set when it is let in.
    pub until: Instant,
    /// It wants a session for long, so that it counts against its caller's share.
    pub for_lease: bool,
    /// Its place among all that wait, while it does.
    pub parked: Option<Parked>,
    /// Bytes of memory that it holds.
    pub bytes: usize,
    /// Those, counted from when it is let in until it was served.
    pub held: Held,
    /// What to do with the session, or with the reason why there is none. If it
    /// is dropped unused, the reply inside answers for itself.
    pub deliver: Box<dyn FnOnce(Result<Session, Error>) + Send>,
}

impl Job {
    /// A job of `caller` that wants a session for a short while, and starts to
    /// wait now.
    pub fn new(
        caller: &Arc<Caller>,
        deliver: impl FnOnce(Result<Session, Error>) + Send + 'static,
    ) -> Job {
        let since = clock::now();
        Job {
            caller: Arc::clone(caller),
            since,
            until: since,
            for_lease: false,
            parked: None,
            bytes: REQUEST_BYTES,
            held: Held::default(),
            deliver: Box::new(deliver),
        }
    }

    /// The same for a session that becomes a lease.
    pub fn for_lease(
        caller: &Arc<Caller>,
        deliver: impl FnOnce(Result<Session, Error>) + Send + 'static,
    ) -> Job {
        Job { for_lease: true, ..Job::new(caller, deliver) }
    }

    /// How long it has waited.
    pub(super) fn waited(&self) -> Duration {
        clock::now().saturating_duration_since(self.since)
    }

    /// Whom its permit is counted for.
    pub(super) fn counted_for(&self) -> Option<CallerId> {
        self.for_lease.then(|| self.caller.peer().id().clone())
    }

    /// Answers the request without a session, and counts that.
    pub fn fail(self, tenant: &Tenant, error: Error) {
        tenant.series().acquire_failed(error.as_str(), self.waited());
        (self.deliver)(Err(error));
    }
}

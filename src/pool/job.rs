//! Values that settle themselves when dropped: permits, sessions, replies; and
//! the job that waits for a session.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::clock;
use crate::core::budget::Held;
use crate::core::callers::CallerId;
use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::execute::REQUEST_BYTES;
use crate::pool::store::Taken;
use crate::pool::tenant::Tenant;
use crate::pool::waiting_room::Parked;

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

/// A request's one answer. Dropped unused, it answers with an internal error.
pub struct Reply<T>(Option<oneshot::Sender<Result<T, Error>>>);

/// Where the answer arrives.
pub type Answer<T> = oneshot::Receiver<Result<T, Error>>;

impl<T> Reply<T> {
    /// A reply and the place where it arrives.
    pub fn new() -> (Reply<T>, Answer<T>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(Some(sender)), receiver)
    }

    /// Answers. If nobody waits any more, the answer comes back.
    pub fn send(mut self, answer: Result<T, Error>) -> Option<Result<T, Error>> {
        self.0.take().and_then(|sender| sender.send(answer).err())
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            // The caller may have left already.
            let _ = sender.send(Err(Error::Internal("the request was lost inside the service")));
        }
    }
}

/// Counts what is out, and lets a stop wait until nothing is.
#[derive(Clone, Default)]
pub struct Outstanding(Arc<(Mutex<usize>, Condvar)>);

/// One of what is out.
pub struct Counted(Outstanding);

impl Outstanding {
    /// Counts one until the guard is dropped.
    pub fn count(&self) -> Counted {
        *self.0 .0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Counted(self.clone())
    }

    /// Waits until nothing is out or the time has come. True: nothing is out.
    pub fn wait_for_none(&self, until: Instant) -> bool {
        let (count, changed) = &*self.0;
        let mut out = count.lock().unwrap_or_else(PoisonError::into_inner);
        while *out > 0 {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return false;
            }
            out = changed.wait_timeout(out, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// How many are out.
    pub fn now(&self) -> usize {
        *self.0 .0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (count, changed) = &*self.0 .0;
        let mut out = count.lock().unwrap_or_else(PoisonError::into_inner);
        *out = out.saturating_sub(1);
        if *out == 0 {
            changed.notify_all();
        }
    }
}

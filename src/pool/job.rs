//! A request that waits for a backend.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::core::budget::Held;
use crate::core::callers::CallerId;
use crate::error::RequestError;
use crate::pool::account::Account;
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::waiting_room::Parked;
use crate::pool::work::task::REQUEST_BYTES;

/// A connect is not worth beginning with less; so one may take so long although
/// its caller's time is over.
pub(super) const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// A request that waits for a backend.
pub struct Job {
    /// Who asked.
    pub caller: Arc<Caller>,
    /// When.
    pub since: Instant,
    /// Until when its caller waits for a backend; set when it is let in.
    pub until: Instant,
    /// It wants a backend for long, so that it counts against its caller's share.
    pub for_lease: bool,
    /// What it does with the backend does not block: it needs no worker where one lies ready.
    pub at_once: bool,
    /// Its place among all that wait, while it does.
    pub parked: Option<Parked>,
    /// Bytes of memory that it holds.
    pub bytes: usize,
    /// Those, counted from when it is let in until it was served.
    pub held: Held,
    /// What to do with the backend, or with the reason why there is none. If it
    /// is dropped unused, the responder inside answers for itself.
    pub deliver: Box<dyn FnOnce(Result<Checkout, RequestError>) + Send>,
}

impl Job {
    /// A job of `caller` that wants a backend for a short while, and starts to
    /// wait now.
    pub fn new(
        caller: &Arc<Caller>,
        deliver: impl FnOnce(Result<Checkout, RequestError>) + Send + 'static,
    ) -> Job {
        let since = clock::now();
        Job {
            caller: Arc::clone(caller),
            since,
            until: since,
            for_lease: false,
            at_once: false,
            parked: None,
            bytes: REQUEST_BYTES,
            held: Held::default(),
            deliver: Box::new(deliver),
        }
    }

    /// The same for a backend that becomes a lease, which must not block.
    pub fn for_lease(
        caller: &Arc<Caller>,
        deliver: impl FnOnce(Result<Checkout, RequestError>) + Send + 'static,
    ) -> Job {
        Job { for_lease: true, at_once: true, ..Job::new(caller, deliver) }
    }

    /// How long it has waited.
    pub(super) fn waited(&self) -> Duration {
        clock::now().saturating_duration_since(self.since)
    }

    /// Whom its permit is counted for.
    pub(super) fn counted_for(&self) -> Option<CallerId> {
        self.for_lease.then(|| self.caller.id().clone())
    }

    /// Gives it the backend that it waited for, and counts that.
    pub(super) fn serve(self, checkout: Checkout) {
        let (waited, account) = (self.waited(), checkout.account());
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        account.numbers.acquired.fetch_add(1, Ordering::Relaxed);
        account.numbers.waited_micros.fetch_add(micros, Ordering::Relaxed);
        account.series().acquired(waited);
        (self.deliver)(Ok(checkout));
    }

    /// Counts that its caller has left. Nobody is there to be answered.
    pub(super) fn left(self, at: &Account) {
        at.series().acquire_failed("caller_gone", self.waited());
    }

    /// Answers the request without a backend, and counts that.
    pub fn fail(self, at: &Account, error: RequestError) {
        at.series().acquire_failed(error.as_str(), self.waited());
        (self.deliver)(Err(error));
    }
}

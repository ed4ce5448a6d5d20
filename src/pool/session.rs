//! A backend in use, and how it is given back.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use crate::pool::account::Account;
use crate::pool::backends::Backends;
use crate::pool::requests::permit::Permit;
use crate::pool::store::Taken;
use crate::threads::here;

/// A backend in use, and the permit for it. Dropped without having been given back
/// it closes the backend, then gives the permit back: the fields drop in order.
pub struct Session {
    /// The backend.
    pub taken: Taken,
    /// Those it belongs to.
    pub backends: Arc<Backends>,
    /// The right to it.
    pub permit: Permit,
}

impl Session {
    /// Whose session it is.
    pub fn account(&self) -> &Arc<Account> {
        self.backends.account()
    }

    /// Gives it back: rolled back, reset and checked, or closed. On a worker, because it
    /// is a round trip.
    pub fn settle(self) {
        let returning = Returning::new(self.account());
        let workers = self.account().context().tools.workers.clone();
        workers.run(move || {
            drop(returning);
            self.reset();
        });
    }

    /// The same on this thread, which must be a worker.
    pub fn reset(self) {
        // Bound in this order, so that a panic closes the backend before it gives
        // the permit back.
        let Session { permit, backends, taken } = self;
        if backends.reset(taken) {
            Arc::clone(permit.keeper()).doubt();
        }
        // To a request that waits for one to be opened, else to the oldest waiter.
        here::ending(|| permit.pass_on());
    }

    /// Breaks it off, because its backend is lost or in doubt. Does not block.
    pub fn discard(self, reason: &str) {
        let Session { permit, backends, taken } = self;
        if backends.discard(taken, reason) {
            Arc::clone(permit.keeper()).doubt();
        }
    }
}

/// A session is on its way back, from the end of its use until it is being reset.
struct Returning(Arc<Account>);

impl Returning {
    fn new(account: &Arc<Account>) -> Returning {
        account.numbers.returning.fetch_add(1, Ordering::Relaxed);
        Returning(Arc::clone(account))
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        self.0.numbers.returning.fetch_sub(1, Ordering::Relaxed);
    }
}

//! A backend in use, and how it is given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::arrival::Arrival;
use crate::clock;
use crate::pool::account::Account;
use crate::pool::backends::Backends;
use crate::pool::numbers::Numbers;
use crate::pool::requests::permit::Permit;
use crate::pool::store::Taken;
use crate::threads::alarms::Alarm;
use crate::threads::here;
use crate::threads::socket_waits::{Awaiting, SharedSocket};

/// A backend in use, and the permit for it. Dropped without having been given back
/// it closes the backend, then gives the permit back: the fields drop in order.
pub struct Checkout {
    /// The backend.
    pub taken: Taken,
    /// Those it belongs to.
    pub backends: Arc<Backends>,
    /// The right to it.
    pub permit: Permit,
}

impl Checkout {
    /// Whose checkout it is.
    pub fn account(&self) -> &Arc<Account> {
        self.backends.account()
    }

    /// Gives it back: rolled back, reset and checked, or closed. Does not block: a worker waits
    /// for what is more than a round trip.
    pub fn settle(mut self) {
        let (now, backend) = (clock::now(), &mut self.taken.backend);
        // A loss that is noticed from now on is not known to the answer.
        let asked = (now, self.backends.generation());
        let may_be_there = backend.awaits_reset();
        if !may_be_there && (self.backends.closes(&self.taken, now) || !self.begins_reset()) {
            return self.reset_later();
        }
        let resetting = Returning::of(self.account(), |numbers| &numbers.resetting);
        let resetting =
            Resetting { checkout: self, asked, _counted: resetting, limit: None, whole: false };
        resetting.begin(may_be_there);
    }

    fn begins_reset(&mut self) -> bool {
        self.taken.backend.begin_reset()
    }

    fn reset_later(self) {
        let returning = Returning::of(self.account(), |numbers| &numbers.returning);
        let tools = self.account().context().tools.clone();
        tools.run(move || {
            drop(returning);
            self.reset();
        });
    }

    /// The same on this thread, which must be a worker.
    pub fn reset(self) {
        // Bound in this order, so that a panic closes the backend before it gives
        // the permit back.
        let Checkout { permit, backends, taken } = self;
        if backends.reset(taken) {
            Arc::clone(permit.keeper()).doubt();
        }
        // To a request that waits for one to be opened, else to the oldest waiter.
        here::ending(|| permit.pass_on());
    }

    /// Breaks it off, because its backend is lost or in doubt. Does not block.
    pub fn discard(self, reason: &str) {
        let Checkout { permit, backends, taken } = self;
        if backends.discard(taken, reason) {
            Arc::clone(permit.keeper()).doubt();
        }
    }
}

/// A checkout whose reset was sent.
struct Resetting {
    checkout: Checkout,
    /// When, and in which generation of its tenant.
    asked: (Instant, u64),
    _counted: Returning,
    /// The time limit of the reset.
    limit: Option<Alarm>,
    whole: bool,
}

impl Resetting {
    /// Goes on when the answer has come, which may be there already.
    fn begin(mut self, may_be_there: bool) {
        if may_be_there && self.has_come() {
            return Box::new(self).go_on();
        }
        let Checkout { taken, backends, .. } = &self.checkout;
        self.limit = Some(backends.limit_check(taken.backend.watch()));
        let waits = self.checkout.account().context().tools.socket_waits.clone();
        if let Err(resetting) = waits.wait(Box::new(self)) {
            resetting.go_on();
        }
    }
}

impl Awaiting for Resetting {
    fn socket(&self) -> Option<SharedSocket> {
        self.checkout.taken.backend.socket()
    }

    fn has_come(&mut self) -> bool {
        let arrival = self.checkout.taken.backend.arrival();
        self.whole = arrival == Arrival::Whole;
        arrival != Arrival::Nothing
    }

    fn go_on(self: Box<Self>) {
        let Resetting { checkout, asked, _counted, limit, whole } = *self;
        if limit.is_some() {
            drop(limit);
            checkout.taken.backend.watch().end();
        }
        if !whole {
            return checkout.reset_later();
        }
        let Checkout { permit, backends, taken } = checkout;
        match backends.reset_at_once(taken, asked) {
            None => permit.pass_on(),
            Some(taken) => Checkout { taken, backends, permit }.reset_later(),
        }
    }
}

/// Counts a checkout that is on its way back: until a worker resets it, or while the answer to
/// its reset is awaited.
struct Returning(Arc<Account>, fn(&Numbers) -> &AtomicUsize);

impl Returning {
    fn of(account: &Arc<Account>, number: fn(&Numbers) -> &AtomicUsize) -> Returning {
        number(&account.numbers).fetch_add(1, Ordering::Relaxed);
        Returning(Arc::clone(account), number)
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        (self.1)(&self.0.numbers).fetch_sub(1, Ordering::Relaxed);
    }
}

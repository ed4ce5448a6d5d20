//! Turns that wait: between two tries, or for room at a server.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::turn::Turn;
use super::Tenant;
use crate::clock;
use crate::core::breaker::BreakerPhase;
use crate::pool::account::Account;
use crate::pool::line::{Nap, Sleeper};

/// Whether the caller of a turn that waits is still there is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

/// A turn that waits.
struct Asleep {
    turn: Turn,
    napping: Napping,
    unopened: Option<Unopened>,
}

impl Sleeper for Asleep {
    fn wake(self: Box<Self>) {
        let Asleep { turn, napping, unopened } = *self;
        drop((napping, unopened));
        turn.run();
    }
}

/// Counts a turn that waits.
struct Napping(Arc<Account>);

impl Drop for Napping {
    fn drop(&mut self) {
        self.0.numbers.napping.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a tenant that waits for room with its first backend: it takes nothing of what
/// those have that are being opened.
struct Unopened(Arc<Account>);

impl Unopened {
    fn new(account: &Arc<Account>) -> Unopened {
        account.numbers.unopened.fetch_add(1, Ordering::Relaxed);
        account.context().servers.unopened().fetch_add(1, Ordering::Relaxed);
        Unopened(Arc::clone(account))
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        self.0.numbers.unopened.fetch_sub(1, Ordering::Relaxed);
        self.0.context().servers.unopened().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tenant {
    /// No pause is worth its while any more.
    pub(super) fn wake_all(&self) {
        let naps = self.line.lock().take_naps();
        naps.into_iter().for_each(|nap| nap.sleeper.wake());
    }

    /// The wait is over of the first for which this holds.
    pub(super) fn wake(&self, is: impl Fn(&Nap) -> bool) {
        let nap = self.line.lock().take_nap(is);
        nap.into_iter().for_each(|nap| nap.sleeper.wake());
    }

    /// A turn waits until then, or until it is woken.
    pub(super) fn nap(self: &Arc<Self>, turn: Turn, until: Instant) {
        let (own, ticket) = (turn.own(), turn.ticket());
        let unopened = self.is_opening() && ticket.is_some();
        let unopened = unopened.then(|| Unopened::new(&self.account));
        self.account.numbers.napping.fetch_add(1, Ordering::Relaxed);
        let napping = Napping(Arc::clone(&self.account));
        let sleeper = Box::new(Asleep { turn, napping, unopened });
        let id = self.line.lock().nap(Nap { until, own, ticket, sleeper, id: 0 });
        self.look_after_nap(id, until.min(clock::now() + LOOK));
        // One may have come to rest, the breaker opened, or room been found, just before.
        let called = ticket.is_some_and(|ticket| self.context().servers.is_called(ticket));
        let backends = self.backends();
        if called || backends.store.idle() > 0 || backends.breaker() != BreakerPhase::Closed {
            self.wake(|nap| nap.id == id);
        }
    }

    fn look_after_nap(self: &Arc<Self>, id: u64, at: Instant) {
        let tenant = Arc::clone(self);
        self.context().tools.alarms.soon(at, move || tenant.look_at_nap(id, at));
    }

    fn look_at_nap(self: &Arc<Self>, id: u64, now: Instant) {
        let Some((until, caller)) = self.line.lock().look(id) else { return };
        let is_wanted = caller.is_some_and(|caller| !caller.is_gone());
        match until <= now || !is_wanted {
            true => self.wake(|nap| nap.id == id),
            false => self.look_after_nap(id, until.min(now + LOOK)),
        }
    }
}

//! Turns that wait: between two tries, or for room at a server.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::core::breaker::Phase;
use crate::core::servers::Ticket;
use crate::pool::tenant::Tenant;
use crate::pool::turn::{Line, Turn};

/// Whether the caller of a turn that waits is still there is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

/// A turn that waits. No thread sleeps for that.
pub(super) struct Nap {
    id: u64,
    until: Instant,
    turn: Turn,
    _unopened: Option<Unopened>,
}

/// Counts a tenant that waits for room with its first backend: it takes nothing of what
/// those have that are being opened.
struct Unopened(Arc<Tenant>);

impl Unopened {
    fn new(tenant: &Arc<Tenant>) -> Unopened {
        tenant.numbers.unopened.fetch_add(1, Ordering::Relaxed);
        tenant.context.servers.unopened().fetch_add(1, Ordering::Relaxed);
        Unopened(Arc::clone(tenant))
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        self.0.numbers.unopened.fetch_sub(1, Ordering::Relaxed);
        self.0.context.servers.unopened().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    /// The nap that has waited longest is over.
    pub(super) fn first_nap(&mut self) -> Option<Nap> {
        (!self.naps.is_empty()).then(|| self.naps.remove(0))
    }

    fn nap(&mut self, is: impl Fn(&Nap) -> bool) -> Option<Nap> {
        let position = self.naps.iter().position(is)?;
        Some(self.naps.remove(position))
    }
}

impl Nap {
    /// It goes on.
    pub(super) fn end(self, tenant: &Tenant) {
        tenant.numbers.napping.fetch_sub(1, Ordering::Relaxed);
        self.turn.run();
    }
}

impl Tenant {
    /// No pause is worth its while any more.
    pub(super) fn wake_all(&self) {
        let naps = std::mem::take(&mut self.line.lock().naps);
        naps.into_iter().for_each(|nap| nap.end(self));
    }

    fn wake(&self, id: u64) {
        let nap = self.line.lock().nap(|nap| nap.id == id);
        nap.into_iter().for_each(|nap| nap.end(self));
    }

    /// There may be room for the turn with this place in line.
    pub(super) fn call(&self, ticket: Ticket) {
        let nap = self.line.lock().nap(|nap| nap.turn.ticket() == Some(ticket));
        nap.into_iter().for_each(|nap| nap.end(self));
    }

    /// A turn waits until then, or until it is woken.
    pub(super) fn nap(self: &Arc<Self>, turn: Turn, until: Instant) {
        self.numbers.napping.fetch_add(1, Ordering::Relaxed);
        let ticket = turn.ticket();
        let unopened = self.is_opening() && ticket.is_some();
        let unopened = unopened.then(|| Unopened::new(self));
        let mut line = self.line.lock();
        let id = line.id();
        line.naps.push(Nap { id, until, turn, _unopened: unopened });
        drop(line);
        self.look_after_nap(id, until.min(clock::now() + LOOK));
        // One may have come to rest, the breaker opened, or room been found, just before.
        let called = ticket.is_some_and(|ticket| self.context.servers.is_called(ticket));
        if called || self.store.idle() > 0 || self.breaker() != Phase::Closed {
            self.wake(id);
        }
    }

    fn look_after_nap(self: &Arc<Self>, id: u64, at: Instant) {
        let tenant = Arc::clone(self);
        self.context.tools.alarms.soon(at, move || tenant.look_at_nap(id, at));
    }

    fn look_at_nap(self: &Arc<Self>, id: u64, now: Instant) {
        let line = self.line.lock();
        let Some(nap) = line.naps.iter().find(|nap| nap.id == id) else { return };
        let (until, caller) = (nap.until, line.caller(&nap.turn));
        drop(line);
        let is_wanted = caller.is_some_and(|caller| !caller.is_gone());
        match until <= now || !is_wanted {
            true => self.wake(id),
            false => self.look_after_nap(id, until.min(now + LOOK)),
        }
    }
}

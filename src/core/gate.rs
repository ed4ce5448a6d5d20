//! The gate that all work of a tenant passes.

mod entry;
mod pause;

use super::callers::{CallerId, Callers};
use super::wait_queue::{Admission, Handed, WaitQueue, WaiterId};
use std::time::Instant;

pub use entry::{Asks, GateEntry, GateRefusal};
pub use pause::Pause;

/// A tenant's permits, the requests that wait for one, and whether the tenant accepts work at all.
///
/// A permit is in use from `Granted` (or a successful [`try_take`](Gate::try_take)) until
/// [`finish`](Gate::finish), whatever the gate's state by then. Invariants: while `Opening`, at
/// most one permit is in use, and items wait only while it is; while `Draining` or `Closed`, no
/// item waits. After a [`resize`](Gate::resize) to fewer, more permits than there are can be in use
/// until they are finished.
#[derive(Debug)]
pub struct Gate<T> {
    state: GateState,
    queue: WaitQueue<Entrant<T>>,
    callers: Callers,
    /// While it is there, an `Active` gate grants nothing to those who come or wait.
    paused: Option<Pause>,
}

#[derive(Debug)]
struct Entrant<T> {
    item: T,
    caller: Option<CallerId>,
}

/// Whether a gate accepts work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateState {
    /// It is not known yet whether the tenant can be served: one caller tries, the others wait for
    /// it. Exits: `opened` to `Active`, `failed` or `close` to `Closed`, `drain` to `Draining`.
    Opening,
    /// Work is accepted as permits allow. Exits: `drain` to `Draining`, `close` to `Closed`.
    Active,
    /// No work is accepted; running work may finish. Exit: `close` to `Closed`.
    Draining,
    /// No work is ever accepted again. No exit; running work still returns its permit.
    Closed,
}

impl<T> Gate<T> {
    /// A new gate, in `Opening`.
    ///
    /// Without a permit it could never be opened, so `permits` should be at least 1.
    pub fn opening(permits: usize, max_waiters: usize, max_per_caller: usize) -> Self {
        Gate {
            state: GateState::Opening,
            queue: WaitQueue::new(permits, max_waiters),
            callers: Callers::new(max_per_caller),
            paused: None,
        }
    }

    /// Grants an item a permit, queues it or refuses it, in one step.
    ///
    /// A caller at its limit is refused even if it would have to wait anyway. If one caller may
    /// hold all permits, there is no limit for a caller, and it waits.
    ///
    /// While `Opening`, the item that is granted must find out whether the tenant can be served,
    /// and then call [`opened`](Gate::opened) or [`failed`](Gate::failed).
    pub fn admit(&mut self, item: T, asks: Asks, deadline: Instant, now: Instant) -> GateEntry<T> {
        let opens = match self.state {
            GateState::Opening => self.queue.used() == 0,
            GateState::Active if self.paused == Some(Pause::Refuse) => {
                return GateEntry::Refused(item, GateRefusal::Paused);
            }
            GateState::Active => self.paused.is_none(),
            GateState::Draining => return GateEntry::Refused(item, GateRefusal::Draining),
            GateState::Closed => return GateEntry::Refused(item, GateRefusal::Closed),
        };
        if let Some(refusal) = asks.caller.as_ref().and_then(|caller| self.caller_limit(caller)) {
            return GateEntry::Refused(item, refusal);
        }
        let at_once = opens && self.queue.is_open(now);
        if !(asks.may_wait || at_once) {
            return GateEntry::Refused(item, GateRefusal::MayNotWait);
        }
        let entrant = Entrant { item, caller: asks.caller };
        let admission = match opens {
            true => self.queue.admit(entrant, deadline, now),
            false => self.queue.admit_parked(entrant, deadline),
        };
        match admission {
            Admission::Granted(entrant) => {
                self.callers.add(entrant.caller);
                GateEntry::Granted(entrant.item)
            }
            Admission::Queued { id, position } => GateEntry::Queued { id, position },
            Admission::Refused(entrant) => GateEntry::Refused(entrant.item, self.queue_full()),
        }
    }

    /// Notes that the tenant can be served: the gate becomes `Active` and grants permits to
    /// waiters.
    ///
    /// The opener keeps its permit. In any other state nothing happens: the gate was drained or
    /// closed meanwhile.
    pub fn opened(&mut self, now: Instant) -> Handed<T> {
        if self.state != GateState::Opening {
            return Handed::default();
        }
        self.state = GateState::Active;
        self.let_in(now)
    }

    /// Notes that the tenant cannot be served: the gate becomes `Closed`. Returns all waiters.
    ///
    /// The opener must still call [`finish`](Gate::finish). In any state but `Opening` nothing
    /// happens.
    #[must_use]
    pub fn failed(&mut self) -> Vec<T> {
        if self.state != GateState::Opening {
            return Vec::new();
        }
        self.close()
    }

    /// Takes a permit back from the caller it was counted for, and grants it to the next waiter.
    ///
    /// While `Opening` this means that the opener gave up without a result; the next live waiter,
    /// if any, becomes the opener.
    pub fn finish(&mut self, caller: Option<&CallerId>, now: Instant) -> Handed<T> {
        self.queue.put_back();
        self.callers.remove(caller);
        self.let_in(now)
    }

    /// Gives the gate other numbers of permits and of items that may wait.
    ///
    /// New permits are granted at once, in the order of arrival. Permits that are in use stay so:
    /// with fewer, none is granted until enough of them are finished. Items that wait stay in the
    /// queue; a new one may wait only when the queue is shorter than `max_waiters` again.
    pub fn resize(&mut self, permits: usize, max_waiters: usize, now: Instant) -> Handed<T> {
        self.queue.resize(permits, max_waiters);
        self.let_in(now)
    }

    /// Grants what is free to those who wait, as the state allows.
    fn let_in(&mut self, now: Instant) -> Handed<T> {
        match self.state {
            GateState::Opening if self.queue.used() > 0 => Handed::default(),
            GateState::Opening => self.hand_out(now, 1),
            GateState::Active if self.paused.is_none() => self.hand_out(now, usize::MAX),
            GateState::Active => Handed::default(),
            GateState::Draining | GateState::Closed => Handed::default(),
        }
    }

    /// A waiter whose turn has come is refused if its caller has reached its limit meanwhile.
    fn hand_out(&mut self, now: Instant, at_most: usize) -> Handed<T> {
        let (callers, permits) = (&mut self.callers, self.queue.permits());
        let handed = self.queue.hand_out(now, at_most, |entrant| {
            let full = |caller| is_full(callers, caller, permits);
            let may = !entrant.caller.as_ref().is_some_and(full);
            if may {
                callers.add(entrant.caller.clone());
            }
            may
        });
        let items = |entrants: Vec<Entrant<T>>| entrants.into_iter().map(|e| e.item).collect();
        Handed {
            granted: items(handed.granted),
            expired: items(handed.expired),
            refused: items(handed.refused),
        }
    }

    /// The refusal for a caller at its limit; `None` if it may have another permit.
    pub fn caller_limit(&self, caller: &CallerId) -> Option<GateRefusal> {
        let full = is_full(&self.callers, caller, self.queue.permits());
        let (used, limit) = (self.callers.held_by(caller), self.callers.max());
        full.then_some(GateRefusal::CallerLimit { used, limit })
    }

    /// Permits in use that are counted for this caller.
    pub fn held_by(&self, caller: &CallerId) -> usize {
        self.callers.held_by(caller)
    }

    /// Takes a permit for work that does not wait: true if the gate is `Active`, a permit is free
    /// and no item waits for it.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        self.state == GateState::Active
            && match self.paused {
                None => self.queue.try_take(),
                // Those who wait could not have it.
                Some(_) => self.queue.take_free(),
            }
    }

    /// Removes a waiter; `None` if it was removed, granted or expired before.
    pub fn leave(&mut self, id: WaiterId) -> Option<T> {
        self.queue.leave(id).map(|entrant| entrant.item)
    }

    /// Gives a waiter another deadline. False: it no longer waits.
    pub fn postpone(&mut self, id: WaiterId, deadline: Instant) -> bool {
        self.queue.postpone(id, deadline)
    }

    /// Removes up to `limit` waiters whose deadline is `now` or earlier, the earliest first, each
    /// with the position it had reached.
    #[must_use]
    pub fn expire(&mut self, now: Instant, limit: usize) -> Vec<(T, usize)> {
        let expired = self.queue.expire(now, limit).into_iter();
        expired.map(|(entrant, position)| (entrant.item, position)).collect()
    }

    /// When [`expire`](Gate::expire) is due next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.next_deadline()
    }

    /// Stops accepting work and returns all waiters. A gate that is `Closed` stays so.
    #[must_use]
    pub fn drain(&mut self) -> Vec<T> {
        match self.state {
            GateState::Opening | GateState::Active => self.state = GateState::Draining,
            GateState::Draining | GateState::Closed => {}
        }
        self.clear()
    }

    /// Closes the gate for good and returns all waiters.
    #[must_use]
    pub fn close(&mut self) -> Vec<T> {
        self.state = GateState::Closed;
        self.clear()
    }

    fn clear(&mut self) -> Vec<T> {
        self.queue.clear().into_iter().map(|entrant| entrant.item).collect()
    }

    pub fn state(&self) -> GateState {
        self.state
    }

    /// Permits in use.
    pub fn used(&self) -> usize {
        self.queue.used()
    }

    /// The item that has waited longest.
    pub fn oldest(&self) -> Option<&T> {
        self.queue.oldest().map(|entrant| &entrant.item)
    }

    /// Waiters in the queue, expired ones included.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// All permits, in use or free.
    pub fn permits(&self) -> usize {
        self.queue.permits()
    }

    /// Whether the gate is still `Opening` and no item is left to open it.
    ///
    /// Such a gate may be discarded: the next caller would start from the beginning anyway.
    pub fn is_abandoned(&self) -> bool {
        self.state == GateState::Opening && self.used() == 0 && self.waiting() == 0
    }

    fn queue_full(&self) -> GateRefusal {
        GateRefusal::QueueFull {
            used: self.queue.used(),
            waiting: self.queue.waiting(),
            limit: self.queue.max_waiters(),
        }
    }
}

/// Whether a caller is at its limit; never true if one caller may hold all permits.
fn is_full(callers: &Callers, caller: &CallerId, permits: usize) -> bool {
    callers.max() < permits && callers.held_by(caller) >= callers.max()
}

#[cfg(test)]
mod tests;

//! The one door through which all work of a tenant goes.

use super::wait_queue::{Admission, Handed, WaitQueue, WaiterId};
use std::time::Instant;

/// A tenant's door: its permits, those who wait for one, and whether anybody is let in at all.
///
/// A permit is out from `Granted` (or a successful [`try_take`](Gate::try_take)) until
/// [`finish`](Gate::finish), whatever state the gate is in by then. Invariants: while `Opening` at
/// most one permit is out, and somebody waits only while it is; while `Draining` or `Closed` nobody
/// waits.
#[derive(Debug)]
pub struct Gate<T> {
    state: GateState,
    queue: WaitQueue<T>,
}

/// Whether a gate lets work in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateState {
    /// Nobody knows yet whether the tenant can be served: one caller tries, the others wait for it.
    /// Exits: `opened` to `Active`, `failed` or `close` to `Closed`, `drain` to `Draining`.
    Opening,
    /// Work is let in as permits allow. Exits: `drain` to `Draining`, `close` to `Closed`.
    Active,
    /// Nobody is let in, and work that is inside may finish. Exit: `close` to `Closed`.
    Draining,
    /// Nobody is let in ever again. No exit; work that is still inside gives its permit back.
    Closed,
}

/// Why an item was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many wait as may wait.
    QueueFull {
        /// Permits that are out.
        used: usize,
        /// Waiters in the queue.
        waiting: usize,
        /// How many may wait.
        limit: usize,
    },
    /// The tenant is being taken out of service.
    Draining,
    /// The tenant is out of service, or could not be opened.
    Closed,
}

/// What became of an item at the door.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<T> {
    /// It is in, and owes one [`Gate::finish`].
    Granted(T),
    /// The gate keeps it until its turn.
    Queued {
        /// Its place, for [`Gate::leave`].
        id: WaiterId,
        /// How many stand in the queue up to and including it: 1 is the next to be let in.
        position: usize,
    },
    /// It is not let in.
    Refused(T, Refusal),
}

impl<T> Gate<T> {
    /// A gate nobody has come to yet.
    ///
    /// With no permit at all nobody could ever open it, so `permits` should be at least 1.
    pub fn opening(permits: usize, max_waiters: usize) -> Self {
        Gate { state: GateState::Opening, queue: WaitQueue::new(permits, max_waiters) }
    }

    /// Lets an item in, queues it or refuses it.
    ///
    /// While `Opening`, the item that is granted is the one that has to find out whether the tenant
    /// can be served, and to call [`opened`](Gate::opened) or [`failed`](Gate::failed).
    pub fn admit(&mut self, item: T, deadline: Instant, now: Instant) -> Entry<T> {
        let admission = match self.state {
            GateState::Opening if self.queue.used() > 0 => self.queue.admit_parked(item, deadline),
            GateState::Opening | GateState::Active => self.queue.admit(item, deadline, now),
            GateState::Draining => return Entry::Refused(item, Refusal::Draining),
            GateState::Closed => return Entry::Refused(item, Refusal::Closed),
        };
        match admission {
            Admission::Granted(item) => Entry::Granted(item),
            Admission::Queued { id, position } => Entry::Queued { id, position },
            Admission::Refused(item) => Entry::Refused(item, self.queue_full()),
        }
    }

    /// The tenant can be served: the gate becomes `Active` and lets waiters in.
    ///
    /// The opener keeps its permit. In any other state nothing happens: the gate was drained or
    /// closed while the opener was at work.
    pub fn opened(&mut self, now: Instant) -> Handed<T> {
        if self.state != GateState::Opening {
            return Handed::default();
        }
        self.state = GateState::Active;
        self.queue.hand_out(now, usize::MAX)
    }

    /// The tenant cannot be served: the gate is `Closed` and all waiters come out.
    ///
    /// The opener still owes its [`finish`](Gate::finish). In any other state than `Opening` nothing
    /// happens.
    #[must_use]
    pub fn failed(&mut self) -> Vec<T> {
        if self.state != GateState::Opening {
            return Vec::new();
        }
        self.close()
    }

    /// Takes a permit back and lets in whose turn it is.
    ///
    /// While `Opening` this means that the opener gave up without a verdict; the next live waiter,
    /// if there is one, becomes the opener.
    pub fn finish(&mut self, now: Instant) -> Handed<T> {
        self.queue.put_back();
        match self.state {
            GateState::Opening => self.queue.hand_out(now, 1),
            GateState::Active => self.queue.hand_out(now, usize::MAX),
            GateState::Draining | GateState::Closed => Handed::default(),
        }
    }

    /// Takes a permit for work that does not wait: true if the gate is `Active`, a permit is free
    /// and nobody waits.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        self.state == GateState::Active && self.queue.try_take()
    }

    /// Takes a waiter out; None means that it came out before.
    pub fn leave(&mut self, id: WaiterId) -> Option<T> {
        self.queue.leave(id)
    }

    /// Takes out up to `limit` waiters whose deadline is `now` or earlier, the earliest first.
    #[must_use]
    pub fn expire(&mut self, now: Instant, limit: usize) -> Vec<T> {
        self.queue.expire(now, limit)
    }

    /// When [`expire`](Gate::expire) will next find somebody.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.next_deadline()
    }

    /// Lets nobody in any more; all waiters come out. A gate that is `Closed` stays so.
    #[must_use]
    pub fn drain(&mut self) -> Vec<T> {
        match self.state {
            GateState::Opening | GateState::Active => self.state = GateState::Draining,
            GateState::Draining | GateState::Closed => {}
        }
        self.queue.clear()
    }

    /// Closes the gate for good; all waiters come out.
    #[must_use]
    pub fn close(&mut self) -> Vec<T> {
        self.state = GateState::Closed;
        self.queue.clear()
    }

    /// The state of the gate.
    pub fn state(&self) -> GateState {
        self.state
    }

    /// Permits that are out.
    pub fn used(&self) -> usize {
        self.queue.used()
    }

    /// Waiters in the queue, expired ones included.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// All permits, out or free.
    pub fn permits(&self) -> usize {
        self.queue.permits()
    }

    /// Whether the gate is still `Opening` and nobody is left to open it.
    ///
    /// Such a gate may be forgotten: the next caller would start from the beginning anyway.
    pub fn is_abandoned(&self) -> bool {
        self.state == GateState::Opening && self.used() == 0 && self.waiting() == 0
    }

    fn queue_full(&self) -> Refusal {
        Refusal::QueueFull {
            used: self.queue.used(),
            waiting: self.queue.waiting(),
            limit: self.queue.max_waiters(),
        }
    }
}

#[cfg(test)]
mod tests;

//! The one door through which all work of a tenant goes.

use super::callers::{CallerId, Callers};
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
    queue: WaitQueue<Entrant<T>>,
    callers: Callers,
}

/// How an item wants to be let in.
#[derive(Clone, Debug)]
pub struct Asks {
    /// Whose permit it will be; `None`: one that is not counted, because it is held shortly.
    pub caller: Option<CallerId>,
    /// Whether it may join the line.
    pub may_wait: bool,
}

#[derive(Debug)]
struct Entrant<T> {
    item: T,
    caller: Option<CallerId>,
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
    /// It would have to wait, and may not.
    MayNotWait,
    /// Its caller has as many permits as one caller may have.
    CallerLimit {
        /// Permits of the caller.
        used: usize,
        /// How many a caller may have.
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
    pub fn opening(permits: usize, max_waiters: usize, max_per_caller: usize) -> Self {
        Gate {
            state: GateState::Opening,
            queue: WaitQueue::new(permits, max_waiters),
            callers: Callers::new(max_per_caller),
        }
    }

    /// Lets an item in, queues it or refuses it, and counts its permit, in one step.
    ///
    /// A caller that has as many permits as it may have is refused even where it would have to
    /// wait. Where one caller may have all permits, their number is the limit, and it waits.
    ///
    /// While `Opening`, the item that is granted is the one that has to find out whether the tenant
    /// can be served, and to call [`opened`](Gate::opened) or [`failed`](Gate::failed).
    pub fn admit(&mut self, item: T, asks: Asks, deadline: Instant, now: Instant) -> Entry<T> {
        let opens = match self.state {
            GateState::Opening => self.queue.used() == 0,
            GateState::Active => true,
            GateState::Draining => return Entry::Refused(item, Refusal::Draining),
            GateState::Closed => return Entry::Refused(item, Refusal::Closed),
        };
        if let Some(refusal) = asks.caller.as_ref().and_then(|caller| self.caller_limit(caller)) {
            return Entry::Refused(item, refusal);
        }
        let at_once = opens && self.queue.is_open(now);
        if !(asks.may_wait || at_once) {
            return Entry::Refused(item, Refusal::MayNotWait);
        }
        let entrant = Entrant { item, caller: asks.caller };
        let admission = match opens {
            true => self.queue.admit(entrant, deadline, now),
            false => self.queue.admit_parked(entrant, deadline),
        };
        match admission {
            Admission::Granted(entrant) => {
                self.callers.add(entrant.caller);
                Entry::Granted(entrant.item)
            }
            Admission::Queued { id, position } => Entry::Queued { id, position },
            Admission::Refused(entrant) => Entry::Refused(entrant.item, self.queue_full()),
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
        self.hand_out(now, usize::MAX)
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

    /// Takes a permit back, from the caller it was counted for, and lets in whose turn it is.
    ///
    /// While `Opening` this means that the opener gave up without a verdict; the next live waiter,
    /// if there is one, becomes the opener.
    pub fn finish(&mut self, caller: Option<&CallerId>, now: Instant) -> Handed<T> {
        self.queue.put_back();
        self.callers.remove(caller);
        match self.state {
            GateState::Opening => self.hand_out(now, 1),
            GateState::Active => self.hand_out(now, usize::MAX),
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

    /// What a caller is to be told that has as many permits as it may have.
    pub fn caller_limit(&self, caller: &CallerId) -> Option<Refusal> {
        let full = is_full(&self.callers, caller, self.queue.permits());
        let (used, limit) = (self.callers.held_by(caller), self.callers.max());
        full.then_some(Refusal::CallerLimit { used, limit })
    }

    /// Permits out that are counted for this caller.
    pub fn held_by(&self, caller: &CallerId) -> usize {
        self.callers.held_by(caller)
    }

    /// Takes a permit for work that does not wait: true if the gate is `Active`, a permit is free
    /// and nobody waits.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        self.state == GateState::Active && self.queue.try_take()
    }

    /// Takes a waiter out; None means that it came out before.
    pub fn leave(&mut self, id: WaiterId) -> Option<T> {
        self.queue.leave(id).map(|entrant| entrant.item)
    }

    /// Gives a waiter another deadline. False: it came out before.
    pub fn postpone(&mut self, id: WaiterId, deadline: Instant) -> bool {
        self.queue.postpone(id, deadline)
    }

    /// Takes out up to `limit` waiters whose deadline is `now` or earlier, the earliest first, each
    /// with the position it had come to.
    #[must_use]
    pub fn expire(&mut self, now: Instant, limit: usize) -> Vec<(T, usize)> {
        let expired = self.queue.expire(now, limit).into_iter();
        expired.map(|(entrant, position)| (entrant.item, position)).collect()
    }

    /// When [`expire`](Gate::expire) will next find somebody.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.next_deadline()
    }

    /// Takes all waiters out, because waiting leads them nowhere; those who come later may wait.
    /// Only while `Active`: who waits for the opener is answered with it.
    #[must_use]
    pub fn turn_away(&mut self) -> Vec<T> {
        match self.state {
            GateState::Active => self.clear(),
            GateState::Opening | GateState::Draining | GateState::Closed => Vec::new(),
        }
    }

    /// Lets nobody in any more; all waiters come out. A gate that is `Closed` stays so.
    #[must_use]
    pub fn drain(&mut self) -> Vec<T> {
        match self.state {
            GateState::Opening | GateState::Active => self.state = GateState::Draining,
            GateState::Draining | GateState::Closed => {}
        }
        self.clear()
    }

    /// Closes the gate for good; all waiters come out.
    #[must_use]
    pub fn close(&mut self) -> Vec<T> {
        self.state = GateState::Closed;
        self.clear()
    }

    fn clear(&mut self) -> Vec<T> {
        self.queue.clear().into_iter().map(|entrant| entrant.item).collect()
    }

    /// The state of the gate.
    pub fn state(&self) -> GateState {
        self.state
    }

    /// Permits that are out.
    pub fn used(&self) -> usize {
        self.queue.used()
    }

    /// Who has stood in the queue for the longest.
    pub fn oldest(&self) -> Option<&T> {
        self.queue.oldest().map(|entrant| &entrant.item)
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
impl Asks {
    /// An item that waits if it must, and whose permit is not counted.
    pub const PATIENT: Asks = Asks { caller: None, may_wait: true };
}

/// Whether a caller has what it may have; never where one caller may have all there is.
fn is_full(callers: &Callers, caller: &CallerId, permits: usize) -> bool {
    callers.max() < permits && callers.held_by(caller) >= callers.max()
}

#[cfg(test)]
mod tests;

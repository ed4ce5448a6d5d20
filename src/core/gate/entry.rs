//! What is asked of a gate, and what it answers.

use crate::core::callers::CallerId;
use crate::core::wait_queue::WaiterId;

/// The terms on which an item asks for a permit.
#[derive(Clone, Debug)]
pub struct Asks {
    /// The caller whose limit the permit counts against; `None` for a permit held only briefly,
    /// which is not counted.
    pub caller: Option<CallerId>,
    /// Whether it may wait in the queue.
    pub may_wait: bool,
}

#[cfg(test)]
impl Asks {
    /// An item that waits if it must, and whose permit is not counted.
    pub const PATIENT: Asks = Asks { caller: None, may_wait: true };
}

/// Why an item was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateRefusal {
    /// The queue is full.
    QueueFull {
        /// Permits in use.
        used: usize,
        /// Waiters in the queue.
        waiting: usize,
        /// How many may wait.
        limit: usize,
    },
    /// It would have to wait, which it does not allow.
    MayNotWait,
    /// Its caller holds as many permits as one caller may.
    CallerLimit {
        /// Permits that the caller holds.
        used: usize,
        /// How many a caller may hold.
        limit: usize,
    },
    /// The gate is paused.
    Paused,
    /// The tenant is being taken out of service.
    Draining,
    /// The tenant is out of service, or could not be opened.
    Closed,
}

/// The gate's answer to an item.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum GateEntry<T> {
    /// It has a permit and must call [`Gate::finish`](super::Gate::finish) once.
    Granted(T),
    /// The gate keeps it until its turn.
    Queued {
        /// Its place, for [`Gate::leave`](super::Gate::leave).
        id: WaiterId,
        /// How many wait up to and including it: 1 is the next to be granted a permit.
        position: usize,
    },
    /// It was refused.
    Refused(T, GateRefusal),
}

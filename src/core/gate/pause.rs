//! A gate that grants nothing for a while.

use std::time::Instant;

use super::{Gate, GateState};
use crate::core::wait_queue::Handed;

/// What becomes of the items that ask for a permit while a gate is paused. Permits that are in use
/// stay so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// They wait, in the order of their arrival and until their deadlines.
    Wait,
    /// They are refused.
    Refuse,
}

impl Pause {
    /// The word for it in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Pause::Wait => "wait",
            Pause::Refuse => "refuse",
        }
    }
}

impl<T> Gate<T> {
    /// Pauses the gate, or changes how it is paused. It takes effect while the gate is `Active`:
    /// one that is `Opening` is paused as soon as it is opened. Returns those who waited, if all
    /// are to be refused.
    #[must_use]
    pub fn pause(&mut self, how: Pause) -> Vec<T> {
        self.paused = Some(how);
        match how {
            Pause::Wait => Vec::new(),
            Pause::Refuse => self.turn_away(),
        }
    }

    /// Ends the pause: free permits are granted to those who wait, in the order of their arrival.
    pub fn resume(&mut self, now: Instant) -> Handed<T> {
        self.paused = None;
        self.let_in(now)
    }

    /// Removes all waiters because waiting is pointless for them; later requests may wait. Only
    /// while `Active`: those that wait for the opener get its result.
    #[must_use]
    pub fn turn_away(&mut self) -> Vec<T> {
        match self.state {
            GateState::Active => self.clear(),
            GateState::Opening | GateState::Draining | GateState::Closed => Vec::new(),
        }
    }

    /// How it is paused.
    pub fn paused(&self) -> Option<Pause> {
        self.paused.filter(|_| matches!(self.state, GateState::Opening | GateState::Active))
    }
}

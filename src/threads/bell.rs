//! Wakes a thread that sleeps until something is due.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::lock::Leaf;

/// Wakes a thread when something is due earlier than it sleeps.
#[derive(Clone)]
pub struct Bell {
    ring: Sender<()>,
    heard: Receiver<()>,
    /// What the thread sleeps until; `None` = it is awake.
    asleep_until: Arc<Leaf<Option<Instant>>>,
}

impl Default for Bell {
    fn default() -> Bell {
        let (ring, heard) = bounded(1);
        Bell { ring, heard, asleep_until: Arc::default() }
    }
}

impl Bell {
    /// Something is due at `at`.
    pub fn due(&self, at: Instant) {
        let until = *self.asleep_until.lock();
        if until.is_none_or(|until| at < until) {
            // A full channel means that the bell rings already.
            let _ = self.ring.try_send(());
        }
    }

    /// The thread goes to sleep until then.
    pub fn sleep_until(&self, until: Instant) {
        *self.asleep_until.lock() = Some(until);
    }

    /// The thread is awake: whatever comes now must ring.
    pub fn awake(&self) {
        *self.asleep_until.lock() = None;
    }

    /// What the thread listens to.
    pub fn heard(&self) -> &Receiver<()> {
        &self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_bell_rings_only_for_what_is_earlier_than_the_sleep() {
        let bell = Bell::default();
        let t0 = crate::clock::now();
        bell.sleep_until(t0 + Duration::from_secs(10));
        bell.due(t0 + Duration::from_secs(11));
        assert!(bell.heard().is_empty());
        bell.due(t0 + Duration::from_secs(9));
        assert_eq!(bell.heard().len(), 1);
    }
}

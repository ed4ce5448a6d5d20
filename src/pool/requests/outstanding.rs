//! How many permits are out, for the stop that waits until none is.

use std::sync::{Arc, Condvar};
use std::time::Instant;

use crate::clock;
use crate::lock::Leaf;

/// Counts what is out, and lets a stop wait until nothing is.
#[derive(Clone, Default)]
pub struct Outstanding(Arc<(Leaf<usize>, Condvar)>);

/// One of what is out.
pub struct Counted(Outstanding);

impl Outstanding {
    /// Counts one until the guard is dropped.
    pub fn count(&self) -> Counted {
        *self.0 .0.lock() += 1;
        Counted(self.clone())
    }

    /// Waits until nothing is out or the time has come. True: nothing is out.
    pub fn wait_for_none(&self, until: Instant) -> bool {
        let (count, changed) = &*self.0;
        let mut out = count.lock();
        while *out > 0 {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return false;
            }
            out = out.wait(changed, left);
        }
        true
    }

    /// How many are out.
    pub fn now(&self) -> usize {
        *self.0 .0.lock()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (count, changed) = &*self.0 .0;
        let mut out = count.lock();
        *out = out.saturating_sub(1);
        if *out == 0 {
            changed.notify_all();
        }
    }
}

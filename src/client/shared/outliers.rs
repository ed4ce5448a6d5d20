//! Addresses at which attempts fail.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use crate::client::destination::Destination;
use crate::clock;

impl Shared {
    /// An attempt has ended well, or badly for its address.
    pub(in crate::client) fn attempted(&self, to: &Arc<Destination>, bad: bool) {
        if !self.has_several.load(Ordering::Relaxed) || self.config().outlier.is_none() {
            return;
        }
        let (ejection, duty) = self.lock().attempted(to.number, bad, clock::now());
        self.act(duty);
        if let Some(ejection) = ejection {
            self.reporter.ejected(to, ejection);
            self.bell.ring();
        }
    }

    /// Takes addresses in again.
    pub(super) fn restore(&self, now: Instant) {
        let restored = self.lock().restore(now);
        for to in restored.into_iter().filter_map(|number| self.destination(number)) {
            self.reporter.restored(&to);
        }
    }
}

//! What is told of names, and of the addresses that they stand for.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Reporter;
use crate::client::directory::LookedUp;
use crate::client::observer::Event;

impl Reporter {
    /// A look-up of a name has changed something, or has failed.
    pub(in crate::client) fn looked_up(&self, news: &LookedUp, size: usize, now: Instant) {
        match news {
            LookedUp::Moved { host, addresses } => {
                self.lines.resolved(host, *addresses, size);
                let (host, addresses) = (host.clone(), *addresses);
                self.tell(|service| Event::Resolved { service, host, addresses });
            }
            LookedUp::Failed { host, error } => {
                self.lines.not_resolved(host, error, now);
                let (host, error) = (host.clone(), error.clone());
                self.tell(|service| Event::ResolveFailed { service, host, error });
            }
            LookedUp::Same => {}
        }
    }

    /// Forgets all addresses but these.
    pub(in crate::client) fn retain(&self, numbers: &BTreeSet<usize>) {
        self.down.lock().retain(|number, _| numbers.contains(number));
    }
}

//! Reports on names, and on the addresses that they stand for.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Reporter;
use crate::client::destination::Destination;
use crate::client::directory::LookedUp;
use crate::client::lineup::Ejection;
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

    /// The program or a reload has set other addresses.
    pub(in crate::client) fn readdressed(&self, addresses: usize) {
        self.lines.readdressed(addresses);
        self.tell(|service| Event::Readdressed { service, addresses });
    }

    /// An address was taken out.
    pub(in crate::client) fn ejected(&self, at: &Destination, ejection: Ejection) {
        let (reason, time) = (ejection.why.as_str(), ejection.time);
        self.meter.ejected(reason);
        self.lines.ejected(at, reason, time);
        let address = || at.to_string();
        self.tell(|service| Event::Ejected { service, address: address(), reason, time });
    }

    /// It was taken in again.
    pub(in crate::client) fn restored(&self, at: &Destination) {
        self.lines.restored(at);
        self.tell(|service| Event::Restored { service, address: at.to_string() });
    }

    /// Forgets all addresses but these.
    pub(in crate::client) fn retain(&self, numbers: &BTreeSet<usize>) {
        self.down.lock().retain(|number, _| numbers.contains(number));
    }
}

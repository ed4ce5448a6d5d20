//! The client connections that have shown the DSN of a pool.

use std::time::Duration;

use crate::clock;
use crate::core::callers::CallerId;
use crate::core::expiring_map::ExpiringMap;
use crate::lock::Leaf;

/// So many client connections of a tenant are known, and each for so long after it
/// showed the password last: its address may be another's by then.
const KNOWN_MAX: usize = 1000;
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// Those that are known.
pub(super) struct Acquainted(Leaf<ExpiringMap<CallerId, ()>>);

impl Default for Acquainted {
    fn default() -> Acquainted {
        Acquainted(Leaf::new(ExpiringMap::new(KNOWN_MAX, KNOWN_FOR)))
    }
}

impl Acquainted {
    /// True if it is known.
    pub(super) fn knows(&self, by: &CallerId) -> bool {
        self.0.lock().find(by, clock::now()).is_some()
    }

    /// It has shown the DSN now.
    pub(super) fn note(&self, by: &CallerId) {
        self.0.lock().put(by.clone(), (), clock::now());
    }
}

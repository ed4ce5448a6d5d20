//! Who may call, as it is in force now.

use std::sync::Arc;

use crate::core::access::Access;
use crate::lock::Leaf;

/// The identities in force; a reload replaces all of them at once.
pub struct AccessInForce(Leaf<Arc<Access>>);

impl AccessInForce {
    /// These, to begin with.
    pub fn new(access: Arc<Access>) -> AccessInForce {
        AccessInForce(Leaf::new(access))
    }

    /// Those of now. To be asked for each decision, and not kept.
    pub fn now(&self) -> Arc<Access> {
        Arc::clone(&self.0.lock())
    }

    #[allow(dead_code)] // Until a reload reads the identities again.
    /// Puts others in their place, for every call from now on.
    pub fn replace(&self, access: Arc<Access>) {
        let before = std::mem::replace(&mut *self.0.lock(), access);
        // A large table is freed without the lock.
        drop(before);
    }
}

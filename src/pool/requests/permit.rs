//! The right to have a backend in use, which gives itself back.

use std::sync::Arc;

use crate::core::callers::CallerId;
use crate::pool::requests::outstanding::{Counted, Outstanding};

/// Who gives permits out, and takes them back: a tenant, with its gate.
pub trait Gatekeeper: Send + Sync {
    /// The permit comes back that was counted for this caller; the oldest waiter gets it.
    /// `upkeep`: it was for the service's own work. Does not block.
    fn take_back(self: Arc<Self>, caller: Option<&CallerId>, upkeep: bool);

    /// A backend is idle: a request that waits for one to be opened gets it with its own
    /// permit, and this one is given back. Where the thread may not block, a worker does it.
    fn serve_opening(&self, permit: Permit);

    /// So many backends were lost that those at rest are to be looked at before anybody gets
    /// them. Does not block.
    fn doubt(self: Arc<Self>);
}

/// One of a tenant's rights to have a backend in use. Dropped, it is given back.
pub struct Permit {
    keeper: Arc<dyn Gatekeeper>,
    /// Whom the gate has counted it for.
    caller: Option<CallerId>,
    /// It is for the service's own work on the pool.
    upkeep: bool,
    _counted: Counted,
}

impl Permit {
    /// Wraps a permit that the gate has just given out.
    pub(in crate::pool) fn new(
        keeper: Arc<dyn Gatekeeper>,
        caller: Option<CallerId>,
        upkeep: bool,
        all: &Outstanding,
    ) -> Permit {
        Permit { keeper, caller, upkeep, _counted: all.count() }
    }

    /// Whom it goes back to.
    pub(in crate::pool) fn keeper(&self) -> &Arc<dyn Gatekeeper> {
        &self.keeper
    }

    /// It passes to a request that waits for a backend to be opened, else to the oldest waiter.
    pub(in crate::pool) fn pass_on(self) {
        let keeper = Arc::clone(&self.keeper);
        keeper.serve_opening(self);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        Arc::clone(&self.keeper).take_back(self.caller.as_ref(), self.upkeep);
    }
}

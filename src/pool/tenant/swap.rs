//! How the backends behind a gate are replaced, and how a gate gets other numbers of permits.

use std::sync::Arc;

use super::{Tenant, POOL_CLOSED, REPLACED};
use crate::clock;
use crate::pool::backends::Backends;

/// What lies behind a gate, and the numbers that the gate is to have.
#[derive(Clone)]
pub struct Setup {
    /// What backends are opened with.
    pub backends: Arc<Backends>,
    /// Permits, and so the most backends.
    pub permits: usize,
    /// Requests that may wait.
    pub waiters: usize,
}

impl Setup {
    /// True if it has these backends.
    pub(in crate::pool) fn has(&self, backends: &Arc<Backends>) -> bool {
        Arc::ptr_eq(&self.backends, backends)
    }

    fn size(&self) -> (usize, usize) {
        (self.permits, self.waiters)
    }

    /// True if both give a gate the same numbers.
    pub(in crate::pool) fn is_as_large_as(&self, other: &Setup) -> bool {
        self.size() == other.size()
    }
}

impl Tenant {
    /// What is behind its gate at present.
    pub(in crate::pool) fn setup(&self) -> Setup {
        self.setup.lock().clone()
    }

    /// Puts another setup in the place of this one, which is to be all that the caller knew of.
    /// False: somebody else was quicker, and nothing has changed. It takes effect by
    /// [`apply`](Tenant::apply), which is to follow.
    pub(in crate::pool) fn install(&self, before: &Setup, next: &Setup) -> bool {
        let next = next.clone();
        let mut setup = self.setup.lock();
        let known = setup.has(&before.backends) && setup.is_as_large_as(before);
        if known {
            // The caller still has those before, so nothing is dropped here.
            *setup = next;
        }
        known
    }

    /// Makes a setup take effect that has been installed in place of another, while both the
    /// tenant and what is leased go on. Does not block.
    ///
    /// With other backends, requests that have none yet get one of the new. Idle backends of the
    /// old are closed at once, and those in use when they come back. Listeners move to a new one,
    /// and receive a gap: they may have missed something.
    ///
    /// More permits are handed out at once. With fewer, those in use run out: surplus backends that
    /// are idle are closed at once, the others when they come back. Waiters keep their places, and
    /// all backends together never exceed the permits.
    pub(in crate::pool) fn apply(self: &Arc<Self>, before: &Setup, next: &Setup) {
        let now = clock::now();
        if !next.has(&before.backends) {
            before.backends.retire(REPLACED);
            // A thread that closed the tenant meanwhile has perhaps seen only the former ones.
            if self.is_closed() {
                next.backends.retire(POOL_CLOSED);
            }
            // Those who wait for a database that was away, or for room, look anew.
            self.line.resume_all();
            self.hub.replaced();
        }
        if !next.is_as_large_as(before) {
            let mut gate = self.gate();
            // Not those of `next`: of two changes the later one holds, whichever comes here first.
            let (permits, waiters) = self.setup.lock().size();
            // Before a permit is handed out that needs it.
            self.account.open.set_limit(permits, gate.used());
            let handed = gate.resize(permits, waiters, now);
            drop(gate);
            self.hand(handed, now);
            self.backends().close_surplus();
        }
        self.context().keeper.due(now);
    }
}

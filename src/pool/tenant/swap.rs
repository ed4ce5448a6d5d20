//! How the backends behind a gate are replaced, and how a gate gets other numbers of permits.

use std::sync::Arc;

use super::{Tenant, POOL_CLOSED, REPLACED};
use crate::clock;
use crate::config::PoolConfig;
use crate::pool::backends::Backends;

impl Tenant {
    /// Puts other backends in the place of those it has, while both the tenant and what is
    /// leased go on. Whoever has yet to get a backend gets one of the new; what is at rest of
    /// the old is closed at once, and what is in use when it comes back. The permits and the
    /// queue stay as they are; all backends together never exceed the permits. Listeners go on
    /// with a new one, and are told that they may have missed something. Does not block.
    pub(in crate::pool) fn swap(self: &Arc<Self>, fresh: &Arc<Backends>) {
        let now = clock::now();
        fresh.begin_rounds(now);
        let before = std::mem::replace(&mut *self.backends.lock(), Arc::clone(fresh));
        before.retire(REPLACED);
        // Whoever closed it meanwhile has perhaps just seen those before.
        if self.is_closed() {
            fresh.retire(POOL_CLOSED);
        }
        // Those who wait for a database that was away, or for room, look anew.
        self.wake_all();
        self.hub.replaced();
        self.context().keeper.due(now);
    }

    /// Gives it another number of permits, and of requests that may wait. More are handed out
    /// at once; with fewer, those that are in use run out, what rests beyond them is closed at
    /// once, and what comes back beyond them is closed then. The registry's count of
    /// connections is its caller's affair. Does not block.
    #[cfg_attr(not(test), expect(dead_code, reason = "reload and administration call it"))]
    pub(in crate::pool) fn resize(self: &Arc<Self>, permits: usize, waiters: usize) {
        let (backends, now) = (self.backends(), clock::now());
        if permits > backends.store.capacity() {
            // r2d2's size is set for good when a pool is made.
            let settings = PoolConfig { max_connections: permits, ..backends.settings.clone() };
            self.swap(&backends.with(settings));
        }
        let mut gate = self.gate();
        // Before a permit is handed out that needs it.
        self.account.open.set_limit(permits, gate.used());
        let handed = gate.resize(permits, waiters, now);
        drop(gate);
        self.hand(handed, now);
        self.backends().close_surplus();
        self.context().keeper.due(now);
    }
}

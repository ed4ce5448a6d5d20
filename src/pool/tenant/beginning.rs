//! How a tenant begins to be served.

use std::sync::Arc;

use super::upkeep::Upkeep;
use super::Tenant;
use crate::clock;

impl Tenant {
    /// It has its first backend. False: another has its name, or there is no room for it.
    pub(super) fn opened(self: &Arc<Self>) -> bool {
        if !self.registrar.upgrade().is_none_or(|registrar| registrar.opened(self)) {
            return false;
        }
        let backends = self.backends();
        // It has its database.
        while let Some(probe) = backends.breaker.probe_attempt(clock::now()) {
            Upkeep::of(self, &backends).heed(probe.settle(None));
        }
        let now = clock::now();
        let handed = self.gate().opened(now);
        backends.tell_created(self.setup().permits);
        self.hand(handed, now);
        backends.begin_checks(now);
        self.context().keeper.due(now);
        true
    }

    /// A configured tenant is served from now on, although nobody has looked for its database.
    pub(in crate::pool) fn begin(self: &Arc<Self>) {
        let (backends, now) = (self.backends(), clock::now());
        backends.tell_created(self.setup().permits);
        let handed = self.gate().opened(now);
        self.hand(handed, now);
        backends.begin_rounds(now);
    }
}

//! A tenant that gives out no connection for a while, because an operator wants it so.

use std::sync::Arc;

use super::Tenant;
use crate::clock;
use crate::core::gate::Pause;
use crate::error::RequestError;

impl Tenant {
    /// Gives out no connection from now on; those who ask wait or are refused. What is leased
    /// goes on, and so does the service's own upkeep. Does not block.
    pub(in crate::pool) fn pause(&self, how: Pause) {
        let refused = self.gate().pause(how);
        for job in refused {
            job.fail(&self.account, RequestError::TenantPaused(self.id().clone()));
        }
    }

    /// Gives out connections again, to those who have waited longest first. Does not block.
    pub(in crate::pool) fn resume(self: &Arc<Self>) {
        let now = clock::now();
        let handed = self.gate().resume(now);
        self.hand(handed, now);
        self.context().keeper.due(now);
    }

    /// How it is paused, if it is.
    pub(in crate::pool) fn paused(&self) -> Option<Pause> {
        self.gate().paused()
    }
}

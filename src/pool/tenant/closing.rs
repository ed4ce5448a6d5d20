//! How a tenant stops: it is drained or closed.

use std::sync::Arc;

use super::{Tenant, POOL_CLOSED};
use crate::core::gate::GateState;
use crate::error::RequestError;

impl Tenant {
    /// Takes no more jobs; those that wait are answered.
    pub fn drain(&self) {
        // First: the listeners' permit would go to one of those who wait.
        let waiting = self.gate().drain();
        self.hub.end(&RequestError::Draining);
        for job in waiting {
            job.fail(&self.account, RequestError::Draining);
        }
        // Requests that wait for room at their server fail too.
        self.line.resume_all();
    }

    /// Takes the tenant out of service; requests for it fail with the reason. Leases go on.
    pub(in crate::pool) fn end(self: &Arc<Self>, why: RequestError) {
        // The first reason stands.
        let _ = self.ended.set(why);
        self.close_all();
        self.line.resume_all();
    }

    /// True once it was taken out of service while the service goes on.
    pub(in crate::pool) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// What to tell those who find it closed.
    pub(in crate::pool) fn closed(&self) -> RequestError {
        self.ended.get().cloned().unwrap_or(RequestError::Draining)
    }

    /// Closes the gate and, on workers, every idle backend. Leased ones are
    /// closed when they come back.
    pub fn close_all(self: &Arc<Self>) {
        // First: the listeners' permit would go to one of those who wait.
        let waiting = self.gate().close();
        self.hub.end(&self.closed());
        for job in waiting {
            job.fail(&self.account, self.closed());
        }
        self.backends().retire(POOL_CLOSED);
    }

    /// True once it lets nobody in any more, for good.
    pub(super) fn is_closed(&self) -> bool {
        self.gate().state() == GateState::Closed
    }
}

//! How a tenant stops: it is drained, closed, or given up because nobody uses it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Tenant, POOL_CLOSED};
use crate::core::gate::{Gate, GateState};
use crate::core::secs::Secs;
use crate::error::Error;
use crate::pool::job::Job;

impl Tenant {
    /// Answers all who wait for a permit, because none of them would get a backend.
    pub(super) fn turn_away(&self, error: impl Fn() -> Error) {
        let waiting = self.gate().turn_away();
        for job in waiting {
            job.fail(&self.account, error());
        }
    }

    /// Takes no more jobs; those that wait are answered.
    pub fn drain(&self) {
        // First: the listeners' permit would go to one of those who wait.
        let waiting = self.gate().drain();
        self.hub.end(&Error::Draining);
        for job in waiting {
            job.fail(&self.account, Error::Draining);
        }
        // Requests that wait for room at their server fail too.
        self.wake_all();
    }

    /// Takes the tenant out of service; requests for it fail with the reason. Leases go on.
    pub(in crate::pool) fn end(self: &Arc<Self>, why: Error) {
        // The first reason stands.
        let _ = self.ended.set(why);
        self.close_all();
        self.wake_all();
    }

    /// True once it was taken out of service while the service goes on.
    pub(in crate::pool) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// What to tell those who find it closed.
    pub(in crate::pool) fn closed(&self) -> Error {
        self.ended.get().cloned().unwrap_or(Error::Draining)
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

    /// True while there is a lease, a one-shot, a waiter or a listener.
    pub(in crate::pool) fn is_in_use(&self) -> bool {
        !self.hub.is_empty() || self.works(&self.gate())
    }

    /// True if more permits are out than for what the service does with the pool.
    fn works(&self, gate: &Gate<Job>) -> bool {
        gate.waiting() > 0 || gate.used() > self.account.numbers.own_permits()
    }

    /// Closes for this reason, unless it is in use.
    pub(in crate::pool) fn stand_down(self: &Arc<Self>, why: Error) {
        if !self.hub.is_empty() {
            return;
        }
        let mut gate = self.gate();
        if self.works(&gate) {
            return;
        }
        // Closed under the same lock. No request waits, so none is left over.
        let waiting = gate.close();
        drop(gate);
        drop(waiting);
        self.end(why);
    }

    /// Since when nobody has used it, if that is for so long.
    pub(in crate::pool) fn unused_since(&self, now: Instant, least: Duration) -> Option<Instant> {
        let since = *self.account.last_used.lock();
        if now.saturating_duration_since(since) < least || !self.hub.is_empty() {
            return None;
        }
        let gate = self.gate();
        let unused = gate.used() == 0 && gate.waiting() == 0;
        (unused && gate.paused().is_none()).then_some(since)
    }

    /// True once it lets nobody in any more, for good.
    pub(super) fn is_closed(&self) -> bool {
        self.gate().state() == GateState::Closed
    }

    /// Removes the tenant if nobody has used it for so long. A request that arrives at the same
    /// moment finds the gate closed and registers it anew.
    pub(in crate::pool) fn let_go(self: &Arc<Self>, now: Instant, after: Duration) -> bool {
        let idle = now.saturating_duration_since(*self.account.last_used.lock());
        if idle < after || !self.hub.is_empty() {
            return false;
        }
        let mut gate = self.gate();
        // With one that is paused, the pause would be forgotten.
        let unused = gate.used() == 0 && gate.waiting() == 0 && gate.paused().is_none();
        // Nobody waits, so nothing comes out.
        let waiting = if unused { gate.close() } else { Vec::new() };
        drop(gate);
        drop(waiting);
        if unused {
            log::info!("event=tenant_removed tenant={} idle_s={}", self.id(), Secs(idle));
            self.unregister();
            self.close_all();
        }
        unused
    }
}

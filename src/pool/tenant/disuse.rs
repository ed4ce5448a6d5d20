//! Whether nobody uses a tenant, and how it then goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Tenant;
use crate::core::gate::Gate;
use crate::core::secs::Secs;
use crate::error::RequestError;
use crate::pool::job::Job;

/// How a tenant is used, if it is.
pub(in crate::pool) struct Disuse<'a>(pub(in crate::pool) &'a Arc<Tenant>);

impl Disuse<'_> {
    /// True while there is a lease, a one-shot, a waiter or a listener.
    pub(in crate::pool) fn is_in_use(&self) -> bool {
        !self.0.hub.is_empty() || self.works(&self.0.gate())
    }

    /// True if more permits are out than for what the service does with the pool.
    fn works(&self, gate: &Gate<Job>) -> bool {
        gate.waiting() > 0 || gate.used() > self.0.account.numbers.own_permits()
    }

    /// Closes for this reason, unless it is in use.
    pub(in crate::pool) fn stand_down(&self, why: RequestError) {
        if !self.0.hub.is_empty() {
            return;
        }
        let mut gate = self.0.gate();
        if self.works(&gate) {
            return;
        }
        // Closed under the same lock. No request waits, so none is left over.
        let waiting = gate.close();
        drop(gate);
        drop(waiting);
        self.0.end(why);
    }

    /// Since when nobody has used it, if that is for so long.
    pub(in crate::pool) fn since(&self, now: Instant, least: Duration) -> Option<Instant> {
        let since = *self.0.account.last_used.lock();
        if now.saturating_duration_since(since) < least || !self.0.hub.is_empty() {
            return None;
        }
        let gate = self.0.gate();
        let unused = gate.used() == 0 && gate.waiting() == 0;
        (unused && gate.paused().is_none()).then_some(since)
    }

    /// Removes the tenant if nobody has used it for so long. A request that arrives at the same
    /// moment finds the gate closed and registers it anew.
    pub(in crate::pool) fn let_go(&self, now: Instant, after: Duration) -> bool {
        let idle = now.saturating_duration_since(*self.0.account.last_used.lock());
        if idle < after || !self.0.hub.is_empty() {
            return false;
        }
        let mut gate = self.0.gate();
        // With one that is paused, the pause would be forgotten.
        let unused = gate.used() == 0 && gate.waiting() == 0 && gate.paused().is_none();
        // Nobody waits, so nothing comes out.
        let waiting = if unused { gate.close() } else { Vec::new() };
        drop(gate);
        drop(waiting);
        if unused {
            log::info!("event=tenant_removed tenant={} idle_s={}", self.0.id(), Secs(idle));
            self.0.unregister();
            self.0.close_all();
        }
        unused
    }
}

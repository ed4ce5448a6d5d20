//! What the keeper does for a tenant: retire old backends, keep the minimum
//! open, and let go of a tenant that nobody uses.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::core::gate::GateState;
use crate::core::secs::Secs;
use crate::pool::job::Permit;
use crate::pool::manager::Slot;
use crate::pool::servers::Wants;
use crate::pool::tenant::Tenant;

/// After a failed warm-up the keeper leaves the tenant alone for so long.
const WARM_PAUSE: Duration = Duration::from_secs(5);
/// While pools are being filled or emptied their checks wait for so long.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// A tenant without a lease, a one-shot or a waiter for so long is removed; its
/// next request registers it anew.
const FORGET_AFTER: Duration = Duration::from_secs(600);

impl Tenant {
    /// The keeper's round: retire what is old, keep the minimum open, look whether
    /// a database that was away is back. Does not block: what may, runs on a
    /// worker. Returns when to come again, if that is soon.
    pub fn maintain(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        if self.gate().state() != GateState::Active || self.let_go(now, FORGET_AFTER) {
            return None;
        }
        let probe = self.probe(now);
        let lacks = self.store.open() < self.settings.min_connections;
        let later = self.warmth.lock().next(now).filter(|_| lacks);
        let short = lacks && later.is_none();
        let old = self.store.any_idle(|slot| self.is_old(slot, now));
        if (short || old) && !self.upkeep.swap(true, Ordering::AcqRel) {
            let busy = Busy(Arc::clone(self));
            self.context.tools.workers.run(move || {
                busy.0.retire(now);
                if short {
                    busy.0.warm();
                }
            });
        }
        // They would take each other's permits.
        let checks = match self.upkeep.load(Ordering::Acquire) {
            true => [Some(now + BUSY_PAUSE), None],
            false => [self.check_health(now), self.ping(now)],
        };
        checks.into_iter().flatten().chain(probe).chain(later).min()
    }

    /// Opens backends one after the other up to the minimum, each with a permit,
    /// only while nobody waits for one, and no faster than `Warmth` allows.
    fn warm(self: &Arc<Self>) {
        while let Some(count) = self.store.reserve_below(self.settings.min_connections) {
            if !self.gate().try_take() {
                return;
            }
            let permit = Permit::for_upkeep(self);
            if !self.warmth.lock().take(clock::now()) {
                return;
            }
            // While the breaker is open the probes are enough.
            let Ok(attempt) = self.attempt() else { return };
            match self.open(count, self.settings.connect_timeout, attempt, &mut Wants::spare()) {
                Ok(mut taken) => {
                    taken.clean = true;
                    self.rest(taken, clock::now());
                }
                Err(_) => {
                    self.warmth.lock().pause(clock::now() + WARM_PAUSE);
                    return;
                }
            }
            drop(permit);
        }
    }

    /// Closes idle backends that are too old, or idle for too long above the
    /// minimum. Each with a permit, so that nobody opens another in its place
    /// before it is closed.
    fn retire(self: &Arc<Self>, now: Instant) {
        while self.store.any_idle(|slot| self.is_old(slot, now)) {
            if !self.gate().try_take() {
                return;
            }
            let permit = Permit::for_upkeep(self);
            let old = self.store.take_if(|slot| self.is_old(slot, now));
            let Some(taken) = old else { return };
            let reason = if now >= taken.retire_at { "max_lifetime" } else { "idle" };
            self.close(taken, reason);
            drop(permit);
        }
    }

    /// Closes, on workers, what is at rest, as far as there are permits: others have
    /// more use for its connections.
    pub(super) fn make_way(self: &Arc<Self>) {
        while self.store.any_idle(|_| true) {
            if !self.gate().try_take() {
                return;
            }
            let permit = Permit::for_upkeep(self);
            let Some(taken) = self.store.take_if(|_| true) else { return };
            let tenant = Arc::clone(self);
            self.context.tools.workers.run(move || {
                tenant.close(taken, "password_changed");
                drop(permit);
            });
        }
    }

    fn is_old(&self, slot: &Slot, now: Instant) -> bool {
        let idle = now.saturating_duration_since(slot.idle_since);
        let above = self.store.open() > self.settings.min_connections;
        now >= slot.retire_at || (above && idle >= self.settings.idle_timeout)
    }

    /// Removes the tenant if nobody has used it for so long. Whoever comes at the same
    /// moment finds the gate closed and registers it anew.
    pub(super) fn let_go(self: &Arc<Self>, now: Instant, after: Duration) -> bool {
        let idle = now.saturating_duration_since(*self.last_used.lock());
        if idle < after || !self.hub.is_empty() {
            return false;
        }
        let mut gate = self.gate();
        let unused = gate.used() == 0 && gate.waiting() == 0;
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

/// At most one upkeep of a tenant runs at a time, whatever becomes of it.
struct Busy(Arc<Tenant>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.upkeep.store(false, Ordering::Release);
    }
}

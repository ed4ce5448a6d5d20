//! What the keeper does for a tenant: retire old backends, keep the minimum
//! open, and let go of a tenant that nobody uses.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Tenant;
use crate::clock;
use crate::core::gate::GateState;
use crate::pool::backends::Backends;
use crate::pool::servers::Wants;

/// After a failed warm-up the keeper leaves the tenant alone for so long.
const WARM_PAUSE: Duration = Duration::from_secs(5);
/// While pools are being filled or emptied their checks wait for so long.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// A tenant without a lease, a one-shot or a waiter for so long is removed; its
/// next request registers it anew.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The service's own work on the backends that a tenant has at present.
#[derive(Clone)]
pub(super) struct Upkeep {
    pub(super) tenant: Arc<Tenant>,
    pub(super) backends: Arc<Backends>,
}

impl Tenant {
    /// The keeper's round: retire what is old, keep the minimum open, look whether
    /// a database that was away is back. Does not block: what may, runs on a
    /// worker. Returns when to come again, if that is soon.
    pub fn maintain(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let is_unused = || !self.is_configured() && self.let_go(now, FORGET_AFTER);
        if self.gate().state() != GateState::Active || is_unused() {
            return None;
        }
        self.kept().maintain(now)
    }

    pub(super) fn kept(self: &Arc<Self>) -> Upkeep {
        Upkeep { tenant: Arc::clone(self), backends: self.backends() }
    }

    /// Closes, on workers, what is at rest, as far as there are permits: others have
    /// more use for its connections.
    pub(in crate::pool) fn make_way(self: &Arc<Self>) {
        let backends = self.backends();
        while backends.store.any_idle(|_| true) {
            let Some(permit) = self.permit_for_upkeep() else { return };
            let Some(taken) = backends.store.take_if(|_| true) else { return };
            let backends = Arc::clone(&backends);
            self.context().tools.workers.run(move || {
                backends.close(taken, "password_changed");
                drop(permit);
            });
        }
    }
}

impl Upkeep {
    fn maintain(&self, now: Instant) -> Option<Instant> {
        let (tenant, backends) = (&self.tenant, &self.backends);
        let probe = self.probe(now);
        let least = backends.settings.min_connections.min(tenant.gate().permits());
        let lacks = tenant.account.open.now() < least;
        let later = backends.warmth.lock().next(now).filter(|_| lacks);
        let short = lacks && later.is_none();
        let old = backends.store.any_idle(|slot| backends.is_old(slot, now));
        if (short || old) && !tenant.upkeep.swap(true, Ordering::AcqRel) {
            let (busy, kept) = (Busy(Arc::clone(tenant)), self.clone());
            tenant.context().tools.workers.run(move || {
                let _busy = busy;
                kept.retire(now);
                if short {
                    kept.warm();
                }
            });
        }
        // They would take each other's permits.
        let checks = match tenant.upkeep.load(Ordering::Acquire) {
            true => [Some(now + BUSY_PAUSE), None],
            false => [self.check_health(now), self.ping(now)],
        };
        checks.into_iter().flatten().chain(probe).chain(later).min()
    }

    /// Opens backends one after the other up to the minimum, each with a permit,
    /// only while nobody waits for one, and no faster than `Warmth` allows.
    fn warm(&self) {
        let backends = &self.backends;
        while let Some(count) = backends.store.reserve_below(backends.settings.min_connections) {
            let Some(permit) = self.tenant.permit_for_upkeep() else { return };
            if !backends.warmth.lock().take(clock::now()) {
                return;
            }
            // While the breaker is open the probes are enough.
            let Ok(attempt) = backends.attempt(false) else { return };
            let limit = backends.settings.connect_timeout;
            let (opened, turned) = backends.open(count, limit, attempt, &mut Wants::spare());
            self.tenant.heed(backends, turned);
            match opened {
                Ok(mut taken) => {
                    taken.clean = true;
                    backends.rest(taken, clock::now());
                }
                Err(_) => {
                    backends.warmth.lock().pause(clock::now() + WARM_PAUSE);
                    return;
                }
            }
            drop(permit);
        }
    }

    /// Closes idle backends that are too old, or idle for too long above the
    /// minimum. Each with a permit, so that nobody opens another in its place
    /// before it is closed.
    fn retire(&self, now: Instant) {
        let backends = &self.backends;
        while backends.store.any_idle(|slot| backends.is_old(slot, now)) {
            let Some(permit) = self.tenant.permit_for_upkeep() else { return };
            let old = backends.store.take_if(|slot| backends.is_old(slot, now));
            let Some(taken) = old else { return };
            let reason = if now >= taken.retire_at { "max_lifetime" } else { "idle" };
            backends.close(taken, reason);
            drop(permit);
        }
    }
}

/// At most one upkeep of a tenant runs at a time, whatever becomes of it.
struct Busy(Arc<Tenant>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.upkeep.store(false, Ordering::Release);
    }
}

//! What the keeper does for a tenant: retire old backends, keep the minimum
//! open, and let go of a tenant that nobody uses.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Disuse, Tenant};
use crate::clock;
use crate::core::gate::GateState;
use crate::core::servers::LOOK_AGAIN;
use crate::pool::backends::Backends;
use crate::pool::breaker::BreakerChange;
use crate::pool::servers::Wants;

/// After a failed warm-up the keeper leaves the tenant alone for so long.
const WARM_PAUSE: Duration = Duration::from_secs(5);
/// While pools are being filled or emptied their checks wait for so long.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// The service's own work on the backends that a tenant has at present.
#[derive(Clone)]
pub(in crate::pool) struct Upkeep {
    pub(super) tenant: Arc<Tenant>,
    pub(super) backends: Arc<Backends>,
}

impl Tenant {
    /// The keeper's round: retire what is old, keep the minimum open, look whether
    /// a database that was away is back. Does not block: what may, runs on a
    /// worker. Returns when to come again, if that is soon.
    pub fn maintain(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let age = || self.context().live().limits.unused_tenant_age;
        let is_unused = || !self.configured && Disuse(self).let_go(now, age());
        if self.gate().state() != GateState::Active || is_unused() {
            return None;
        }
        Upkeep::now(self).maintain(now)
    }
}

impl Upkeep {
    /// Of a tenant with these backends.
    pub(super) fn of(tenant: &Arc<Tenant>, backends: &Arc<Backends>) -> Upkeep {
        Upkeep { tenant: Arc::clone(tenant), backends: Arc::clone(backends) }
    }

    /// Of a tenant with those that it has at present.
    pub(in crate::pool) fn now(tenant: &Arc<Tenant>) -> Upkeep {
        Upkeep { tenant: Arc::clone(tenant), backends: tenant.backends() }
    }

    /// Acts on what an attempt to open a backend has changed.
    pub(super) fn heed(&self, change: BreakerChange) {
        let (tenant, backends) = (&self.tenant, &self.backends);
        // Of those that have been replaced nothing holds any more.
        if change == BreakerChange::None || backends.is_retired() {
            return;
        }
        backends.tell_breaker(change);
        if change == BreakerChange::Opened {
            // Requests that wait would never be served.
            tenant.line.resume_all();
            // Those whose turn comes are answered then. But where no backend is left
            // that could come back, nobody's turn would be worth the wait.
            if tenant.account.alive() == 0 {
                let waiting = tenant.gate().turn_away();
                for job in waiting {
                    job.fail(&tenant.account, backends.breaker.error(tenant.id()));
                }
            }
        }
        tenant.context().keeper.due(clock::now());
        if !tenant.is_opening() {
            backends.tell_level();
        }
    }

    /// Closes, on workers, what is at rest, as far as there are permits: others have
    /// more use for its connections.
    pub(in crate::pool) fn make_way(&self) {
        while self.backends.store.any_idle(|_| true) {
            let Some(permit) = self.tenant.permit_for_upkeep() else { return };
            let Some(taken) = self.backends.store.take_if(|_| true) else { return };
            let backends = Arc::clone(&self.backends);
            self.tenant.context().tools.workers.run(move || {
                backends.close(taken, "password_changed");
                drop(permit);
            });
        }
    }

    /// Opens a backend that is not kept, to see whether its server has room. On a worker.
    pub(super) fn look(&self) {
        let (tenant, backends) = (&self.tenant, &self.backends);
        let Some(permit) = tenant.permit_to_look() else { return };
        let Ok(attempt) = backends.attempt(false) else { return };
        let Some(count) = backends.store.reserve_below(usize::MAX) else { return };
        let limit = backends.settings.connect_timeout;
        let (opened, change) = backends.open(count, limit, attempt, &mut Wants::look());
        self.heed(change);
        let Ok(taken) = opened else {
            // It may be full: then the next look is soon.
            return tenant.context().keeper.due(clock::now() + LOOK_AGAIN);
        };
        // Kept, it would take what somebody else waits for.
        backends.close(taken, "look");
        drop(permit);
    }

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
            let (opened, change) = backends.open(count, limit, attempt, &mut Wants::spare());
            self.heed(change);
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

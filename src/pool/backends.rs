//! How a tenant comes by a backend for a permit, and what becomes of it
//! afterwards. All of it blocks, so it runs on workers.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;

use crate::backend::session::Backend;
use crate::backend::stream::watch::Watch;
use crate::clock;
use crate::config::{Reset, LEAST_LIFETIME};
use crate::core::gate::GateState;
use crate::core::quoted::Quoted;
use crate::core::repeats::Repeated;
use crate::core::secs::Secs;
use crate::error::{ConnectError, Error};
use crate::logging;
use crate::pool::figures::During;
use crate::pool::job::Session;
use crate::pool::memory::Use;
use crate::pool::opener::Attempt;
use crate::pool::servers::{Visit, Wants, GAVE_WAY};
use crate::pool::store::{OpenCount, Taken};
use crate::pool::tenant::Tenant;
use crate::pool::turn::LEAST_PATIENCE;
use crate::random;
use crate::threads::alarms::Alarm;

impl Tenant {
    /// An idle backend that works, or a new one, for a caller who waits so long.
    pub(super) fn backend(
        self: &Arc<Self>,
        patience: Duration,
        wants: &mut Wants,
    ) -> Result<Taken, Error> {
        let (started, mut mute) = (clock::now(), false);
        let until = started + patience;
        loop {
            let left = until.saturating_duration_since(clock::now()).max(LEAST_PATIENCE);
            let mut taken = match self.store.take_or_reserve() {
                Ok(taken) => taken,
                // What has just been taken to be closed is still open: one more
                // would be one too many.
                Err(_) if self.is_closed() => return Err(self.closed()),
                Err(count) => {
                    let attempt = self.attempt()?;
                    let opened = self.open(count, left, attempt, wants);
                    return opened
                        .map_err(|cause| Error::Connect { tenant: self.id.clone(), cause });
                }
            };
            // Costs no round trip, and shows what PostgreSQL has closed by itself.
            let quiet = taken.backend.is_quiet();
            let silent = clock::now().saturating_duration_since(taken.answered_at);
            let fresh = silent <= self.settings.check_after_idle && !self.is_doubtful(&taken);
            let (asked_at, limit) = (clock::now(), self.settings.check_timeout.min(left));
            if quiet && (fresh || (!mute && self.answers(&mut taken, limit))) {
                return Ok(taken);
            }
            let late = clock::now().saturating_duration_since(asked_at) >= limit;
            if late && limit < self.settings.check_timeout {
                // It had too little time to say anything of the others.
                self.close(taken, "failed_check");
                let (target, step) = ("an idle connection".to_owned(), "check");
                let cause = ConnectError::TimedOut { target, step, limit };
                return Err(Error::Connect { tenant: self.id.clone(), cause });
            }
            // A second one that does not answer would cost as much time again.
            mute |= late;
            self.broken(taken);
        }
    }

    /// Counts a backend that is to be opened with a permit that is out. Where idle
    /// ones leave no room for it, one of them goes.
    pub(super) fn make_room(&self) -> Option<OpenCount> {
        if let Some(count) = self.store.reserve_below(self.settings.max_connections) {
            return Some(count);
        }
        let taken = self.store.take()?;
        self.close(taken, "probe");
        self.store.reserve_below(self.settings.max_connections)
    }

    /// A round trip of our own, with a time limit after which it is broken off.
    pub fn bounded(
        &self,
        backend: &mut dyn Backend,
        trip: impl FnOnce(&mut dyn Backend) -> bool,
    ) -> bool {
        self.bounded_by(backend, self.settings.check_timeout, trip)
    }

    /// The same with another limit.
    pub(super) fn bounded_by(
        &self,
        backend: &mut dyn Backend,
        limit: Duration,
        trip: impl FnOnce(&mut dyn Backend) -> bool,
    ) -> bool {
        let alarm = self.guard(backend.watch(), limit);
        let works = trip(backend);
        drop(alarm);
        backend.watch().end();
        works
    }

    fn guard(&self, watch: &Arc<Watch>, limit: Duration) -> Alarm {
        let epoch = watch.begin();
        let watch = Arc::clone(watch);
        self.context.tools.alarms.set(clock::now() + limit, move || {
            watch.abort(epoch);
        })
    }

    /// One attempt to open a backend, with `patience` at most. Settles `attempt`.
    pub(super) fn open(
        &self,
        count: OpenCount,
        patience: Duration,
        attempt: Attempt<'_>,
        wants: &mut Wants,
    ) -> Result<Taken, ConnectError> {
        let opening = During::new(&self.numbers.opening);
        let (started, generation) = (clock::now(), self.generation());
        let watch = Arc::<Watch>::default();
        watch.count_in(self.context.memory.share(Use::Partial, &[self.memory()]));
        let limit = self.settings.connect_timeout.min(patience);
        let alarm = self.guard(&watch, limit);
        let visit = Visit::new(self, wants);
        let outcome = self.connect.connect(&watch, limit, &visit);
        let seat = visit.seat();
        drop(alarm);
        watch.end();
        self.asked.fetch_or(watch.was_asked(), Ordering::AcqRel);
        let born = clock::now();
        let took = born.saturating_duration_since(started);
        let backend = match outcome {
            Ok(backend) => backend,
            Err(cause) => {
                if !cause.is_kept_back() {
                    self.series().open_failed(cause.as_str());
                    self.log_open_failure(&cause, took);
                }
                let hurried = limit < self.settings.connect_timeout;
                // Neither counts any more by the time that anybody hears of it.
                drop((opening, count));
                attempt.settle(Some((&cause, hurried)));
                return Err(cause);
            }
        };
        attempt.settle(None);
        self.is_let_in();
        self.counts.admit();
        self.series().opened(took);
        let pid = backend.pid();
        log::debug!("event=backend_opened tenant={} pid={pid} elapsed_s={}", self.id, Secs(took));
        let retire_at = born + self.lifetime();
        let taken = self.store.bring_in(backend, (count, seat), born, retire_at);
        drop(opening);
        let Some(mut taken) = taken else {
            log::error!("event=pool_refused_backend tenant={} pid={pid}", self.id);
            return Err(ConnectError::Panicked);
        };
        self.answered(&mut taken, generation, born);
        Ok(taken)
    }

    fn log_open_failure(&self, cause: &ConnectError, took: Duration) {
        let error = cause.to_string();
        // Whoever guesses may be put off as often as it likes, and nothing was tried. A
        // server that is full is told of by itself.
        let (level, repeated) = match cause.is_deferred() || cause.lacks_room() {
            true => (Level::Debug, Some(Repeated(0))),
            false => {
                (Level::Warn, logging::admits_state("connect_failed", &self.id, cause.as_str()))
            }
        };
        if let Some(repeated) = repeated {
            let (id, peer, took) = (&self.id, self.brought_by().as_str(), Secs(took));
            let (server, reason) = (self.connect.servers(), cause.as_str());
            let (server, error) = (Quoted(&server), Quoted(&error));
            log::log!(
                level,
                "event=connect_failed tenant={id} server={server} peer={peer} reason={reason} \
                 elapsed_s={took} error={error}{repeated}"
            );
        }
        if !cause.is_deferred() {
            self.note_open_failure(cause, &error);
        }
    }

    /// The lifetime of one backend, with its jitter taken off, but for the least there is.
    fn lifetime(&self) -> Duration {
        let off = random::chance() * self.settings.lifetime_jitter;
        let least = LEAST_LIFETIME.min(self.settings.max_lifetime);
        self.settings.max_lifetime.mul_f64(1.0 - off).max(least)
    }

    /// Closes a backend, with a goodbye if it still listens. On a worker.
    pub(super) fn close(&self, mut taken: Taken, reason: &str) {
        self.series().closed(reason);
        let pid = taken.backend.pid();
        log::debug!("event=backend_closed tenant={} pid={pid} reason={reason}", self.id);
        taken.clean = false;
        taken.close_gracefully = !taken.backend.is_closed();
        let alarm = self.guard(taken.backend.watch(), self.settings.check_timeout);
        drop(taken);
        drop(alarm);
    }

    /// Puts a clean backend to rest. On a worker.
    pub(super) fn rest(&self, taken: Taken, now: Instant) {
        self.store.put(taken, now);
        // Whoever closes the pool takes what is at rest by then, and has perhaps
        // just been here: nobody else would come for this one.
        if self.is_closed() {
            while let Some(taken) = self.store.take() {
                self.close(taken, "pool_closed");
            }
        }
    }

    /// True if sessions that are given back are made as new.
    pub(super) fn resets(&self) -> bool {
        self.settings.reset != Reset::Close
    }

    fn is_closed(&self) -> bool {
        self.gate().state() == GateState::Closed
    }

    /// Gives a session back: rolled back, reset and checked, or closed. On a
    /// worker, because it is a round trip.
    pub fn settle(session: Session) {
        let tenant = Arc::clone(session.tenant());
        let returning = Returning::new(&tenant);
        tenant.context.tools.workers.clone().run(move || {
            drop(returning);
            tenant.reset(session);
        });
    }

    /// The same on this thread, which must be a worker.
    pub fn reset(&self, session: Session) {
        // Bound in this order, so that a panic closes the backend before it gives
        // the permit back.
        let Session { permit, mut taken } = session;
        let resetting = During::new(&self.numbers.resetting);
        let started = clock::now();
        *self.last_used.lock() = started;
        if self.is_closed() {
            self.close(taken, "pool_closed");
        } else if started >= taken.retire_at {
            self.close(taken, "max_lifetime");
        } else if taken.seat.is_some_and(|seat| self.context.servers.yields(seat)) {
            self.close(taken, GAVE_WAY);
        } else if self.settings.reset == Reset::Close {
            self.close(taken, "reset_close");
        } else {
            let generation = self.generation();
            let clean = self.bounded(&mut *taken.backend, |backend| backend.reset());
            let now = clock::now();
            let took = now.saturating_duration_since(started);
            self.context.tools.metrics.reset(took);
            if clean {
                taken.clean = true;
                self.answered(&mut taken, generation, now);
                self.rest(taken, now);
            } else {
                permit.tenant().note_loss(&mut taken);
                self.close(taken, "not_clean");
            }
        }
        drop(resetting);
        // To whoever waits for one to be opened, else to the oldest waiter.
        drop(self.serve_opening(permit));
    }

    /// Breaks off a session whose backend is lost or in doubt. Does not block.
    pub fn discard(session: Session, reason: &str) {
        let Session { mut taken, permit } = session;
        permit.tenant().note_loss(&mut taken);
        taken.backend.watch().abort_now();
        *permit.tenant().last_used.lock() = clock::now();
        permit.tenant().close(taken, reason);
        drop(permit);
    }
}

/// A session is on its way back, from the end of its use until it is being reset.
struct Returning(Arc<Tenant>);

impl Returning {
    fn new(tenant: &Arc<Tenant>) -> Returning {
        tenant.numbers.returning.fetch_add(1, Ordering::Relaxed);
        Returning(Arc::clone(tenant))
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        self.0.numbers.returning.fetch_sub(1, Ordering::Relaxed);
    }
}

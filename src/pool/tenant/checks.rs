//! Rounds of checks: whether the backends at rest of a tenant still answer.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{unbounded, Sender};

use super::upkeep::Upkeep;
use super::Tenant;
use crate::clock;
use crate::core::breaker::BreakerPhase;
use crate::core::health::{Level, Round};
use crate::pool::backends::SOON;
use crate::pool::checkout::Checkout;
use crate::pool::manager::Slot;
use crate::pool::servers::Wants;

/// A round in progress. However it ends, another can begin.
struct RunningUpkeep(Upkeep);

impl Drop for RunningUpkeep {
    fn drop(&mut self) {
        let (backends, now) = (&self.0.backends, clock::now());
        let mut record = backends.record.lock();
        let pause = match record.health.level() {
            Level::Healthy => backends.settings.health_interval,
            _ if record.answered => backends.settings.health_interval,
            _ => SOON.min(backends.settings.health_interval),
        };
        record.next = Some(now + pause);
        drop(record);
        self.0.tenant.context().keeper.due(now + pause);
    }
}

impl Upkeep {
    /// Has all backends at rest that are in doubt answer, before anybody gets them. Does
    /// not block.
    pub(super) fn check_doubtful(&self) {
        let backends = &self.backends;
        let _ = self.check_idle(|slot| backends.is_doubtful(slot), None);
    }

    /// Checks all backends at rest now, or if there are none opens one; while the breaker is
    /// open, probes if it is time. `tell` gets the result, on a worker. Does not block.
    pub(in crate::pool) fn check_now(self, tell: impl FnOnce(&Tenant, Round) + Send + 'static) {
        let (workers, now) = (self.tenant.context().tools.workers.clone(), clock::now());
        workers.run(move || {
            let round = match self.backends.breaker_phase() {
                BreakerPhase::Closed => self.round(now),
                BreakerPhase::Open | BreakerPhase::HalfOpen => {
                    self.probe_once(now);
                    Round::default()
                }
            };
            tell(&self.tenant, round);
        });
    }

    /// Begins a round of checks if it is time. Returns when to come again. Does
    /// not block.
    pub(super) fn check_health(&self, now: Instant) -> Option<Instant> {
        let backends = &self.backends;
        let interval = backends.settings.health_interval;
        // While the breaker is open the probes are the checks.
        if interval.is_zero() || backends.breaker_phase() != BreakerPhase::Closed {
            return None;
        }
        let mut record = backends.record.lock();
        let next = record.next?;
        if next > now {
            return Some(next);
        }
        (record.next, record.began, record.answered) = (None, now, false);
        drop(record);
        let running = RunningUpkeep(self.clone());
        self.tenant.context().tools.workers.run(move || {
            running.0.round(now);
        });
        None
    }

    /// One round, on a worker: every idle backend answers, or is closed.
    fn round(&self, now: Instant) -> Round {
        let backends = &self.backends;
        let (tell, told) = unbounded();
        let all = self.check_idle(|slot| slot.answered_at < now, Some(&tell));
        drop(tell);
        // Each has a time limit, and drops its sender whatever becomes of it.
        let answers: Vec<bool> = told.iter().collect();
        let working = answers.iter().filter(|answers| **answers).count();
        let mut round = Round { working, failed: answers.len() - working };
        if round.working == 0 {
            if backends.has_worked_since(now) {
                round.working = 1;
            } else if all {
                let opened = self.check_by_opening();
                round.working += opened.working;
                round.failed += opened.failed;
            }
        }
        let round = backends.with_refusals(round);
        let changed = backends.record.lock().health.settle(round).is_some();
        if changed {
            self.tenant.context().keeper.due(now);
        }
        if changed || round.working > 0 {
            backends.tell_level();
        }
        round
    }

    /// With nothing at rest to look at, opens a backend, which is kept only if the
    /// minimum wants it. Where that is not possible now, or left to the probes, it says
    /// nothing.
    fn check_by_opening(&self) -> Round {
        let nothing = Round::default();
        let backends = &self.backends;
        let Some(permit) = self.tenant.permit_for_upkeep() else { return nothing };
        let Ok(attempt) = backends.attempt(false) else { return nothing };
        let Some(count) = backends.store.reserve_below(usize::MAX) else { return nothing };
        let (mut wants, limit) = (Wants::check(), backends.settings.health_timeout);
        let (opened, change) = backends.open(count, limit, attempt, &mut wants);
        self.heed(change);
        match opened {
            Ok(mut taken) if backends.is_wanted(&taken) => {
                taken.clean = true;
                backends.rest(taken, clock::now());
            }
            Ok(taken) => backends.close(taken, "health_check"),
            Err(cause) if cause.lacks_room() => {
                return backends.found_no_room(&cause, wants.may_wait());
            }
            // What lies in ourselves says nothing of the database.
            Err(cause) if cause.is_own() => return nothing,
            Err(cause) => {
                let answered = cause.is_full() || !cause.is_retryable();
                // What is leased works on: the database is there. That it is full is
                // no sickness of this tenant's.
                let working = usize::from(answered && backends.account().alive() > 0);
                if working > 0 && cause.is_full() {
                    return nothing;
                }
                // Where nothing works, what comes back is to be seen soon.
                backends.record.lock().answered = working > 0;
                backends.checked(Err(&cause.to_string()));
                drop(permit);
                return Round { working, failed: 1 };
            }
        }
        backends.checked(Ok(()));
        permit.pass_on();
        Round { working: 1, failed: 0 }
    }

    /// Has every idle backend for which `which` is true answer, all at once, each
    /// on a worker and with a permit, so that nobody opens another in its place.
    /// What does not answer is closed. Each answer is sent to `told`. False:
    /// permits ran out first. Does not block.
    fn check_idle(&self, which: impl Fn(&Slot) -> bool, told: Option<&Sender<bool>>) -> bool {
        let backends = &self.backends;
        while backends.store.any_idle(&which) {
            let Some(permit) = self.tenant.permit_for_upkeep() else { return false };
            // Dropped with the worker's job, it closes the backend and gives the
            // permit back.
            let Some(taken) = backends.store.take_if(&which) else { return true };
            let checkout = Checkout { taken, backends: Arc::clone(backends), permit };
            let told = told.cloned();
            self.tenant.context().tools.workers.run(move || {
                let answers = check_checkout(checkout);
                // The caller may have given up.
                if let Some(told) = told {
                    let _ = told.send(answers);
                }
            });
        }
        true
    }

    /// Talks to backends that have been silent for too long. Returns when it
    /// should be asked again.
    pub(super) fn ping(&self, now: Instant) -> Option<Instant> {
        let every = self.backends.settings.ping_interval;
        if every.is_zero() {
            return None;
        }
        // A round asks all of them, although one that began just now may have ended.
        let asked = self.backends.record.lock().is_asked_by_round(now);
        if asked {
            return Some(now + every);
        }
        let silent = |slot: &Slot| now.saturating_duration_since(slot.answered_at) >= every;
        let _ = self.check_idle(silent, None);
        Some(now + every)
    }
}

fn check_checkout(checkout: Checkout) -> bool {
    let Checkout { permit, backends, mut taken } = checkout;
    let answers = backends.answers(&mut taken, backends.settings.health_timeout);
    if answers {
        backends.checked(Ok(()));
        taken.clean = true;
        // To be looked at is not to be used.
        let since = taken.idle_since;
        backends.rest(taken, since);
    } else {
        let words = taken.backend.watch().last_words();
        let words = words.map_or("an idle connection does not answer".to_owned(), |words| {
            format!("an idle connection is lost: {words}")
        });
        backends.checked(Err(&words));
        if backends.broken(taken) {
            Arc::clone(permit.keeper()).doubt();
        }
    }
    permit.pass_on();
    answers
}

//! How well a tenant is: its rounds of checks, and what is known from them.

mod logins;
mod report;

pub use report::{Report, Row};

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;

use crate::clock;
use crate::core::breaker::Phase;
use crate::core::health::{Health, Level, Round};
use crate::core::quoted::Quoted;
use crate::error::ConnectError;
use crate::logging;
use crate::pool::job::Permit;
use crate::pool::servers::Wants;
use crate::pool::store::Taken;
use crate::pool::tenant::Tenant;

/// The pause between rounds while something is wrong.
const SOON: Duration = Duration::from_secs(1);

/// What is known of a tenant's health.
pub(super) struct Record {
    health: Health,
    /// How well it was when that was last told in the log.
    told: Level,
    /// When the next round is due; `None` while one runs, and before the first.
    pub(super) next: Option<Instant>,
    /// When the last one began.
    pub(super) began: Instant,
    /// PostgreSQL refused the last check, and what is leased works: looking again soon
    /// would only be another refused login.
    answered: bool,
    /// When a backend last did what it should.
    pub(super) worked_at: Instant,
    /// When one last did not.
    trouble_at: Option<Instant>,
    /// Microseconds since 1970; only a check that ran moves it.
    last_check: Option<u64>,
    last_error: Option<(String, u64)>,
    failures: u64,
    /// Attempts to open a backend that failed.
    open_failures: u64,
    logins: logins::Logins,
}

impl Record {
    pub(super) fn new(now: Instant) -> Record {
        Record {
            health: Health::default(),
            told: Level::Healthy,
            next: None,
            began: now,
            answered: false,
            worked_at: now,
            trouble_at: None,
            last_check: None,
            last_error: None,
            failures: 0,
            open_failures: 0,
            logins: logins::Logins::default(),
        }
    }
}

/// A round in progress. However it ends, another can begin.
struct Running(Arc<Tenant>);

impl Drop for Running {
    fn drop(&mut self) {
        let now = clock::now();
        let mut record = self.0.record.lock();
        let pause = match record.health.level() {
            Level::Healthy => self.0.settings.health_interval,
            _ if record.answered => self.0.settings.health_interval,
            _ => SOON.min(self.0.settings.health_interval),
        };
        record.next = Some(now + pause);
        drop(record);
        self.0.context.keeper.due(now + pause);
    }
}

impl Tenant {
    /// A check of a connection has ended.
    pub(super) fn checked(&self, outcome: Result<(), &str>) {
        self.series().checked(outcome.is_ok());
        let now = clock::unix_micros();
        let mut record = self.record.lock();
        record.last_check = Some(now);
        if let Err(error) = outcome {
            record.failures += 1;
            record.last_error = Some((error.to_owned(), now));
            record.trouble_at = Some(clock::now());
        }
    }

    /// An attempt to open a backend has failed. That the server is full is no trouble of
    /// what is open.
    pub(super) fn note_open_failure(&self, cause: &ConnectError, error: &str) {
        let (now, unix) = (clock::now(), clock::unix_micros());
        let mut record = self.record.lock();
        record.open_failures += 1;
        record.last_error = Some((error.to_owned(), unix));
        record.login_failed(cause);
        drop(record);
        if !cause.lacks_room() {
            self.trouble(now);
        }
    }

    /// Something is wrong: what worked before proves nothing, and the next round is
    /// not to wait for its time.
    pub(super) fn trouble(&self, now: Instant) {
        self.record.lock().trouble_at = Some(now);
        self.check_soon(now);
    }

    /// The tenant is served from now on. Its first connection was the first check.
    pub(super) fn begin_checks(&self, now: Instant) {
        self.checked(Ok(()));
        self.record.lock().next = Some(now + self.settings.health_interval);
    }

    fn check_soon(&self, now: Instant) {
        if self.settings.health_interval.is_zero() {
            return;
        }
        let mut record = self.record.lock();
        let soon = now.max(record.began + SOON);
        let earlier = record.next.is_some_and(|next| soon < next);
        if earlier {
            record.next = Some(soon);
        }
        drop(record);
        if earlier {
            self.context.keeper.due(soon);
        }
    }

    /// Begins a round of checks if it is time. Returns when to come again. Does
    /// not block.
    pub(super) fn check_health(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let interval = self.settings.health_interval;
        // While the breaker is open the probes are the checks.
        if interval.is_zero() || self.breaker() != Phase::Closed {
            return None;
        }
        let mut record = self.record.lock();
        let next = record.next?;
        if next > now {
            return Some(next);
        }
        (record.next, record.began, record.answered) = (None, now, false);
        drop(record);
        let running = Running(Arc::clone(self));
        self.context.tools.workers.run(move || running.0.round(now));
        None
    }

    /// True while a round runs.
    pub(super) fn is_being_checked(&self) -> bool {
        self.record.lock().next.is_none()
    }

    /// One round, on a worker: every idle backend answers, or is closed.
    fn round(self: &Arc<Self>, now: Instant) {
        let (tell, told) = unbounded();
        let all = self.check_idle(|slot| slot.answered_at < now, Some(&tell));
        drop(tell);
        // Each has a time limit, and drops its sender whatever becomes of it.
        let answers: Vec<bool> = told.iter().collect();
        let working = answers.iter().filter(|answers| **answers).count();
        let mut round = Round { working, failed: answers.len() - working };
        if round.working == 0 {
            if self.has_worked_since(now) {
                round.working = 1;
            } else if all {
                let opened = self.check_by_opening();
                round.working += opened.working;
                round.failed += opened.failed;
            }
        }
        let round = self.with_refusals(round);
        let changed = self.record.lock().health.settle(round).is_some();
        if changed {
            self.context.keeper.due(now);
            self.tell_level();
        }
    }

    /// Says how well it is, if that is not what was last said.
    pub(super) fn tell_level(&self) {
        let (level, breaker) = (self.level(), self.breaker().as_str());
        let mut record = self.record.lock();
        let was = std::mem::replace(&mut record.told, level);
        let error = record.last_error.as_ref().map(|(error, _)| error.clone());
        drop(record);
        if was == level || !logging::admits("tenant_health", Some(&self.id)) {
            return;
        }
        let (id, better, was) = (&self.id, level > was, was.as_str());
        match level {
            Level::Healthy => log::info!("event=tenant_healthy tenant={id} was={was}"),
            level if better => {
                log::info!("event=tenant_{} tenant={id} was={was}", level.as_str());
            }
            level => log::warn!(
                "event=tenant_{} tenant={id} was={was} breaker={breaker} last_error={}",
                level.as_str(),
                Quoted(&error.unwrap_or_default())
            ),
        }
    }

    /// Whether a backend has done its work within the last interval, and none has
    /// failed since: as good as a check, though none ran.
    fn has_worked_since(&self, now: Instant) -> bool {
        let record = self.record.lock();
        let ago = now.saturating_duration_since(record.worked_at);
        ago < self.settings.health_interval
            && record.trouble_at.is_none_or(|trouble| trouble < record.worked_at)
    }

    /// With nothing at rest to look at, opens a backend, which is kept only if the
    /// minimum wants it. Where that is not possible now, or left to the probes, it says
    /// nothing.
    fn check_by_opening(self: &Arc<Self>) -> Round {
        let nothing = Round::default();
        if !self.gate().try_take() {
            return nothing;
        }
        let permit = Permit::for_upkeep(self);
        let Ok(attempt) = self.attempt() else { return nothing };
        let Some(count) = self.store.reserve_below(self.settings.max_connections) else {
            return nothing;
        };
        let mut wants = Wants::check();
        match self.open(count, self.settings.health_timeout, attempt, &mut wants) {
            Ok(mut taken) if self.is_wanted(&taken) => {
                taken.clean = true;
                self.rest(taken, clock::now());
            }
            Ok(taken) => self.close(taken, "health_check"),
            Err(cause) if cause.lacks_room() => {
                return self.found_no_room(&cause, wants.may_wait());
            }
            // What lies in ourselves says nothing of the database.
            Err(cause) if cause.is_own() => return nothing,
            Err(cause) => {
                let answered = cause.is_full() || !cause.is_retryable();
                // What is leased works on: the database is there. That it is full is
                // no sickness of this tenant's.
                let working = usize::from(answered && self.alive() > 0);
                if working > 0 && cause.is_full() {
                    return nothing;
                }
                // Where nothing works, what comes back is to be seen soon.
                self.record.lock().answered = working > 0;
                self.checked(Err(&cause.to_string()));
                drop(permit);
                return Round { working, failed: 1 };
            }
        }
        self.checked(Ok(()));
        drop(self.serve_opening(permit));
        Round { working: 1, failed: 0 }
    }

    /// True if the minimum wants a backend that was opened to look, and nobody else does.
    fn is_wanted(&self, taken: &Taken) -> bool {
        self.store.open() <= self.settings.min_connections
            && taken.seat.is_none_or(|seat| self.context.servers.may_keep(seat))
    }

    /// How well it is.
    pub fn level(&self) -> Level {
        match self.breaker() {
            Phase::Closed => self.record.lock().health.level(),
            Phase::Open | Phase::HalfOpen => Level::Unhealthy,
        }
    }
}

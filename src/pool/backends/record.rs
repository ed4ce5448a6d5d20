//! What is known of the health of backends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::logins::RecentLogins;
use super::Backends;
use crate::clock;
use crate::core::breaker::BreakerPhase;
use crate::core::health::{Health, Level};
use crate::core::quoted::Quoted;
use crate::error::ConnectError;
use crate::logging;
use crate::pool::store::Taken;

/// The pause between rounds while something is wrong.
pub(in crate::pool) const SOON: Duration = Duration::from_secs(1);

/// What is known of the health of one pool's backends.
pub(in crate::pool) struct Record {
    pub(in crate::pool) health: Health,
    /// How well it was when that was last told in the log.
    pub(in crate::pool) told: Level,
    /// When the next round is due; `None` while one runs, and before the first.
    pub(in crate::pool) next: Option<Instant>,
    /// When the last one began.
    pub(in crate::pool) began: Instant,
    /// PostgreSQL refused the last check, and what is leased works: looking again soon
    /// would only be another refused login.
    pub(in crate::pool) answered: bool,
    /// When a backend last did what it should.
    pub(in crate::pool) worked_at: Instant,
    /// When one last did not.
    pub(in crate::pool) trouble_at: Option<Instant>,
    /// Microseconds since 1970; only a check that ran moves it.
    pub(in crate::pool) last_check: Option<u64>,
    pub(in crate::pool) last_error: Option<(String, u64)>,
    pub(in crate::pool) failures: u64,
    /// Attempts to open a backend that failed.
    pub(in crate::pool) open_failures: u64,
    pub(in crate::pool) logins: RecentLogins,
}

impl Record {
    pub(in crate::pool) fn new(now: Instant) -> Record {
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
            logins: RecentLogins::default(),
        }
    }

    /// True if a round runs, or one has begun at this time.
    pub(in crate::pool) fn is_asked_by_round(&self, now: Instant) -> bool {
        self.next.is_none() || self.began >= now
    }
}

impl Backends {
    /// A check of a connection has ended.
    pub(in crate::pool) fn checked(&self, outcome: Result<(), &str>) {
        self.account.series().checked(outcome.is_ok());
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
    pub(in crate::pool) fn note_open_failure(&self, cause: &ConnectError, error: &str) {
        let (now, unix) = (clock::now(), clock::unix_micros());
        let mut record = self.record.lock();
        record.open_failures += 1;
        record.last_error = Some((error.to_owned(), unix));
        record.logins.failed(cause);
        drop(record);
        if !cause.lacks_room() {
            self.trouble(now);
        }
    }

    /// Something is wrong: what worked before proves nothing, and the next round is
    /// not to wait for its time.
    pub(in crate::pool) fn trouble(&self, now: Instant) {
        self.record.lock().trouble_at = Some(now);
        self.check_soon(now);
    }

    /// The tenant is served from now on. Its first connection was the first check.
    pub(in crate::pool) fn begin_checks(&self, now: Instant) {
        self.checked(Ok(()));
        self.begin_rounds(now);
    }

    /// The first round of checks is due an interval from now.
    pub(in crate::pool) fn begin_rounds(&self, now: Instant) {
        self.record.lock().next = Some(now + self.settings.health_interval);
    }

    /// These take the place of others, of the same tenant: what was told of those holds until a
    /// check of these says something else.
    pub(in crate::pool) fn succeed(&self, others: &Backends, now: Instant) {
        let told = others.record.lock().told;
        self.record.lock().told = told;
        if told != Level::Healthy {
            self.check_soon(now);
        }
        if !Arc::ptr_eq(&self.breaker, &others.breaker)
            && others.breaker_phase() != BreakerPhase::Closed
        {
            log::info!("event=breaker_closed tenant={} replaced=true", self.id());
        }
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
            self.context().keeper.due(soon);
        }
    }

    /// True while a round runs.
    #[cfg(test)]
    pub(in crate::pool) fn is_being_checked(&self) -> bool {
        self.record.lock().next.is_none()
    }

    /// Says how well it is, if that is not what was last said.
    pub(in crate::pool) fn tell_level(&self) {
        let (level, breaker) = (self.level(), self.breaker_phase().as_str());
        let mut record = self.record.lock();
        let was = std::mem::replace(&mut record.told, level);
        let error = record.last_error.as_ref().map(|(error, _)| error.clone());
        drop(record);
        if was == level || !logging::admits("tenant_health", Some(self.id())) {
            return;
        }
        let (id, better, was) = (self.id(), level > was, was.as_str());
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
    pub(in crate::pool) fn has_worked_since(&self, now: Instant) -> bool {
        let record = self.record.lock();
        let ago = now.saturating_duration_since(record.worked_at);
        ago < self.settings.health_interval
            && record.trouble_at.is_none_or(|trouble| trouble < record.worked_at)
    }

    /// True if the minimum wants a backend that was opened to look, and nobody else does.
    pub(in crate::pool) fn is_wanted(&self, taken: &Taken) -> bool {
        self.account.open.now() <= self.settings.min_connections
            && taken.seat.is_none_or(|seat| self.context().servers.may_keep(seat))
    }

    /// How well it is.
    pub fn level(&self) -> Level {
        match self.breaker_phase() {
            BreakerPhase::Closed => self.record.lock().health.level(),
            BreakerPhase::Open | BreakerPhase::HalfOpen => Level::Unhealthy,
        }
    }
}

//! Whether it is worth while to open a backend: a tenant's circuit breaker, and the last error of
//! its database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::TenantPoolConfig;
use crate::core::breaker::{
    Breaker, BreakerPhase, BreakerSettings, BreakerTicket, PhaseChange, Verdict,
};
use crate::core::ids::TenantId;
use crate::error::{ConnectError, RequestError};
use crate::lock::Leaf;
use crate::random;
use crate::threads::bell::Bell;

/// The circuit breaker of a tenant's database, and its last failure. It outlives a tenant that
/// could not be opened (`registry`).
pub(super) struct TenantBreaker {
    history: Leaf<BreakerHistory>,
    /// Wakes the keeper, which probes.
    keeper: Bell,
}

struct BreakerHistory {
    breaker: Breaker,
    last: Option<(ConnectError, Instant)>,
}

/// What an attempt has changed, for its tenant to act on.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerChange {
    /// Nothing.
    None,
    /// From now on nobody may open a backend.
    Opened,
    /// Everybody may again, after so long.
    Closed(Duration),
}

/// One ticket of the breaker. Dropped unsettled, as when a connect panics, it
/// counts as neither success nor failure.
pub(super) struct OpenAttempt {
    breaker: Arc<TenantBreaker>,
    ticket: Option<BreakerTicket>,
    probe: bool,
}

impl TenantBreaker {
    /// A closed breaker of these settings.
    pub(super) fn new(pool: &TenantPoolConfig, keeper: &Bell) -> Arc<TenantBreaker> {
        let breaker = Breaker::new(BreakerSettings {
            failures: pool.breaker_failures,
            successes: pool.breaker_successes,
            probe_every: pool.breaker_probe,
            probe_max: pool.breaker_probe_max,
            ..BreakerSettings::default()
        });
        let history = Leaf::new(BreakerHistory { breaker, last: None });
        Arc::new(TenantBreaker { history, keeper: keeper.clone() })
    }

    fn locked<T>(&self, look: impl FnOnce(&mut BreakerHistory) -> T) -> T {
        // Whole between the calls of its own, which do not panic half-way.
        look(&mut self.history.lock())
    }

    /// Whether the database was away when it was last looked for.
    pub(super) fn has_failed_lately(&self) -> bool {
        self.locked(|history| history.breaker.has_failed_lately())
    }

    /// The error for a request that wants the first backend of this tenant, while the
    /// database is away and it is not time to look again.
    pub(super) fn refusal(&self, tenant: &TenantId) -> Option<RequestError> {
        let now = clock::now();
        let open = self.locked(|history| {
            let breaker = &history.breaker;
            let due = breaker.next_probe().is_some_and(|at| at <= now);
            breaker.phase() != BreakerPhase::Closed && !due
        });
        open.then(|| self.error(tenant))
    }

    /// What to tell who would need a backend while the breaker is open.
    pub(super) fn error(&self, tenant: &TenantId) -> RequestError {
        let now = clock::now();
        let (last, next) = self.locked(|g| (g.last.clone(), g.breaker.next_probe()));
        // It opens with a failure, so there was one.
        let (cause, at) = last.unwrap_or((ConnectError::Panicked, now));
        RequestError::BreakerOpen {
            tenant: tenant.clone(),
            cause,
            age: now.saturating_duration_since(at),
            retry: next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now)),
        }
    }

    /// The last failure, in words.
    pub(super) fn last_words(&self) -> String {
        let last = self.locked(|history| history.last.clone());
        last.map_or_else(String::new, |(cause, _)| cause.to_string())
    }

    /// When it will be time to find out whether the database is back.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.locked(|history| history.breaker.next_probe())
    }

    /// What the breaker does.
    pub(super) fn phase(&self) -> BreakerPhase {
        self.locked(|history| history.breaker.phase())
    }

    /// The right to open a backend, while the breaker is closed.
    pub(super) fn attempt(self: &Arc<Self>) -> Option<OpenAttempt> {
        let ticket = self.locked(|history| history.breaker.try_open())?;
        Some(OpenAttempt { breaker: Arc::clone(self), ticket: Some(ticket), probe: false })
    }

    /// The right to find out whether a backend can be opened, if it is time.
    pub(super) fn probe_attempt(self: &Arc<Self>, now: Instant) -> Option<OpenAttempt> {
        let ticket = self.locked(|history| history.breaker.try_probe(now))?;
        Some(OpenAttempt { breaker: Arc::clone(self), ticket: Some(ticket), probe: true })
    }

    fn settle(
        &self,
        ticket: BreakerTicket,
        verdict: Verdict,
        last: Option<ConnectError>,
    ) -> BreakerChange {
        let (now, jitter) = (clock::now(), random::chance() / 10.0);
        let (change, since) = self.locked(|history| {
            if let Some(last) = last {
                history.last = Some((last, now));
            }
            let since = history.breaker.since();
            (history.breaker.settle(ticket, verdict, now, jitter), since)
        });
        if let Some(next) = self.next_probe() {
            self.keeper.due(next);
        }
        match change {
            None => BreakerChange::None,
            Some(PhaseChange::Opened) => BreakerChange::Opened,
            Some(PhaseChange::Closed) => {
                let away = since.map(|since| now.saturating_duration_since(since));
                BreakerChange::Closed(away.unwrap_or_default())
            }
        }
    }
}

impl OpenAttempt {
    /// Settles with what came of it: why it failed, and whether it was hurried.
    pub(super) fn settle(mut self, failed: Option<(&ConnectError, bool)>) -> BreakerChange {
        let verdict = match failed {
            None => Verdict::Good,
            Some((cause, hurried)) => verdict(cause, hurried, self.probe),
        };
        let last = failed.map(|(cause, _)| cause.clone());
        let ticket = self.ticket.take();
        ticket.map_or(BreakerChange::None, |ticket| self.breaker.settle(ticket, verdict, last))
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // This verdict never changes what the breaker does.
            let _ = self.breaker.settle(ticket, Verdict::Neither, None);
        }
    }
}

/// What a failure says of the database. An attempt that was hurried, because its
/// caller's time was short, says nothing when it was late.
fn verdict(cause: &ConnectError, hurried: bool, probe: bool) -> Verdict {
    match cause {
        cause if hurried && cause.was_late() => Verdict::Neither,
        ConnectError::Panicked => Verdict::Neither,
        cause if cause.is_own() => Verdict::Neither,
        // It answers. Whether it is full, or what it says of the password, is for
        // the callers to hear as it is.
        cause if cause.is_full() || !cause.is_retryable() => match probe {
            true => Verdict::Good,
            false => Verdict::Neither,
        },
        _ => Verdict::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_late_in_a_hurry_says_nothing_of_the_database() {
        let target = || "host:1".to_owned();
        let unreachable =
            || ConnectError::Unreachable { target: target(), why: "refused".to_owned() };
        let late =
            || ConnectError::TimedOut { target: target(), step: "TCP", limit: Duration::ZERO };
        let deferred = || ConnectError::Deferred {
            target: target(),
            user: "u".to_owned(),
            refusals: 5,
            retry: Duration::ZERO,
        };
        for (cause, hurried, bad) in [
            (unreachable(), true, true),
            (late(), true, false),
            (late(), false, true),
            (ConnectError::Several(vec![unreachable(), late()]), true, false),
            (ConnectError::Several(vec![unreachable(), late()]), false, true),
            (ConnectError::Starved("no descriptor".to_owned()), false, false),
            (ConnectError::Settings("no TLS".to_owned()), false, false),
            (deferred(), false, false),
        ] {
            for probe in [false, true] {
                let is_bad = verdict(&cause, hurried, probe) == Verdict::Bad;
                assert_eq!(is_bad, bad, "{cause:?} {hurried}");
            }
        }
    }

    #[test]
    fn the_pauses_between_probes_are_those_of_the_tenant() {
        let hour = Duration::from_secs(3600);
        let pool = TenantPoolConfig {
            breaker_failures: 1,
            breaker_probe: hour,
            breaker_probe_max: hour,
            ..TenantPoolConfig::default()
        };
        let (before, breaker) = (clock::now(), TenantBreaker::new(&pool, &Bell::default()));
        let cause = ConnectError::Unreachable { target: "h:1".to_owned(), why: "w".to_owned() };
        let attempt = breaker.attempt().expect("the breaker is closed");
        assert!(matches!(attempt.settle(Some((&cause, false))), BreakerChange::Opened));
        assert!(breaker.next_probe().is_some_and(|next| next >= before + hour));
    }
}

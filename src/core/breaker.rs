//! A circuit breaker for opening connections.

use super::backoff;
use std::time::{Duration, Instant};

/// Guards the *opening* of one tenant's backends. Backends that are open are not its concern.
///
/// States and their exits: `Closed`, every attempt is allowed; exit to `Open` after
/// [`BreakerSettings::failures`] failures in a row. `Open`, only a probe is allowed, when one is due; its
/// success leads to `HalfOpen`. `HalfOpen`, only probes are allowed, without a pause; exit to
/// `Closed` after [`BreakerSettings::successes`] successes in a row, to `Open` after a failure.
///
/// What is guarded may be well again: [`renew`](Breaker::renew) leads from `Open` to `HalfOpen`.
///
/// Invariants: at most one probe that counts runs at a time. A ticket issued before the breaker last
/// opened, closed or was renewed has no effect. Each ticket is settled once; [`Verdict::Neither`] changes only the time of
/// the next probe.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: CircuitState,
    /// Increases whenever the breaker opens, closes or is renewed.
    era: u64,
    probing: bool,
}

/// The thresholds and pauses of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Successful probes in a row that close it.
    pub successes: u32,
    /// The pause between probes.
    pub probe_every: Duration,
    /// How long after the opening the pause stays the same; then it doubles each time.
    pub steady: Duration,
    /// The longest pause.
    pub probe_max: Duration,
}

#[derive(Debug)]
enum CircuitState {
    Closed { failures: u32 },
    Open { since: Instant, next_probe: Instant, slowed: u32 },
    HalfOpen { since: Instant, next_probe: Instant, successes: u32 },
}

/// The state of a breaker, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerPhase {
    /// Every attempt is allowed.
    Closed,
    /// Only a probe is allowed.
    Open,
    /// The last probe succeeded; more successes close the breaker.
    HalfOpen,
}

/// The right to one attempt. It must be settled.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct BreakerTicket {
    era: u64,
    probe: bool,
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The database was reached.
    Good,
    /// The database could not be reached.
    Bad,
    /// Says nothing about the database: the attempt was abandoned, or refused for a reason that
    /// waiting does not change.
    Neither,
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseChange {
    /// From now on only probes are allowed.
    Opened,
    /// Every attempt is allowed again.
    Closed,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings {
            failures: 5,
            successes: 2,
            // A restarted database is used again within two seconds of accepting connections.
            probe_every: Duration::from_secs(1),
            // Restarts and failovers take a minute or two; anything longer is an outage.
            steady: Duration::from_secs(120),
            probe_max: Duration::from_secs(30),
        }
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Breaker { settings, state: CircuitState::Closed { failures: 0 }, era: 0, probing: false }
    }

    /// A ticket for an ordinary attempt; `None` unless the breaker is closed.
    pub fn try_open(&self) -> Option<BreakerTicket> {
        matches!(self.state, CircuitState::Closed { .. })
            .then_some(BreakerTicket { era: self.era, probe: false })
    }

    /// A ticket for a probe, if one is due.
    pub fn try_probe(&mut self, now: Instant) -> Option<BreakerTicket> {
        let due = self.next_probe().is_some_and(|at| at <= now);
        self.probing |= due;
        due.then_some(BreakerTicket { era: self.era, probe: true })
    }

    /// When the next probe is due; `None` while the breaker is closed or a probe is running.
    pub fn next_probe(&self) -> Option<Instant> {
        match self.state {
            CircuitState::Open { next_probe, .. } | CircuitState::HalfOpen { next_probe, .. }
                if !self.probing =>
            {
                Some(next_probe)
            }
            _ => None,
        }
    }

    /// Takes a ticket back with the result of its attempt. `jitter` lengthens the pause before the
    /// next probe by a fraction of itself.
    pub fn settle(
        &mut self,
        ticket: BreakerTicket,
        verdict: Verdict,
        now: Instant,
        jitter: f64,
    ) -> Option<PhaseChange> {
        if ticket.era != self.era {
            return None;
        }
        self.probing &= !ticket.probe;
        match (&mut self.state, verdict) {
            (CircuitState::Closed { failures }, Verdict::Good) => {
                *failures = 0;
                None
            }
            (CircuitState::Closed { failures }, Verdict::Bad) => {
                *failures += 1;
                (*failures >= self.settings.failures).then(|| self.open(now))
            }
            (CircuitState::Closed { .. }, Verdict::Neither) => None,
            (CircuitState::Open { .. }, Verdict::Good) => self.succeed(now, 1),
            (CircuitState::Open { since, next_probe, slowed }, Verdict::Bad | Verdict::Neither) => {
                let BreakerSettings { probe_every, probe_max, steady, .. } = self.settings;
                *slowed += u32::from(now.saturating_duration_since(*since) >= steady);
                *next_probe = now + backoff::delay(*slowed, probe_every, probe_max, 2.0, jitter);
                None
            }
            (CircuitState::HalfOpen { successes, .. }, Verdict::Good) => {
                let successes = *successes + 1;
                self.succeed(now, successes)
            }
            (CircuitState::HalfOpen { .. }, Verdict::Bad) => {
                // Only probes were allowed meanwhile, so this is no change to report.
                let _ = self.open(now);
                None
            }
            (CircuitState::HalfOpen { next_probe, .. }, Verdict::Neither) => {
                *next_probe = now + self.settings.probe_every;
                None
            }
        }
    }

    /// What it guards may be well again: a probe is due now, and what was begun before says nothing
    /// any more. A breaker that is closed keeps its count.
    pub fn renew(&mut self, now: Instant) {
        self.era += 1;
        self.probing = false;
        match &mut self.state {
            CircuitState::Closed { .. } => {}
            CircuitState::HalfOpen { next_probe, .. } => *next_probe = now,
            CircuitState::Open { since, .. } => {
                let since = *since;
                self.state = CircuitState::HalfOpen { since, next_probe: now, successes: 0 };
            }
        }
    }

    fn open(&mut self, now: Instant) -> PhaseChange {
        let next_probe = now + self.settings.probe_every;
        self.state = CircuitState::Open { since: now, next_probe, slowed: 0 };
        self.era += 1;
        PhaseChange::Opened
    }

    fn succeed(&mut self, now: Instant, successes: u32) -> Option<PhaseChange> {
        if successes < self.settings.successes {
            let since = self.since().unwrap_or(now);
            self.state = CircuitState::HalfOpen { since, next_probe: now, successes };
            return None;
        }
        self.state = CircuitState::Closed { failures: 0 };
        self.era += 1;
        Some(PhaseChange::Closed)
    }

    /// The present state.
    pub fn phase(&self) -> BreakerPhase {
        match self.state {
            CircuitState::Closed { .. } => BreakerPhase::Closed,
            CircuitState::Open { .. } => BreakerPhase::Open,
            CircuitState::HalfOpen { .. } => BreakerPhase::HalfOpen,
        }
    }

    /// True if the last conclusive attempt failed, or the breaker is not closed.
    pub fn has_failed_lately(&self) -> bool {
        !matches!(self.state, CircuitState::Closed { failures: 0 })
    }

    /// When it last left `Closed`; `None` while it is closed.
    pub fn since(&self) -> Option<Instant> {
        match self.state {
            CircuitState::Closed { .. } => None,
            CircuitState::Open { since, .. } | CircuitState::HalfOpen { since, .. } => Some(since),
        }
    }
}

impl BreakerPhase {
    /// The name in logs and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerPhase::Closed => "closed",
            BreakerPhase::Open => "open",
            BreakerPhase::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests;

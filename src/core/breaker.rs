//! Says whether it is worth while to open a connection.

use super::backoff;
use std::time::{Duration, Instant};

/// Guards the *opening* of one tenant's backends; what is open already is none of its concern.
///
/// States and their exits: `Closed`, everybody may try; exit to `Open` after so many failures in a
/// row. `Open`, only a probe may try, when one is due; its success leads to `HalfOpen`. `HalfOpen`,
/// the same, without a pause; exit to `Closed` after so many successes in a row, to `Open` with a
/// failure.
///
/// Invariants: at most one probe is out. A ticket that was given out before the breaker opened or
/// closed says nothing any more. Whoever has a ticket settles it once; one that is settled as
/// [`Verdict::Neither`] changes nothing but the time of the next probe.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// Grows with every opening and closing.
    era: u64,
    probing: bool,
}

/// The numbers of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So many failures in a row open it.
    pub failures: u32,
    /// So many successful probes in a row close it.
    pub successes: u32,
    /// The pause between probes.
    pub probe_every: Duration,
    /// For so long after the opening; then the pauses double.
    pub steady: Duration,
    /// The longest pause.
    pub probe_max: Duration,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { since: Instant, next_probe: Instant, slowed: u32 },
    HalfOpen { since: Instant, next_probe: Instant, successes: u32 },
}

/// What a breaker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everybody may try.
    Closed,
    /// Nobody may try but a probe.
    Open,
    /// The last probe was good; one more will close it.
    HalfOpen,
}

/// The right to try once. To be settled.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    era: u64,
    probe: bool,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The database is there.
    Good,
    /// It could not be reached.
    Bad,
    /// It says nothing about the database: the try was given up, or refused for reasons that no
    /// waiting changes.
    Neither,
}

/// What a verdict has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on only probes may try.
    Opened,
    /// Everybody may try again.
    Closed,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            failures: 5,
            successes: 2,
            // A database that restarts is used again within two seconds of accepting.
            probe_every: Duration::from_secs(1),
            // Restarts and failovers take a minute or two; what takes longer is an outage.
            steady: Duration::from_secs(120),
            probe_max: Duration::from_secs(30),
        }
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: Settings) -> Self {
        Breaker { settings, state: State::Closed { failures: 0 }, era: 0, probing: false }
    }

    /// A ticket for whoever needs a backend; `None` unless the breaker is closed.
    pub fn try_open(&self) -> Option<Ticket> {
        matches!(self.state, State::Closed { .. }).then_some(Ticket { era: self.era, probe: false })
    }

    /// A ticket for a probe, if one is due.
    pub fn try_probe(&mut self, now: Instant) -> Option<Ticket> {
        let due = self.next_probe().is_some_and(|at| at <= now);
        self.probing |= due;
        due.then_some(Ticket { era: self.era, probe: true })
    }

    /// When the next probe is due; `None` while the breaker is closed or a probe is out.
    pub fn next_probe(&self) -> Option<Instant> {
        match self.state {
            State::Open { next_probe, .. } | State::HalfOpen { next_probe, .. }
                if !self.probing =>
            {
                Some(next_probe)
            }
            _ => None,
        }
    }

    /// Takes a ticket back with what came of it. `jitter` lengthens the pause before the next probe
    /// by a fraction of itself.
    pub fn settle(
        &mut self,
        ticket: Ticket,
        verdict: Verdict,
        now: Instant,
        jitter: f64,
    ) -> Option<Change> {
        if ticket.era != self.era {
            return None;
        }
        self.probing &= !ticket.probe;
        match (&mut self.state, verdict) {
            (State::Closed { failures }, Verdict::Good) => {
                *failures = 0;
                None
            }
            (State::Closed { failures }, Verdict::Bad) => {
                *failures += 1;
                (*failures >= self.settings.failures).then(|| self.open(now))
            }
            (State::Closed { .. }, Verdict::Neither) => None,
            (State::Open { .. }, Verdict::Good) => self.succeed(now, 1),
            (State::Open { since, next_probe, slowed }, Verdict::Bad | Verdict::Neither) => {
                let Settings { probe_every, probe_max, steady, .. } = self.settings;
                *slowed += u32::from(now.saturating_duration_since(*since) >= steady);
                *next_probe = now + backoff::delay(*slowed, probe_every, probe_max, 2.0, jitter);
                None
            }
            (State::HalfOpen { successes, .. }, Verdict::Good) => {
                let successes = *successes + 1;
                self.succeed(now, successes)
            }
            (State::HalfOpen { .. }, Verdict::Bad) => {
                // It opens anew; nobody but a probe had come through since.
                let _ = self.open(now);
                None
            }
            (State::HalfOpen { next_probe, .. }, Verdict::Neither) => {
                *next_probe = now + self.settings.probe_every;
                None
            }
        }
    }

    fn open(&mut self, now: Instant) -> Change {
        let next_probe = now + self.settings.probe_every;
        self.state = State::Open { since: now, next_probe, slowed: 0 };
        self.era += 1;
        Change::Opened
    }

    fn succeed(&mut self, now: Instant, successes: u32) -> Option<Change> {
        if successes < self.settings.successes {
            let since = self.since().unwrap_or(now);
            self.state = State::HalfOpen { since, next_probe: now, successes };
            return None;
        }
        self.state = State::Closed { failures: 0 };
        self.era += 1;
        Some(Change::Closed)
    }

    /// What the breaker is doing.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    /// True if the last try that said something of the database was bad, or the breaker is not
    /// closed yet.
    pub fn is_troubled(&self) -> bool {
        !matches!(self.state, State::Closed { failures: 0 })
    }

    /// Since when it has not been closed.
    pub fn since(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { since, .. } | State::HalfOpen { since, .. } => Some(since),
        }
    }
}

impl Phase {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Closed => "closed",
            Phase::Open => "open",
            Phase::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests;

//! Rounds of probes, and what they say of the pool.

use std::time::{Duration, Instant, SystemTime};

use super::Shared;
use crate::client::config::HealthConfig;
use crate::client::error::PoolError;
use crate::client::lineup::{HealthChange, ProbeOutcome, Reason};
use crate::client::status::ServiceHealth;
use crate::clock;
use crate::core::health::{Health, Level, Round};

/// A forced round is waited for a little longer than its probes may take.
const MARGIN: Duration = Duration::from_millis(500);

/// When all connections are probed.
pub(super) struct Rounds {
    /// `None`: only when somebody asks.
    interval: Option<Duration>,
    next: Instant,
    /// Somebody asks.
    asked: bool,
    running: bool,
    /// Rounds that are over.
    over: u64,
    health: Health,
    last: Option<SystemTime>,
}

impl Rounds {
    pub(super) fn new(config: &HealthConfig, now: Instant) -> Rounds {
        Rounds {
            interval: config.enabled.then_some(config.interval),
            next: now + config.interval,
            asked: false,
            running: false,
            over: 0,
            // One round in which nothing works is enough: nothing can be called then.
            health: Health::new(1, config.successes),
            last: None,
        }
    }

    /// Goes on as this says.
    pub(super) fn adjust(&mut self, config: &HealthConfig, now: Instant) {
        self.interval = config.enabled.then_some(config.interval);
        self.next = now + config.interval;
        self.health = Health::new(1, config.successes);
    }

    /// Whether a round begins now.
    fn begins(&mut self, now: Instant) -> bool {
        let is_due = self.interval.is_some_and(|_| self.next <= now);
        if self.running || !(is_due || self.asked) {
            return false;
        }
        (self.running, self.asked) = (true, false);
        if let Some(interval) = self.interval {
            self.next = now + interval;
        }
        true
    }

    fn due(&self) -> Option<Instant> {
        self.interval.map(|_| self.next).filter(|_| !self.running)
    }

    /// The round that runs is over.
    fn end(&mut self, round: Round) -> Option<Level> {
        (self.running, self.over, self.last) = (false, self.over + 1, Some(clock::wall()));
        self.health.settle(round)
    }
}

impl Shared {
    /// Takes in what probes have found, and sends those that are due. Returns when it is needed
    /// again, and whether something has changed.
    pub(super) fn probe(&self, now: Instant) -> (Option<Instant>, bool) {
        let mut changed = false;
        for probed in self.prober.take() {
            changed = true;
            let (slot, found) = (probed.slot, &probed.found);
            self.reporter.probed(probed.in_round, *found == ProbeOutcome::Alive);
            let (change, duty) = self.lock().checked(slot, found, self.dice.roll(), now);
            let at = probed.link.to();
            match change {
                Some(HealthChange::Sick) => self.reporter.sick(at, now),
                Some(HealthChange::Well) => self.reporter.well(at, now),
                None => {}
            }
            if let ProbeOutcome::Silent(error) = found {
                let is_gone = duty.dropped.iter().any(|(_, why)| *why == Reason::Health);
                self.reporter.silent(at, error, is_gone, now);
            }
            self.act(duty);
        }
        if self.rounds.lock().begins(now) {
            self.lock().begin_round();
        }
        let probes = if self.is_closed() { Vec::new() } else { self.lock().probes(now) };
        for (slot, link, in_round) in probes {
            self.prober.ask(slot, &link, in_round);
        }
        changed |= self.end_round();
        (self.rounds.lock().due(), changed)
    }

    fn end_round(&self) -> bool {
        if !self.rounds.lock().running {
            return false;
        }
        let Some(round) = self.lock().round() else {
            return false;
        };
        let news = self.rounds.lock().end(round);
        if let Some(level) = news {
            self.reporter.level(level, round);
        }
        true
    }

    /// Probes all connections that are not lent, as soon as the keeper comes to it. Returns the
    /// round to wait for.
    pub(in crate::client) fn ask_health(&self) -> u64 {
        let mut rounds = self.rounds.lock();
        rounds.asked = true;
        // One that runs may have looked before the caller asked.
        let wanted = rounds.over + 1 + u64::from(rounds.running);
        drop(rounds);
        self.bell.ring();
        wanted
    }

    /// Waits for the answers of a round.
    pub(in crate::client) fn await_health(&self, wanted: u64) -> Result<ServiceHealth, PoolError> {
        if self.dialer.runtime().is_own_thread() {
            return Err(PoolError::OnGrpcThread);
        }
        let until = clock::now() + 2 * self.config().health.timeout + MARGIN;
        self.wait_until(until, |_| self.is_closed() || self.rounds.lock().over >= wanted);
        match self.is_closed() {
            true => Err(PoolError::Closed { service: self.service.clone() }),
            false => Ok(self.health()),
        }
    }

    /// The worse of what the last rounds say and of how it is now.
    pub(super) fn level(&self) -> Level {
        let counts = self.counts();
        let now = match counts.ready {
            0 => Level::Unhealthy,
            ready if ready >= counts.wanted => Level::Healthy,
            _ => Level::Degraded,
        };
        now.min(self.rounds.lock().health.level())
    }

    pub(super) fn last_check(&self) -> Option<SystemTime> {
        self.rounds.lock().last
    }
}

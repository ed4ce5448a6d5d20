//! Reports on a pool: to the log, to Prometheus, to observers.

mod lines;
mod names;
mod probes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::call_error::Code;
use super::config::ServiceConfig;
use super::destination::Destination;
use super::error::PoolError;
use super::metrics::{CallMeter, MethodMeter};
use super::observer::{Event, Observers};
use super::status::PoolStatus;
use crate::core::breaker::PhaseChange;
use crate::lock::Leaf;
use lines::Lines;

/// Reports for one pool.
pub(super) struct Reporter {
    service: String,
    lines: Lines,
    meter: CallMeter,
    observers: Observers,
    /// The part of checkouts of which observers are told, of 2^32.
    sampled: AtomicU64,
    numbers: EventCounts,
    /// Since when addresses are down, and of how many failures it was told when they are tried again.
    down: Leaf<HashMap<usize, (Instant, u32)>>,
}

/// What is reported of a service.
pub(super) struct Wishes {
    pub(super) logging: bool,
    pub(super) suppress_connection_errors: bool,
    pub(super) sample_rate: f64,
}

impl From<&ServiceConfig> for Wishes {
    fn from(config: &ServiceConfig) -> Wishes {
        Wishes {
            logging: config.enable_logging,
            suppress_connection_errors: config.suppress_connection_errors,
            sample_rate: config.events.sample_rate,
        }
    }
}

/// What is counted.
#[derive(Debug, Default)]
struct EventCounts {
    checkouts: AtomicU64,
    checkout_failures: AtomicU64,
    connects: AtomicU64,
    connect_failures: AtomicU64,
    disconnects: AtomicU64,
    health_checks: AtomicU64,
    pings: AtomicU64,
    health_check_failures: AtomicU64,
}

/// The counters of a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) checkouts: u64,
    pub(super) checkout_failures: u64,
    pub(super) connects: u64,
    pub(super) connect_failures: u64,
    pub(super) disconnects: u64,
    pub(super) health_checks: u64,
    pub(super) pings: u64,
    pub(super) health_check_failures: u64,
}

/// A call that has ended.
pub(super) struct CallEnded<'a> {
    pub(super) method: &'a str,
    pub(super) code: Code,
    pub(super) attempts: u32,
    pub(super) took: Duration,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Reporter {
    pub(super) fn new(
        service: &str,
        wishes: &Wishes,
        meter: CallMeter,
        observers: Observers,
    ) -> Reporter {
        let reporter = Reporter {
            lines: Lines::new(service),
            service: service.to_owned(),
            meter,
            observers,
            sampled: AtomicU64::default(),
            numbers: EventCounts::default(),
            down: Leaf::default(),
        };
        reporter.adjust(wishes);
        reporter
    }

    /// Reports as this says from now on.
    pub(super) fn adjust(&self, wishes: &Wishes) {
        self.lines.adjust(wishes.logging, wishes.suppress_connection_errors);
        let sampled = (wishes.sample_rate.clamp(0.0, 1.0) * 2_f64.powi(32)) as u64;
        self.sampled.store(sampled, Ordering::Relaxed);
    }

    /// Where it is counted.
    pub(super) fn meter(&self) -> &CallMeter {
        &self.meter
    }

    pub(super) fn totals(&self) -> Totals {
        let numbers = &self.numbers;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            checkouts: get(&numbers.checkouts),
            checkout_failures: get(&numbers.checkout_failures),
            connects: get(&numbers.connects),
            connect_failures: get(&numbers.connect_failures),
            disconnects: get(&numbers.disconnects),
            health_checks: get(&numbers.health_checks),
            pings: get(&numbers.pings),
            health_check_failures: get(&numbers.health_check_failures),
        }
    }

    fn tell(&self, event: impl FnOnce(String) -> Event) {
        self.observers.tell(|| event(self.service.clone()));
    }

    pub(super) fn started(&self, addresses: usize, size: usize) {
        self.lines.started(addresses, size);
        self.tell(|service| Event::PoolStarted { service, size });
    }

    pub(super) fn stopped(&self) {
        self.lines.stopped();
        self.tell(|service| Event::PoolStopped { service });
    }

    pub(super) fn resized(&self, size: usize) {
        self.lines.resized(size);
        self.tell(|service| Event::Resized { service, size });
    }

    pub(super) fn status(&self, status: impl FnOnce() -> PoolStatus) {
        self.observers.tell(|| Event::Status(status()));
    }

    /// A connection was lent. `chance` is any number.
    pub(super) fn lent(&self, waited: Duration, chance: u64) {
        count(&self.numbers.checkouts);
        self.meter.lent(waited);
        if chance >> 32 < self.sampled.load(Ordering::Relaxed) {
            self.tell(|service| Event::CheckedOut { service, waited });
        }
    }

    /// No connection was lent.
    pub(super) fn not_lent(&self, error: &PoolError, now: Instant) {
        count(&self.numbers.checkout_failures);
        let reason = match error {
            PoolError::CheckoutTimeout { .. } => "timeout",
            PoolError::NotConnected { .. } => "not_connected",
            PoolError::TooManyWaiters { .. } => "too_many_waiters",
            PoolError::DeadlineExceeded { .. } => "deadline",
            PoolError::Closed { .. } => "closed",
            _ => return,
        };
        self.meter.not_lent(reason);
        if let PoolError::CheckoutTimeout { waited, holders, .. } = error {
            self.lines.checkout_timeout(*waited, holders.first(), now);
        }
    }

    /// A connection is begun.
    pub(super) fn connects(&self) {
        count(&self.numbers.connects);
        self.meter.connects();
    }

    /// A connection stands.
    pub(super) fn connected(&self, at: &Destination, took: Duration, now: Instant) {
        self.meter.connected(took);
        self.lines.connected(at, took);
        let down = self.down.lock().remove(&at.number);
        if let Some((since, _)) = down {
            self.lines.reconnected(at, now.saturating_duration_since(since));
        }
        let address = || at.to_string();
        self.tell(|service| Event::Connected { service, address: address(), took });
    }

    /// A connection could not be made; the address is tried again after a pause.
    pub(super) fn connect_failed(
        &self,
        at: &Destination,
        error: &str,
        again: Option<(Duration, u32)>,
        now: Instant,
    ) {
        count(&self.numbers.connect_failures);
        self.meter.connect_failed();
        self.lines.connect_failed(at, error, now);
        let attempt = again.map_or(0, |(_, attempt)| attempt);
        let told = {
            let mut down = self.down.lock();
            let known = down.entry(at.number).or_insert((now, 0));
            std::mem::replace(&mut known.1, attempt)
        };
        let error = || error.to_owned();
        let address = at.to_string();
        self.tell(|service| Event::ConnectFailed {
            service,
            address: address.clone(),
            error: error(),
        });
        // All that were dialled at the same time have failed, and one of them is tried again.
        if let Some((after, attempt)) = again.filter(|_| attempt != told) {
            self.tell(|service| Event::ReconnectScheduled { service, address, after, attempt });
        }
    }

    /// A connection is lost, and is connected again at once.
    pub(super) fn lost(&self, at: &Destination, age: Duration, now: Instant) {
        self.lines.lost(at, now);
        self.ended(at, "lost", age);
    }

    /// A connection has ended that stood for so long.
    pub(super) fn ended(&self, at: &Destination, reason: &'static str, age: Duration) {
        count(&self.numbers.disconnects);
        self.meter.disconnected(reason, age);
        self.lines.ended(at, reason);
        let address = || at.to_string();
        self.tell(|service| Event::Disconnected { service, address: address(), reason, age });
    }

    /// A breaker has opened or closed.
    pub(super) fn breaker(&self, method: &str, change: PhaseChange) {
        let state = match change {
            PhaseChange::Opened => "open",
            PhaseChange::Closed => "closed",
        };
        self.lines.breaker(method, change);
        let method = || method.to_owned();
        self.tell(|service| Event::BreakerChanged { service, method: method(), state });
    }

    /// A call has ended.
    pub(super) fn call(&self, meter: &MethodMeter, ended: &CallEnded<'_>) {
        meter.call(ended.code, ended.took);
        self.lines.call(ended);
    }
}

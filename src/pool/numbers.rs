//! A tenant in numbers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::core::breaker::BreakerPhase;
use crate::core::gate::{GateState, Pause};

/// Counted as it happens.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) acquired: AtomicU64,
    pub(super) waited_micros: AtomicU64,
    pub(super) opening: AtomicUsize,
    pub(super) resetting: AtomicUsize,
    /// Backends that are about to be reset.
    pub(super) returning: AtomicUsize,
    /// Permits out for the service's own work. Changed while the gate is locked.
    pub(super) upkeep: AtomicUsize,
    /// Jobs between two tries to open a backend.
    pub(super) suspended: AtomicUsize,
    /// Those of them that wait for room with the first.
    pub(super) unopened: AtomicUsize,
}

/// A tenant's figures at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Permits out: leases, one-shots, backends being opened or reset.
    pub used: usize,
    /// Those of them that are for the service's own work, such as checks of its health.
    pub upkeep: usize,
    /// Backends at rest.
    pub idle: usize,
    /// All backends, those being opened included.
    pub open: usize,
    /// Backends being opened.
    pub opening: usize,
    /// Backends being reset.
    pub resetting: usize,
    /// Requests in the queue.
    pub waiting: usize,
    /// The limit.
    pub max: usize,
    /// Requests served with a backend so far.
    pub acquired: u64,
    /// How long they waited together.
    pub waited: Duration,
    /// What the gate does.
    pub state: GateState,
    /// How it is paused, if it is.
    pub paused: Option<Pause>,
    /// What the breaker does.
    pub breaker: BreakerPhase,
}

impl Figures {
    /// Those of a tenant that has nothing yet.
    pub(super) const NONE: Figures = Figures {
        used: 0,
        upkeep: 0,
        idle: 0,
        open: 0,
        opening: 0,
        resetting: 0,
        waiting: 0,
        max: 0,
        acquired: 0,
        waited: Duration::ZERO,
        state: GateState::Opening,
        paused: None,
        breaker: BreakerPhase::Closed,
    };

    /// Backends that are open and not known to be broken.
    pub fn alive(&self) -> usize {
        self.open.saturating_sub(self.opening)
    }

    /// Backends in use.
    pub fn active(&self) -> usize {
        self.open.saturating_sub(self.idle + self.opening)
    }

    /// Backends that could be had at once.
    pub fn available(&self) -> usize {
        self.max.saturating_sub(self.used)
    }
}

/// Adds to a number while it lives.
pub(super) struct During<'a>(&'a AtomicUsize);

impl<'a> During<'a> {
    pub(super) fn new(number: &'a AtomicUsize) -> During<'a> {
        number.fetch_add(1, Ordering::Relaxed);
        During(number)
    }
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Numbers {
    /// Backends that are being opened.
    pub(super) fn opening_now(&self) -> usize {
        self.opening.load(Ordering::Relaxed)
    }

    /// Permits that are out for what the service does with the pool.
    pub(super) fn own_permits(&self) -> usize {
        let own = [&self.upkeep, &self.returning, &self.resetting];
        own.iter().map(|number| number.load(Ordering::Relaxed)).sum()
    }
}

//! One address of a service, and when it may be dialled.

use std::time::{Duration, Instant};

use super::Site;
use crate::client::outlier::Track;
use crate::core::backoff;

/// Each pause between two tries is so much longer than the one before, as gRPC has it.
const FACTOR: f64 = 1.6;
/// And by up to this part of itself longer by chance, so that clients do not come together.
const JITTER: f64 = 0.2;

/// How an address answers.
///
/// States and their exits: *up*, dialled at once whenever a connection is missing; exit to
/// *down* when a connection fails. *Down*, dialled by one connection at a time, after a pause
/// that grows; exit to *up* as soon as one of them is connected.
#[derive(Debug)]
pub(super) struct Place {
    site: Site,
    /// It is no address of the service any more, and is forgotten with its last channel.
    gone: bool,
    /// Failures in a row.
    failures: u32,
    /// Nobody dials before.
    due: Instant,
    /// Since when it is up after a failure, or from the beginning.
    up_since: Option<Instant>,
    down: Option<Down>,
    /// A connection was lost or failed, and none has stood since.
    away: bool,
    /// How attempts at it have ended.
    pub(super) track: Track,
    /// Its server says that it does not serve, and will say when it does.
    refuses: bool,
}

/// Why an address is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// What the last dial failed with.
    pub error: String,
    /// When the first of these failures was.
    pub since: Instant,
}

impl Place {
    pub(super) fn new(site: Site, now: Instant) -> Place {
        Place {
            site,
            gone: false,
            failures: 0,
            due: now,
            up_since: None,
            down: None,
            away: false,
            track: Track::default(),
            refuses: false,
        }
    }

    /// The same, which is no address of the service any more.
    pub(super) fn leave(self) -> Place {
        Place { gone: true, ..self }
    }

    pub(super) fn number(&self) -> usize {
        self.site.number
    }

    pub(super) fn name(&self) -> usize {
        self.site.name
    }

    pub(super) fn is_second(&self) -> bool {
        self.site.second
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn down(&self) -> Option<&Down> {
        self.down.as_ref()
    }

    pub(super) fn refuses(&self) -> bool {
        self.refuses
    }

    pub(super) fn set_refuses(&mut self, refuses: bool) {
        self.refuses = refuses;
    }

    /// A connection stands. True if it is the first after one was lost or failed.
    pub(super) fn connected(&mut self, now: Instant) -> bool {
        self.down = None;
        self.up_since.get_or_insert(now);
        std::mem::take(&mut self.away)
    }

    /// A connection that stood was lost.
    pub(super) fn lost(&mut self) {
        self.away = true;
    }

    /// A connection failed. `chance` is any number, and lengthens the pause by up to a fifth.
    pub(super) fn failed(&mut self, error: String, pauses: Pauses, chance: u64, now: Instant) {
        let Pauses { min, max } = pauses;
        self.away = true;
        if let Some(down) = self.down.as_mut().filter(|_| now < self.due) {
            // It was dialled together with the one whose failure began the pause.
            down.error = error;
            return;
        }
        if self.up_since.take().is_some_and(|up| now.saturating_duration_since(up) >= min) {
            self.failures = 0;
        }
        let jitter = JITTER * (chance % 1024) as f64 / 1024.0;
        self.due = now + backoff::delay(self.failures, min, max, FACTOR, jitter);
        self.failures = self.failures.saturating_add(1);
        let since = self.down.as_ref().map_or(now, |down| down.since);
        self.down = Some(Down { error, since });
    }
}

/// Between which bounds the pauses between dials lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After the first failure.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

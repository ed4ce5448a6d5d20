//! Reports on probes, and on what is looked at now and then.

use std::time::Instant;

use super::{count, Reporter};
use crate::client::destination::Destination;
use crate::client::error::Holder;
use crate::client::observer::Event;
use crate::core::health::{Level, Round};

impl Reporter {
    /// A probe has ended, of a round or to keep a connection warm.
    pub(in crate::client) fn probed(&self, in_round: bool, good: bool) {
        match in_round {
            true => count(&self.numbers.health_checks),
            false => count(&self.numbers.pings),
        }
        if !good {
            count(&self.numbers.health_check_failures);
        }
        self.meter.probed(in_round, good);
        self.tell(|service| Event::Ping { service, good });
    }

    /// A connection is not lent any more, because its server does not serve.
    pub(in crate::client) fn sick(&self, at: &Destination, now: Instant) {
        self.lines.sick(at, now);
    }

    /// It is lent again.
    pub(in crate::client) fn well(&self, at: &Destination, now: Instant) {
        self.lines.well(at, now);
    }

    /// A probe was not answered; `is_gone`: for the last time, the connection is replaced.
    pub(in crate::client) fn silent(
        &self,
        at: &Destination,
        error: &str,
        is_gone: bool,
        now: Instant,
    ) {
        self.lines.silent(at, error, is_gone, now);
    }

    /// The files of TLS hold something new.
    pub(in crate::client) fn reloaded(&self) {
        self.lines.reloaded();
        self.tell(|service| Event::CertificatesReloaded { service });
    }

    /// The files of TLS hold something that cannot be used.
    pub(in crate::client) fn not_reloaded(&self, error: &str, now: Instant) {
        self.lines.not_reloaded(error, now);
    }

    /// These settings hold from now on; those would, if the service were added anew.
    pub(in crate::client) fn applied(&self, applied: &[&str], later: &[&str]) {
        self.lines.applied(applied, later);
    }

    /// A setting is allowed and rarely meant.
    pub(in crate::client) fn unusual(&self, said: &str) {
        self.lines.unusual(said);
    }

    /// The program's choice among connections has panicked.
    pub(in crate::client) fn pick_panicked(&self, now: Instant) {
        self.lines.pick_panicked(now);
    }

    /// A connection is lent for too long.
    pub(in crate::client) fn leak(&self, holder: &Holder) {
        self.lines.leak(holder);
    }

    /// The pool is as well as that from now on.
    pub(in crate::client) fn level(&self, level: Level, round: Round) {
        self.lines.level(level, round);
        let level = level.as_str();
        self.tell(|service| Event::HealthChanged { service, level });
    }
}

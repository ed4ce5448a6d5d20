//! The clocks of leases, waits and statements: what holds if a request says nothing, and the most
//! that it may ask for.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::contradiction::Contradiction;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One of the clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The least that a request may ask for.
    pub least: Duration,
    /// What holds if it says nothing.
    pub usual: Duration,
    /// The most that it may ask for.
    pub most: Duration,
}

impl Clock {
    /// What a request may ask for.
    pub fn range(&self) -> RangeInclusive<Duration> {
        self.least..=self.most
    }
}

/// The clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clocks {
    /// How long a request waits for a connection.
    pub wait: Clock,
    /// How long a lease may be idle.
    pub ttl: Clock,
    /// How long a lease may be idle with an open transaction, which holds locks.
    pub idle_in_transaction: Clock,
    /// How long any lease may last.
    pub lifetime: Clock,
    /// How long one statement may run.
    pub statement: Clock,
    /// How long a cancelled statement may take to stop before its socket is closed.
    pub cancel_grace: Duration,
}

impl Default for Clocks {
    fn default() -> Clocks {
        let clock = |least, usual, most| Clock { least, usual: secs(usual), most: secs(most) };
        Clocks {
            wait: clock(Duration::ZERO, 30, 300),
            ttl: clock(secs(1), 300, 3600),
            idle_in_transaction: clock(secs(1), 60, 3600),
            lifetime: clock(secs(1), 3600, 24 * 3600),
            statement: clock(Duration::from_millis(1), 30, 24 * 3600),
            // A statement sees a cancel within milliseconds, except in a long step of its own.
            cancel_grace: secs(2),
        }
    }
}

impl Clocks {
    /// The usual times that are longer than the longest.
    pub(super) fn contradictions(&self) -> Vec<Contradiction> {
        let broken = self.named().into_iter().filter(|(_, clock)| clock.usual > clock.most);
        let told = broken.map(|(keys, clock)| {
            let (usual, most) = (clock.usual.as_secs_f64(), clock.most.as_secs_f64());
            let [name, longest] = keys;
            let rule = format!("{name} cannot be greater than {longest}: {usual} s > {most} s");
            Contradiction::new(rule, keys)
        });
        told.collect()
    }

    /// Each with the keys of its usual time and of its longest.
    fn named(&self) -> [(&'static [&'static str; 2], &Clock); 5] {
        [
            (&["wait", "max_wait"], &self.wait),
            (&["lease_ttl", "max_lease_ttl"], &self.ttl),
            (&["idle_in_transaction", "max_idle_in_transaction"], &self.idle_in_transaction),
            (&["lease_lifetime", "max_lease_lifetime"], &self.lifetime),
            (&["statement_timeout", "max_statement_timeout"], &self.statement),
        ]
    }
}

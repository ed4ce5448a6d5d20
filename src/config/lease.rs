//! The clocks of leases, waits and statements: what holds if a request says nothing, and the most
//! that it may ask for.

use std::ops::RangeInclusive;
use std::time::Duration;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// How long a cancelled statement may take to stop before its socket is closed.
pub const CANCEL_GRACE: Duration = secs(2);

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
        }
    }
}

impl Clocks {
    /// Rejects a usual time that is longer than the longest.
    ///
    /// # Errors
    /// The rule that is broken, naming the keys.
    pub(super) fn check(&self) -> Result<(), String> {
        for (usual, most, clock) in [
            ("wait", "max_wait", &self.wait),
            ("lease_ttl", "max_lease_ttl", &self.ttl),
            ("idle_in_transaction", "max_idle_in_transaction", &self.idle_in_transaction),
            ("lease_lifetime", "max_lease_lifetime", &self.lifetime),
            ("statement_timeout", "max_statement_timeout", &self.statement),
        ] {
            if clock.usual > clock.most {
                return Err(format!(
                    "{usual} cannot be greater than {most} ({} s > {} s)",
                    clock.usual.as_secs_f64(),
                    clock.most.as_secs_f64()
                ));
            }
        }
        Ok(())
    }
}

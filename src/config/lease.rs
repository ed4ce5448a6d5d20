//! Defaults and ranges of what a lease may be asked for.

use std::ops::RangeInclusive;
use std::time::Duration;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Waiting in the queue.
pub const WAIT: Duration = secs(30);
/// Range of the wait.
pub const WAIT_RANGE: RangeInclusive<Duration> = Duration::ZERO..=secs(300);
/// An idle lease ends after so long.
pub const TTL: Duration = secs(300);
/// Range of the time to live.
pub const TTL_RANGE: RangeInclusive<Duration> = secs(1)..=secs(3600);
/// An idle lease with an open transaction ends after so long: it holds locks.
pub const IDLE_IN_TRANSACTION: Duration = secs(60);
/// Range of that.
pub const IDLE_IN_TRANSACTION_RANGE: RangeInclusive<Duration> = secs(1)..=secs(3600);
/// Any lease ends after so long.
pub const MAX_LIFETIME: Duration = secs(3600);
/// Range of the lifetime.
pub const MAX_LIFETIME_RANGE: RangeInclusive<Duration> = secs(1)..=secs(24 * 3600);
/// One statement may run so long.
pub const STATEMENT: Duration = secs(30);
/// Range of the statement timeout.
pub const STATEMENT_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=secs(24 * 3600);
/// A cancelled statement has so long to obey before its socket is closed.
pub const CANCEL_GRACE: Duration = secs(2);

//! Defaults and ranges of a lease's settings.

use std::ops::RangeInclusive;
use std::time::Duration;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// How long a request waits for a connection.
pub const WAIT: Duration = secs(30);
/// Range of the wait.
pub const WAIT_RANGE: RangeInclusive<Duration> = Duration::ZERO..=secs(300);
/// How long a lease may be idle.
pub const TTL: Duration = secs(300);
/// Range of the time to live.
pub const TTL_RANGE: RangeInclusive<Duration> = secs(1)..=secs(3600);
/// How long a lease may be idle with an open transaction, which holds locks.
pub const IDLE_IN_TRANSACTION: Duration = secs(60);
/// Range of that time.
pub const IDLE_IN_TRANSACTION_RANGE: RangeInclusive<Duration> = secs(1)..=secs(3600);
/// How long any lease may last.
pub const MAX_LIFETIME: Duration = secs(3600);
/// Range of the lifetime.
pub const MAX_LIFETIME_RANGE: RangeInclusive<Duration> = secs(1)..=secs(24 * 3600);
/// How long one statement may run.
pub const STATEMENT: Duration = secs(30);
/// Range of the statement timeout.
pub const STATEMENT_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=secs(24 * 3600);
/// How long a cancelled statement may take to stop before its socket is closed.
pub const CANCEL_GRACE: Duration = secs(2);

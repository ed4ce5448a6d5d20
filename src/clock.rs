//! The one place that reads the clock. Everything below the edges takes `now`.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock: all time limits use it.
#[allow(clippy::disallowed_methods)] // The edge that the ban points to.
pub fn now() -> Instant {
    Instant::now()
}

/// So long after `from`. What is too far away for the clock is as good as never: a year.
pub fn after(from: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from.checked_add(time).unwrap_or(from + FAR)
}

/// The time until then, as the next step of an exchange may take it that must be over
/// by then as a whole.
///
/// # Errors
/// `TimedOut` if there is none left.
pub fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// The time of day, for time stamps.
#[allow(clippy::disallowed_methods)] // The edge that the ban points to.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Microseconds since 1970, for names and time stamps that people read.
#[allow(clippy::disallowed_methods)] // The edge that the ban points to.
pub fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is a broken machine; 0 is as good as any answer.
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

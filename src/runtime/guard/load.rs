//! How busy this process is, and this thread.

use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

use super::WATCH;

/// Compares the time that the process has computed with what it had at the last look.
#[derive(Default)]
pub(super) struct BusyMeter {
    last: Duration,
}

impl BusyMeter {
    /// True if all threads together have computed for half of [`WATCH`] or more since this was
    /// last asked. To be asked once in each.
    pub(super) fn is_busy(&mut self) -> bool {
        let now = time_of(ClockId::ProcessCPUTime);
        let before = std::mem::replace(&mut self.last, now);
        now.saturating_sub(before) >= WATCH / 2
    }
}

/// For how long this thread has computed. Where others keep it from the cores, that is less than
/// what has passed.
pub(super) fn computed() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    // It is never negative.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

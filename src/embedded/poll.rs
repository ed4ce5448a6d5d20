//! Waits for files and processes by polling.

use std::time::{Duration, Instant};

use crate::clock;

/// A wait with a limit that begins when the value is made.
pub(super) struct Poll {
    begin: Instant,
    limit: Duration,
}

impl Poll {
    pub(super) fn new(limit: Duration) -> Poll {
        Poll { begin: clock::now(), limit }
    }

    /// Asks until there is an answer; `None` when the limit has passed.
    pub(super) fn until<T>(&mut self, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(answer) = ask() {
                return Some(answer);
            }
            if self.elapsed() >= self.limit {
                return None;
            }
            pause(BETWEEN_QUESTIONS);
        }
    }

    /// Waits a moment before another attempt; false when the limit has passed.
    pub(super) fn pause(&mut self) -> bool {
        pause(BETWEEN_ATTEMPTS);
        self.elapsed() < self.limit
    }

    pub(super) fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.begin)
    }
}

/// Short beside a server's start (about 0.1 s), long beside a file's read.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(10);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// A file has no channel to wait on, so it is asked again after a moment.
fn pause(moment: Duration) {
    // It only ever times out.
    let _ = crossbeam_channel::never::<()>().recv_timeout(moment);
}

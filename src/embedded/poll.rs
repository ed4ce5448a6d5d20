//! Waiting for what only files and processes can tell.

use std::time::{Duration, Instant};

/// A wait with a limit that begins when the value is made.
pub(super) struct Poll {
    begin: Instant,
    limit: Duration,
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place of the embedded server that reads the clock and sleeps"
)]
impl Poll {
    pub(super) fn new(limit: Duration) -> Poll {
        Poll { begin: Instant::now(), limit }
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
            std::thread::sleep(BETWEEN_QUESTIONS);
        }
    }

    /// Waits a moment before another attempt; false when the limit has passed.
    pub(super) fn pause(&mut self) -> bool {
        std::thread::sleep(BETWEEN_ATTEMPTS);
        self.elapsed() < self.limit
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }
}

/// Short beside a server's start (about 0.1 s), long beside a file's read.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(10);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

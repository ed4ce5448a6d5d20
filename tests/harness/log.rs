//! What the binary writes while it serves.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{now, PATIENCE};

/// What the binary wrote so far.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<String>>, Condvar)>, Arc<(Mutex<bool>, Condvar)>);

impl Log {
    pub fn follow(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        #[allow(clippy::disallowed_methods)]
        // A test's own reader, ended by the end of the stream.
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            while let Some(line) = {
                let (stands, changed) = &*log.1;
                drop(changed.wait_while(stands.lock().unwrap(), |stands| *stands).unwrap());
                lines.next()
            } {
                log.0 .0.lock().unwrap().push(line);
                log.0 .1.notify_all();
            }
        });
    }

    /// The reader stands still, or reads on. It may take one line more than it should.
    pub fn stand_still(&self, stands: bool) {
        *self.1 .0.lock().unwrap() = stands;
        self.1 .1.notify_all();
    }

    /// Waits for a line that holds `part`.
    pub fn wait_for(&self, part: &str) -> String {
        let mut lines = self.0 .0.lock().unwrap();
        let until = now() + PATIENCE;
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(now());
            assert!(!left.is_zero(), "no {part:?} in the log:\n{}", lines.join("\n"));
            lines = self.0 .1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        // A wait that failed has poisoned it, and its test wants to show the log.
        let lines = self.0 .0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }
}

//! Messages that arrive while no answer is awaited.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use super::{Conversation, Gone};
use crate::backend::listen::Heard;
use crate::clock;

/// Most reads for unsolicited messages: 1 MiB in all.
const LOOKS: usize = 64;

impl Conversation {
    /// True if the session looks unchanged without a round trip. No answer may be awaited.
    /// Notices, notifications and settings may have arrived; `at_rest`, unlike for a leased
    /// session, they must be complete and come to a stop.
    pub fn is_quiet(&mut self, at_rest: bool) -> bool {
        if self.is_gone() {
            return false;
        }
        for _ in 0..LOOKS {
            match self.arrived() {
                Ok(true) => {
                    // Most likely PostgreSQL's reason for closing.
                    let _ = self.take();
                    self.break_off();
                    return false;
                }
                Err(Gone) => return false,
                Ok(false) => {}
            }
            match self.read_ahead() {
                Ok(true) => {}
                // The rest of an unsolicited partial message would be read as part of the
                // next answer.
                Ok(false) if self.reader.is_empty() || !at_rest => return true,
                Ok(false) | Err(_) => {
                    self.break_off();
                    return false;
                }
            }
        }
        if at_rest {
            // A server that keeps sending is not idle.
            self.break_off();
        }
        !at_rest
    }

    /// True if nothing has come that was not taken. Does not block.
    pub fn is_silent(&mut self) -> bool {
        !self.is_gone() && self.reader.is_empty() && self.stream.socket().is_silent()
    }

    /// Waits for a notification or a nudge, for `limit` at most.
    ///
    /// # Errors
    /// The stream is gone, or an unsolicited message arrived.
    pub fn hear_one(&mut self, limit: Duration) -> Result<Heard, Gone> {
        let until = clock::now() + limit;
        let Ok(bell) = self.watch.bell() else { return Err(self.break_off()) };
        loop {
            if self.watch.take_nudge() {
                return Ok(Heard::Nudge);
            }
            if let Some(next) = self.notifications.pop_front() {
                return Ok(Heard::Notification(next));
            }
            self.bounds.took_notifications();
            if self.arrived()? {
                let _ = self.take();
                return Err(self.break_off());
            }
            if !self.notifications.is_empty() {
                continue;
            }
            match self.read_ahead() {
                Ok(true) => {
                    self.count()?;
                    continue;
                }
                Ok(false) => {}
                Err(_) => return Err(self.break_off()),
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(Heard::Nothing);
            }
            let polled = self.stream.socket().poll(false, Some(bell.as_fd()), Some(left));
            if polled.is_err_and(|error| error.kind() != io::ErrorKind::TimedOut) {
                return Err(self.break_off());
            }
        }
    }
}

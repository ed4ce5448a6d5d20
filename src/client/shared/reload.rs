//! The files of TLS, which are looked at now and then.

use std::time::Instant;

use super::Shared;
use crate::client::error::ConfigError;
use crate::client::lineup::Reason;

impl Shared {
    /// Reads the files of TLS again, and replaces connections if they hold something new.
    pub(in crate::client) fn reload(&self, now: Instant) -> Result<bool, ConfigError> {
        let reloaded = self.dialer.reload();
        match &reloaded {
            Ok(false) => {}
            Ok(true) => {
                let duty = self.lock().renew(Reason::Tls);
                self.act(duty);
                self.reporter.reloaded();
                self.bell.ring();
            }
            Err(error) => self.reporter.not_reloaded(&error.to_string(), now),
        }
        reloaded
    }

    /// Does so if it is time. Returns when it is next.
    pub(super) fn reload_in_time(&self, now: Instant) -> Option<Instant> {
        let pause = self.config().tls.reload.filter(|_| !self.is_closed())?;
        let mut at = self.reload_at.lock();
        let is_due = *at <= now;
        if is_due {
            *at = now + pause;
        }
        let next = *at;
        drop(at);
        if is_due {
            // It was told; the old files stay in use.
            drop(self.reload(now));
        }
        Some(next)
    }
}

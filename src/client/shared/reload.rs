//! What is looked at now and then: the files of TLS, and who keeps connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use crate::client::channel::Link;
use crate::client::error::{ConfigError, Holder};
use crate::client::lineup::{Reason, View};

/// Loans that are too long are looked for no more often.
const LOOK: Duration = Duration::from_secs(1);

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

    /// Tells of connections that are lent for too long, each once. Returns when it looks next:
    /// nobody rings for a loan, so that a checkout stays cheap.
    pub(super) fn find_leaks(&self, views: &[View<Arc<Link>>], now: Instant) -> Option<Instant> {
        let longest = self.config().pool.leak_warning?;
        let mut next = (!self.is_closed()).then(|| now + longest.max(LOOK));
        let mut found = BTreeSet::new();
        for view in views {
            let Some(loan) = view.loan else { continue };
            let held = now.saturating_duration_since(loan.since);
            if held < longest {
                let due = loan.since + longest;
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            found.insert((view.slot, loan.since));
            let is_known = self.leaks.lock().contains(&(view.slot, loan.since));
            if let Some(at) = loan.at.filter(|_| !is_known) {
                self.reporter.leak(&Holder { at, held });
            }
        }
        *self.leaks.lock() = found;
        next
    }
}

//! A name among the addresses of a service, and when it is looked up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{LookedUp, Times};
use crate::client::endpoint::Endpoint;
use crate::client::lineup::{Down, Pauses};
use crate::core::backoff;

/// A name is looked up again so soon at the earliest, however many connections fail.
const AGAIN: Duration = Duration::from_secs(5);
/// Each pause after a look-up that failed is so much longer than the one before.
const FACTOR: f64 = 1.6;

/// A name among the addresses.
#[derive(Debug)]
pub(super) struct HostName {
    pub(super) origin: usize,
    pub(super) endpoint: Endpoint,
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Since when an answer is waited for.
    pub(super) asked: Option<Instant>,
    /// When it is looked up next.
    pub(super) due: Option<Instant>,
    /// When the last look-up ended.
    pub(super) looked: Option<Instant>,
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) failed: Option<Down>,
    /// What it stands for; `None`: that was never known.
    pub(super) addresses: Option<Vec<SocketAddr>>,
}

impl HostName {
    /// `None` if it is no name.
    pub(super) fn new(
        origin: usize,
        endpoint: &Endpoint,
        secure: bool,
        now: Instant,
    ) -> Option<HostName> {
        let (host, port) = endpoint.name()?;
        Some(HostName {
            origin,
            endpoint: endpoint.clone(),
            secure,
            host: host.to_owned(),
            port,
            asked: None,
            due: Some(now),
            looked: None,
            failures: 0,
            failed: None,
            addresses: None,
        })
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.asked.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// True if that is news.
    pub(super) fn answered(
        &mut self,
        addresses: &[SocketAddr],
        refresh: Option<Duration>,
        now: Instant,
    ) -> bool {
        (self.asked, self.looked) = (None, Some(now));
        (self.failures, self.failed) = (0, None);
        self.due = refresh.map(|refresh| now + refresh);
        // Servers of names turn the order, which is no news.
        let is_same = self.addresses.as_ref().is_some_and(|known| {
            known.len() == addresses.len() && addresses.iter().all(|one| known.contains(one))
        });
        if !is_same {
            self.addresses = Some(addresses.to_vec());
        }
        !is_same
    }

    pub(super) fn failed(
        &mut self,
        error: String,
        times: Times,
        chance: u64,
        now: Instant,
    ) -> LookedUp {
        (self.asked, self.looked) = (None, Some(now));
        let Pauses { min, max } = times.pauses;
        self.due = match self.addresses {
            Some(_) => times.refresh.map(|refresh| now + refresh.min(AGAIN)),
            None => {
                let jitter = 0.2 * (chance % 1024) as f64 / 1024.0;
                Some(now + backoff::delay(self.failures, min, max, FACTOR, jitter))
            }
        };
        self.failures = self.failures.saturating_add(1);
        let since = self.failed.as_ref().map_or(now, |down| down.since);
        let shown = format!("{} cannot be resolved: {error}", self.host);
        self.failed = Some(Down { error: shown, since });
        LookedUp::Failed { host: self.host.clone(), error }
    }

    /// A connection has failed: perhaps it stands for something else by now.
    pub(super) fn doubt(&mut self, now: Instant) {
        if let Some(looked) = self.looked.filter(|_| self.addresses.is_some()) {
            let soon = now.max(looked + AGAIN);
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
    }
}

//! What the addresses of a service stand for, and when its names are looked up.
//!
//! Architecture Invariant: pure. Who looks up is told by an [`Inquiry`], and says what was found.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::destination::Destination;
use super::endpoint::Endpoint;
use super::lineup::{Down, LookUps, Pauses, Site};
use crate::core::backoff;

/// Addresses that one name may stand for. More would cost each decision of the pool time, and a
/// pool has at most 1000 connections.
const MOST: usize = 256;
/// Look-ups of one service at the same time, those included that take too long.
const RUNNING: usize = 4;
/// A name is looked up again so soon at the earliest, however many connections fail.
const AGAIN: Duration = Duration::from_secs(5);
/// Each pause after a look-up that failed is so much longer than the one before.
const FACTOR: f64 = 1.6;

/// When names are looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// So often.
    pub(super) refresh: Option<Duration>,
    /// One look-up takes at most so long.
    pub(super) limit: Duration,
    /// Between look-ups that fail, before the first that does not.
    pub(super) pauses: Pauses,
}

/// A name to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inquiry {
    /// The number of the name, which comes with the answer.
    pub(super) name: usize,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What a look-up has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookedUp {
    /// A host stands for so many addresses now.
    Moved { host: String, addresses: usize },
    /// It is not known what a host stands for; what was known before still holds.
    Failed { host: String, error: String },
    /// Nothing.
    Same,
}

/// The addresses of a service.
#[derive(Debug)]
pub(super) struct Directory {
    times: Times,
    names: Vec<HostName>,
    /// What channels connect to.
    known: Vec<Arc<Destination>>,
    next: usize,
    running: usize,
    /// Puts them into an order of this process's own.
    seed: u64,
}

/// A name among the addresses.
#[derive(Debug)]
struct HostName {
    endpoint: usize,
    host: String,
    port: u16,
    /// Since when an answer is waited for.
    asked: Option<Instant>,
    /// When it is looked up next.
    due: Option<Instant>,
    /// When the last look-up ended.
    looked: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    failed: Option<Down>,
    /// What it stands for; `None`: that was never known.
    addresses: Option<Vec<SocketAddr>>,
}

impl Directory {
    /// Names are looked up at once, unless they are left to a proxy.
    pub(super) fn new<'a>(
        endpoints: impl Iterator<Item = &'a Endpoint>,
        resolves: bool,
        times: Times,
        seed: u64,
        now: Instant,
    ) -> Directory {
        let (mut names, mut known, mut next) = (Vec::new(), Vec::new(), 0);
        for (index, endpoint) in endpoints.enumerate() {
            match endpoint.name().filter(|_| resolves) {
                Some((host, port)) => names.push(HostName::new(index, host, port, now)),
                None => {
                    known.push(Arc::new(Destination::literal(next, index, endpoint)));
                    next += 1;
                }
            }
        }
        Directory { times, names, known, next, running: 0, seed }
    }

    /// The look-ups that begin now.
    pub(super) fn begin(&mut self, now: Instant) -> Vec<Inquiry> {
        let mut begun = Vec::new();
        for (number, name) in self.names.iter_mut().enumerate() {
            if self.running < RUNNING && name.is_due(now) {
                self.running += 1;
                name.asked = Some(now);
                let (host, port) = (name.host.clone(), name.port);
                begun.push(Inquiry { name: number, host, port });
            }
        }
        begun
    }

    /// Takes in an answer. `chance` is any number, and lengthens pauses.
    pub(super) fn found(
        &mut self,
        name: usize,
        said: Result<Vec<SocketAddr>, String>,
        chance: u64,
        now: Instant,
    ) -> LookedUp {
        self.running = self.running.saturating_sub(1);
        let said = said.and_then(|addresses| match distinct(addresses) {
            addresses if addresses.is_empty() => Err("it has no addresses".to_owned()),
            addresses => Ok(addresses),
        });
        let Some(one) = self.names.get_mut(name) else {
            return LookedUp::Same;
        };
        match said {
            Ok(addresses) if one.answered(&addresses, self.times.refresh, now) => {
                let (host, count) = (one.host.clone(), addresses.len());
                self.settle(name);
                LookedUp::Moved { host, addresses: count }
            }
            Ok(_) => LookedUp::Same,
            Err(error) => one.failed(error, self.times, chance, now),
        }
    }

    /// Gives up look-ups that take too long; their answers are welcome when they come.
    pub(super) fn expire(&mut self, chance: u64, now: Instant) -> Vec<LookedUp> {
        let times = self.times;
        let late = self.names.iter_mut().filter(|name| {
            name.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= times.limit)
        });
        let error = format!("no answer within {} s", times.limit.as_secs_f64());
        late.map(|name| name.failed(error.clone(), times, chance, now)).collect()
    }

    /// A connection has failed: perhaps its name stands for something else by now.
    pub(super) fn doubt(&mut self, endpoint: usize, now: Instant) {
        for name in self.names.iter_mut().filter(|name| name.endpoint == endpoint) {
            if let Some(looked) = name.looked.filter(|_| name.addresses.is_some()) {
                let soon = now.max(looked + AGAIN);
                name.due = Some(name.due.map_or(soon, |due| due.min(soon)));
            }
        }
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = |name: &HostName| match name.asked {
            Some(asked) => Some(asked + self.times.limit),
            None => name.due.filter(|_| self.running < RUNNING),
        };
        self.names.iter().filter_map(next).min()
    }

    /// How far the look-ups are.
    pub(super) fn look_ups(&self) -> LookUps {
        let is_pending = |name: &HostName| name.addresses.is_none() && name.failed.is_none();
        let failed = self.names.iter().filter(|name| name.addresses.is_none());
        LookUps {
            pending: self.names.iter().any(is_pending),
            down: failed.filter_map(|name| name.failed.clone()).next(),
        }
    }

    /// All that channels may connect to, in an order of this process's own.
    pub(super) fn sites(&self) -> Vec<Site> {
        let site = |one: &Arc<Destination>| {
            let first = self.known.iter().find(|other| other.endpoint == one.endpoint);
            let is_v6 = |of: &Destination| of.at.is_some_and(|at| at.is_ipv6());
            let second = first.is_some_and(|first| is_v6(first) != is_v6(one));
            Site { number: one.number, name: one.endpoint, second }
        };
        let mut sites: Vec<Site> = self.known.iter().map(site).collect();
        sites.sort_by_cached_key(|site| mixed(self.seed ^ site.number as u64));
        sites
    }

    /// What channels with this number connect to.
    pub(super) fn destination(&self, number: usize) -> Option<Arc<Destination>> {
        self.known.iter().find(|one| one.number == number).cloned()
    }

    /// Has what a name stands for among the known, those that were there by their numbers.
    fn settle(&mut self, name: usize) {
        let HostName { endpoint, host, addresses, .. } = &self.names[name];
        let (mine, mut known): (Vec<_>, Vec<_>) =
            self.known.drain(..).partition(|one| one.endpoint == *endpoint);
        for at in addresses.iter().flatten() {
            let same = mine.iter().find(|one| one.at == Some(*at)).cloned();
            known.push(same.unwrap_or_else(|| {
                self.next += 1;
                Arc::new(Destination::resolved(self.next - 1, *endpoint, host, *at))
            }));
        }
        self.known = known;
    }
}

impl HostName {
    fn new(endpoint: usize, host: &str, port: u16, now: Instant) -> HostName {
        HostName {
            endpoint,
            host: host.to_owned(),
            port,
            asked: None,
            due: Some(now),
            looked: None,
            failures: 0,
            failed: None,
            addresses: None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.asked.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// True if that is news.
    fn answered(
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

    fn failed(&mut self, error: String, times: Times, chance: u64, now: Instant) -> LookedUp {
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
}

/// Each once, in their order, at most [`MOST`].
fn distinct(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut kept = Vec::new();
    for address in addresses {
        if kept.len() < MOST && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

/// Spreads numbers that are close to each other.
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

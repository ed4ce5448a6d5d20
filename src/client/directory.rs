//! What the addresses of a service stand for, and when its names are looked up.
//!
//! Architecture Invariant: pure. Who looks up is told by an [`Inquiry`], and says what was found.

mod host_name;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::destination::Destination;
use super::endpoint::Endpoint;
use super::lineup::{LookUps, Pauses, Site};
use host_name::HostName;

/// Addresses that one name may stand for. More would cost each decision of the pool time, and a
/// pool has at most 1000 connections.
const MOST: usize = 256;
/// Look-ups of one service at the same time, those included that take too long.
const RUNNING: usize = 4;

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
    /// The addresses of the settings; true: with TLS.
    endpoints: Vec<(Endpoint, bool)>,
    names: Vec<HostName>,
    /// What channels connect to.
    known: Vec<Arc<Destination>>,
    /// The next number of a destination, and of an address of the settings.
    next: usize,
    next_origin: usize,
    /// Names are looked up here, and not by a proxy.
    resolves: bool,
    running: usize,
    /// Puts them into an order of this process's own.
    seed: u64,
}

impl Directory {
    /// Names are looked up at once, unless they are left to a proxy.
    pub(super) fn new(
        endpoints: &[(Endpoint, bool)],
        resolves: bool,
        times: Times,
        seed: u64,
        now: Instant,
    ) -> Directory {
        let mut directory = Directory {
            times,
            endpoints: Vec::new(),
            names: Vec::new(),
            known: Vec::new(),
            next: 0,
            next_origin: 0,
            resolves,
            running: 0,
            seed,
        };
        directory.replace(endpoints, now);
        directory
    }

    /// Goes on by other times, and looks names up at once if they are to be at other times.
    /// `resolves`: names are looked up here; if that changes, nothing is known any more, and what
    /// the addresses are is to be said anew.
    pub(super) fn adjust(&mut self, times: Times, resolves: bool, now: Instant) {
        if self.times.refresh != times.refresh {
            for name in &mut self.names {
                name.due =
                    times.refresh.map(|_| now).or(name.due.filter(|_| name.addresses.is_none()));
            }
        }
        if self.resolves != resolves {
            (self.names, self.known) = (Vec::new(), Vec::new());
        }
        (self.times, self.resolves) = (times, resolves);
    }

    /// These are the addresses from now on. What is known of those that stay is kept.
    pub(super) fn replace(&mut self, endpoints: &[(Endpoint, bool)], now: Instant) {
        let (mut names, known) = (std::mem::take(&mut self.names), std::mem::take(&mut self.known));
        for (endpoint, secure) in endpoints {
            let is_it = |other: &Endpoint, with: bool| other == endpoint && with == *secure;
            let mine = known.iter().filter(|one| is_it(&one.endpoint, one.secure));
            self.known.extend(mine.cloned());
            let name = names.iter().position(|name| is_it(&name.endpoint, name.secure));
            if let Some(place) = name {
                self.names.push(names.swap_remove(place));
            } else if !self.known.iter().any(|one| is_it(&one.endpoint, one.secure)) {
                self.add(endpoint, *secure, now);
            }
        }
        self.endpoints = endpoints.to_vec();
    }

    fn add(&mut self, endpoint: &Endpoint, secure: bool, now: Instant) {
        let origin = self.next_origin;
        self.next_origin += 1;
        match endpoint.name().filter(|_| self.resolves) {
            Some(_) => self.names.extend(HostName::new(origin, endpoint, secure, now)),
            None => {
                let one = Destination::new(self.next, origin, (endpoint, secure), None);
                self.known.push(Arc::new(one));
                self.next += 1;
            }
        }
    }

    /// The addresses of the settings.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// The same; true: with TLS.
    pub(super) fn addresses(&self) -> Vec<(Endpoint, bool)> {
        self.endpoints.clone()
    }

    /// Whether there may be several to connect to.
    pub(super) fn has_several(&self) -> bool {
        self.known.len() > 1 || !self.names.is_empty()
    }

    /// The look-ups that begin now.
    pub(super) fn begin(&mut self, now: Instant) -> Vec<Inquiry> {
        let mut begun = Vec::new();
        for name in &mut self.names {
            if self.running < RUNNING && name.is_due(now) {
                self.running += 1;
                name.asked = Some(now);
                let (host, port) = (name.host.clone(), name.port);
                begun.push(Inquiry { name: name.origin, host, port });
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
        // It may be none of the addresses any more.
        let Some(one) = self.names.iter_mut().find(|one| one.origin == name) else {
            return LookedUp::Same;
        };
        match said {
            Ok(addresses) if one.answered(&addresses, self.times.refresh, now) => {
                let (host, count) = (one.host.clone(), addresses.len());
                self.settle(name, &addresses);
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
    pub(super) fn doubt(&mut self, origin: usize, now: Instant) {
        for name in self.names.iter_mut().filter(|name| name.origin == origin) {
            name.doubt(now);
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
            let first = self.known.iter().find(|other| other.origin == one.origin);
            let is_v6 = |of: &Destination| of.at.is_some_and(|at| at.is_ipv6());
            let second = first.is_some_and(|first| is_v6(first) != is_v6(one));
            Site { number: one.number, name: one.origin, second }
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
    fn settle(&mut self, origin: usize, addresses: &[SocketAddr]) {
        let Some(name) = self.names.iter().find(|name| name.origin == origin) else {
            return;
        };
        let (mine, mut known): (Vec<_>, Vec<_>) =
            self.known.drain(..).partition(|one| one.origin == origin);
        for at in addresses {
            let same = mine.iter().find(|one| one.at == Some(*at)).cloned();
            known.push(same.unwrap_or_else(|| {
                self.next += 1;
                let of = (&name.endpoint, name.secure);
                Arc::new(Destination::new(self.next - 1, origin, of, Some(*at)))
            }));
        }
        self.known = known;
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

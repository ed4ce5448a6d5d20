//! A breaker for each method of a service.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::config::BreakerConfig;
use crate::clock;
use crate::core::breaker::{Breaker, Settings, Ticket, Verdict};
use crate::lock::Leaf;

/// The methods of one service that have a breaker; more are not guarded.
const METHODS_MAX: usize = 1000;
/// Pauses between probes do not grow.
const STEADY: Duration = Duration::MAX;

/// The breakers of a service, by method.
pub(super) struct Breakers {
    settings: Option<Settings>,
    known: Leaf<HashMap<String, Breaker>>,
}

/// The right to make one call. Dropped without a verdict it says nothing of the service.
pub(super) struct Pass<'a> {
    breakers: &'a Breakers,
    method: &'a str,
    ticket: Option<Ticket>,
}

impl Breakers {
    pub(super) fn new(config: Option<&BreakerConfig>) -> Breakers {
        let settings = config.map(|config| Settings {
            failures: config.failures,
            successes: config.successes,
            probe_every: config.timeout,
            steady: STEADY,
            probe_max: config.timeout,
        });
        Breakers { settings, known: Leaf::default() }
    }

    /// Lets a call pass, or says how long it is until the next probe.
    pub(super) fn enter<'a>(&'a self, method: &'a str, now: Instant) -> Result<Pass<'a>, Duration> {
        let ticket = match self.settings {
            None => None,
            Some(settings) => {
                let mut known = self.known.lock();
                if !known.contains_key(method) && known.len() < METHODS_MAX {
                    known.insert(method.to_owned(), Breaker::new(settings));
                }
                match known.get_mut(method) {
                    None => None,
                    Some(breaker) => match breaker.try_open().or_else(|| breaker.try_probe(now)) {
                        Some(ticket) => Some(ticket),
                        None => {
                            let next = breaker.next_probe().unwrap_or(now);
                            return Err(next.saturating_duration_since(now));
                        }
                    },
                }
            }
        };
        Ok(Pass { breakers: self, method, ticket })
    }
}

impl Pass<'_> {
    /// Says what came of the call.
    pub(super) fn settle(mut self, verdict: Verdict) {
        self.end(verdict);
    }

    fn end(&mut self, verdict: Verdict) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        if let Some(breaker) = self.breakers.known.lock().get_mut(self.method) {
            // Whether that has opened or closed it shows with the next call.
            let _ = breaker.settle(ticket, verdict, clock::now(), 0.0);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.end(Verdict::Neither);
    }
}

//! A breaker for each method of a service.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::BreakerConfig;
use crate::clock;
use crate::core::breaker::{
    Breaker, BreakerPhase, BreakerSettings, BreakerTicket, PhaseChange, Verdict,
};
use crate::lock::Leaf;

/// The methods of one service that have a breaker; more are not guarded.
const METHODS_MAX: usize = 1000;
/// Pauses between probes do not grow.
const STEADY: Duration = Duration::MAX;

/// The breakers of a service, by method.
#[derive(Default)]
pub(super) struct Breakers {
    known: Leaf<HashMap<String, Breaker>>,
}

/// The right to make one call. Dropped without a verdict it says nothing of the service.
pub(super) struct Pass {
    breakers: Arc<Breakers>,
    method: Arc<str>,
    ticket: Option<BreakerTicket>,
}

fn settings(config: &BreakerConfig) -> BreakerSettings {
    BreakerSettings {
        failures: config.failures,
        successes: config.successes,
        probe_every: config.timeout,
        steady: STEADY,
        probe_max: config.timeout,
    }
}

impl Breakers {
    /// Lets a call pass, or says how long it is until the next probe. Without settings all pass.
    pub(super) fn enter(
        self: &Arc<Self>,
        method: &Arc<str>,
        config: Option<&BreakerConfig>,
        now: Instant,
    ) -> Result<Pass, Duration> {
        let ticket = match config {
            None => None,
            Some(config) => {
                let mut known = self.known.lock();
                if !known.contains_key(&**method) && known.len() < METHODS_MAX {
                    known.insert(method.to_string(), Breaker::new(settings(config)));
                }
                match known.get_mut(&**method) {
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
        Ok(Pass { breakers: Arc::clone(self), method: Arc::clone(method), ticket })
    }

    /// The service can be reached again: each breaker that is not closed lets its next probe through
    /// now, and calls that were begun before count no more.
    pub(super) fn renew(&self, now: Instant) {
        self.known.lock().values_mut().for_each(|breaker| breaker.renew(now));
    }

    /// The methods that have been called, with what metrics say of their breakers: 0 closed,
    /// 1 open, 2 half-open, which one is while a probe is out too.
    pub(super) fn states(&self) -> Vec<(String, u8)> {
        let number = |breaker: &Breaker| match breaker.phase() {
            BreakerPhase::Closed => 0,
            BreakerPhase::Open if breaker.next_probe().is_some() => 1,
            BreakerPhase::Open | BreakerPhase::HalfOpen => 2,
        };
        let known = self.known.lock();
        known.iter().map(|(method, breaker)| (method.clone(), number(breaker))).collect()
    }
}

impl Pass {
    /// Says what came of the call. Returns whether that has opened or closed the breaker.
    pub(super) fn settle(mut self, verdict: Verdict) -> Option<PhaseChange> {
        self.end(verdict)
    }

    fn end(&mut self, verdict: Verdict) -> Option<PhaseChange> {
        let ticket = self.ticket.take()?;
        let mut known = self.breakers.known.lock();
        known.get_mut(&*self.method)?.settle(ticket, verdict, clock::now(), 0.0)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // What says nothing changes nothing.
        let _ = self.end(Verdict::Neither);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    #[test]
    fn when_the_service_is_back_one_probe_of_each_method_passes_at_once() {
        let (t0, breakers) = (start(), Arc::new(Breakers::default()));
        let config = BreakerConfig { failures: 1, successes: 1, ..BreakerConfig::default() };
        let enter = |method: &str, at| breakers.enter(&method.into(), Some(&config), at);
        for method in ["/shop.Users/Get", "/shop.Users/List"] {
            enter(method, t0).ok().unwrap().settle(Verdict::Bad);
            assert!(enter(method, t0 + ms(1)).is_err());
        }
        // Its failure comes after the return.
        let late = enter("/shop.Users/Put", t0).ok().unwrap();
        breakers.renew(t0 + ms(2));
        assert_eq!(late.settle(Verdict::Bad), None);
        for method in ["/shop.Users/Get", "/shop.Users/List"] {
            let probe = enter(method, t0 + ms(2)).ok().unwrap();
            assert!(enter(method, t0 + ms(2)).is_err(), "one at a time");
            assert_eq!(probe.settle(Verdict::Good), Some(PhaseChange::Closed));
            assert!(enter(method, t0 + ms(2)).is_ok());
        }
        assert!(breakers.states().iter().all(|(_, state)| *state == 0));
    }

    #[test]
    fn so_many_methods_have_a_breaker_and_more_are_not_guarded() {
        let (t0, breakers) = (start(), Arc::new(Breakers::default()));
        let config = BreakerConfig { failures: 1, ..BreakerConfig::default() };
        let fail = |number: usize| {
            let method: Arc<str> = format!("/shop.Users/{number}").into();
            let pass = breakers.enter(&method, Some(&config), t0).ok().unwrap();
            pass.settle(Verdict::Bad);
            breakers.enter(&method, Some(&config), t0 + ms(1)).is_err()
        };
        assert!((0..METHODS_MAX).all(fail), "each has opened");
        assert!(!fail(METHODS_MAX) && !fail(METHODS_MAX + 1));
        assert_eq!(breakers.states().len(), METHODS_MAX);
    }
}

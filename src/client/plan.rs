//! What holds for one call, of all that was said.

use std::time::{Duration, Instant};

use super::config::{BreakerConfig, Hedge, RetryConfig, ServiceConfig};
use super::deadline;
use super::options::CallOptions;

/// The settings of one call: its options win over its method's policy, and that over the
/// service's settings.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Of the whole call.
    pub deadline: Option<Instant>,
    pub attempt_timeout: Option<Duration>,
    pub idempotent: bool,
    pub wait_for_ready: bool,
    pub retry: Option<RetryConfig>,
    /// There is no retry beside it.
    pub hedge: Option<Hedge>,
    pub breaker: Option<BreakerConfig>,
}

impl Plan {
    pub(super) fn of(
        config: &ServiceConfig,
        method: &str,
        options: &CallOptions,
        now: Instant,
    ) -> Plan {
        let policy = config.methods.find(method);
        let of_policy =
            |get: fn(&super::config::MethodPolicy) -> Option<Duration>| policy.and_then(get);
        let timeout = options.timeout.or(of_policy(|policy| policy.timeout));
        let timeout = timeout.or(config.call.timeout);
        // What is too far away for the clock is no limit.
        let own = options.deadline.or(timeout.and_then(|timeout| now.checked_add(timeout)));
        let attempt_timeout =
            options.attempt_timeout.or(of_policy(|policy| policy.attempt_timeout));
        let idempotent = options.idempotent || policy.is_some_and(|policy| policy.idempotent);
        let retry = options.retry.as_ref();
        let retry = retry.or(policy.and_then(|policy| policy.retry.as_ref()));
        let breaker = policy.and_then(|policy| policy.breaker.as_ref());
        let hedge = options.hedge.or(policy.and_then(|policy| policy.hedge));
        Plan {
            deadline: deadline::within(own),
            attempt_timeout: attempt_timeout.or(config.call.attempt_timeout),
            idempotent,
            wait_for_ready: options.wait_for_ready || config.call.wait_for_ready,
            retry: retry.or(config.retry.as_ref()).cloned(),
            hedge: hedge.or(config.hedge).filter(|_| idempotent),
            breaker: breaker.or(config.breaker.as_ref()).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::MethodPolicy;
    use super::*;
    use crate::core::testing::{ms, start};

    const GET: &str = "/shop.Users/Get";

    #[test]
    fn a_call_wins_over_its_method_and_that_over_the_service() {
        let t0 = start();
        let mut config = ServiceConfig::test("localhost", 1);
        let plan =
            |config: &ServiceConfig, options: &CallOptions| Plan::of(config, GET, options, t0);
        let none = CallOptions::new();
        assert_eq!(plan(&config, &none).deadline, Some(t0 + ms(30_000)));
        assert!(!plan(&config, &none).idempotent && plan(&config, &none).retry.is_some());

        let once = RetryConfig { max_attempts: 1, ..RetryConfig::default() };
        let policy = MethodPolicy::new().idempotent().timeout(ms(500)).attempt_timeout(ms(50));
        config.methods.set("/shop.Users/*", policy.retry(once.clone()));
        let by_method = plan(&config, &none);
        assert_eq!((by_method.deadline, by_method.idempotent), (Some(t0 + ms(500)), true));
        assert_eq!((by_method.attempt_timeout, by_method.retry), (Some(ms(50)), Some(once)));

        let own = none.timeout(ms(7)).attempt_timeout(ms(3));
        assert_eq!(plan(&config, &own).deadline, Some(t0 + ms(7)));
        assert_eq!(plan(&config, &own).attempt_timeout, Some(ms(3)));
        assert_eq!(plan(&config, &own.clone().deadline(t0 + ms(9))).deadline, Some(t0 + ms(9)));
        let scoped = deadline::scope(t0 + ms(2), || plan(&config, &own));
        assert_eq!(scoped.deadline, Some(t0 + ms(2)));
    }

    #[test]
    fn only_what_is_idempotent_is_hedged() {
        let t0 = start();
        let config = ServiceConfig::test("localhost", 1);
        let options = CallOptions::new().hedge(Hedge::default());
        assert_eq!(Plan::of(&config, GET, &options, t0).hedge, None);
        let options = options.idempotent();
        assert_eq!(Plan::of(&config, GET, &options, t0).hedge, Some(Hedge::default()));
    }
}

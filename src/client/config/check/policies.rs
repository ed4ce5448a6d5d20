//! The rules of retry, breaker, hedge, and of what differs for some methods.

use super::ConfigFaults;
use crate::client::config::{BreakerConfig, Hedge, MethodPolicy, RetryConfig, ServiceConfig};
use crate::client::error::ConfigError;
use crate::client::outlier::OutlierConfig;

/// Checks the rules that one call has of its own.
///
/// # Errors
/// Everything that is wrong, as for those of a method.
pub(in crate::client) fn check_call(
    retry: Option<&RetryConfig>,
    hedge: Option<&Hedge>,
    is_idempotent: bool,
) -> Result<(), ConfigError> {
    let (mut faults, of) = (ConfigFaults(Vec::new()), "options.");
    if let Some(retry) = retry {
        faults.retry(of, retry);
    }
    if let Some(hedge) = hedge {
        faults.hedge(of, hedge);
        if !is_idempotent {
            faults.add("options.hedge", MUST_BE_IDEMPOTENT);
        }
    }
    match faults.0.is_empty() {
        true => Ok(()),
        false => Err(ConfigError { faults: faults.0 }),
    }
}

/// Of a hedge: several attempts may reach the server.
const MUST_BE_IDEMPOTENT: &str = "must come with idempotent";

impl ConfigFaults {
    pub(super) fn policies(&mut self, config: &ServiceConfig) {
        if let Some(retry) = &config.retry {
            self.retry("", retry);
        }
        if let Some(breaker) = &config.breaker {
            self.breaker("", breaker);
        }
        if let Some(hedge) = &config.hedge {
            self.hedge("", hedge);
        }
        if let Some(outlier) = &config.outlier {
            self.outlier(outlier);
        }
        for (pattern, policy) in config.methods.iter() {
            self.method(pattern, policy);
        }
    }

    fn retry(&mut self, of: &str, retry: &RetryConfig) {
        self.within(&format!("{of}retry.max_attempts"), retry.max_attempts, 1, 10);
        self.time(&format!("{of}retry.initial_backoff"), retry.initial_backoff);
        self.time(&format!("{of}retry.max_backoff"), retry.max_backoff);
        self.within(&format!("{of}retry.multiplier"), retry.multiplier, 1.0, 1000.0);
        self.within(&format!("{of}retry.jitter"), retry.jitter, 0.0, 1.0);
        let budget = retry.budget;
        self.within(&format!("{of}retry.budget.per_call"), budget.per_call, 0.0, 1.0);
        self.within(&format!("{of}retry.budget.per_second"), budget.per_second, 0.0, 10_000.0);
        self.within(&format!("{of}retry.budget.most"), budget.most, 1.0, 10_000.0);
    }

    fn breaker(&mut self, of: &str, breaker: &BreakerConfig) {
        self.within(&format!("{of}breaker.failures"), breaker.failures, 1, 1_000_000);
        self.within(&format!("{of}breaker.successes"), breaker.successes, 1, 1_000_000);
        self.time(&format!("{of}breaker.timeout"), breaker.timeout);
    }

    fn outlier(&mut self, outlier: &OutlierConfig) {
        self.within("outlier.failures", outlier.failures, 1, 1_000_000);
        if let Some(ratio) = outlier.error_ratio {
            self.within("outlier.error_ratio", ratio, 0.01, 1.0);
        }
        self.time("outlier.window", outlier.window);
        self.within("outlier.min_calls", outlier.min_calls, 1, 1_000_000);
        self.time("outlier.ejection_time", outlier.ejection_time);
        self.time("outlier.max_ejection_time", outlier.max_ejection_time);
        if outlier.max_ejection_time < outlier.ejection_time {
            self.add("outlier.max_ejection_time", "must not be less than outlier.ejection_time");
        }
        self.within("outlier.max_ejected", outlier.max_ejected, 0.0, 1.0);
    }

    fn hedge(&mut self, of: &str, hedge: &Hedge) {
        self.within(&format!("{of}hedge.max_attempts"), hedge.max_attempts, 2, 5);
        self.time(&format!("{of}hedge.delay"), hedge.delay);
    }

    fn method(&mut self, pattern: &str, policy: &MethodPolicy) {
        let of = format!("methods.{pattern:?}.");
        if pattern.trim_end_matches('*').contains('*') || !pattern.starts_with(['/', '*']) {
            let rule = "must be /package.Service/Method, or its beginning and a star";
            self.add(&format!("methods.{pattern:?}"), rule);
        }
        for (key, time) in
            [("timeout", policy.timeout), ("attempt_timeout", policy.attempt_timeout)]
        {
            if let Some(time) = time {
                self.time(&format!("{of}{key}"), time);
            }
        }
        if let Some(retry) = &policy.retry {
            self.retry(&of, retry);
        }
        if let Some(breaker) = &policy.breaker {
            self.breaker(&of, breaker);
        }
        if let Some(hedge) = &policy.hedge {
            self.hedge(&of, hedge);
            if !policy.idempotent {
                self.add(&format!("{of}hedge"), MUST_BE_IDEMPOTENT);
            }
        }
    }
}

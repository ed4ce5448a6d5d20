//! Rations repeats, so that they do not add to the load of a service that has too much of it.
//!
//! Architecture Invariant: pure.

use std::time::Instant;

use super::config::BudgetConfig;

/// A bucket of tokens; a repeat takes one.
#[derive(Debug)]
pub(super) struct RetryBudget {
    config: BudgetConfig,
    tokens: f64,
    filled: Instant,
}

impl RetryBudget {
    /// A full one.
    pub(super) fn new(config: BudgetConfig, now: Instant) -> RetryBudget {
        RetryBudget { config, tokens: config.most, filled: now }
    }

    /// Fills and holds as this says from now on.
    pub(super) fn adjust(&mut self, config: BudgetConfig) {
        self.config = config;
        self.tokens = self.tokens.min(config.most);
    }

    /// A call begins.
    pub(super) fn call(&mut self) {
        self.tokens = (self.tokens + self.config.per_call).min(self.config.most);
    }

    /// Takes a token for a repeat, if there is one.
    pub(super) fn repeat(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + seconds * self.config.per_second).min(self.config.most);
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{ms, start};

    #[test]
    fn a_burst_has_a_hundred_and_then_one_in_five_calls_and_ten_a_second() {
        let t0 = start();
        let mut budget = RetryBudget::new(BudgetConfig::default(), t0);
        budget.call();
        assert_eq!((0..200).filter(|_| budget.repeat(t0)).count(), 100);
        for _ in 0..20 {
            budget.call();
        }
        assert_eq!((0..200).filter(|_| budget.repeat(t0 + ms(1))).count(), 4);
        assert_eq!((0..200).filter(|_| budget.repeat(t0 + ms(1001))).count(), 10);
        assert_eq!((0..200).filter(|_| budget.repeat(t0 + ms(900_000))).count(), 100);
    }
}

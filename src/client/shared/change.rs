//! Other settings for a pool that is in use.

use std::sync::Arc;
use std::time::Instant;

use super::{settings, Shared};
use crate::client::config::{Change, ServiceConfig};

impl Shared {
    /// Takes what it can of other settings, which keep all rules.
    pub(in crate::client) fn apply(&self, new: &ServiceConfig, now: Instant) -> Change {
        let old = self.config();
        let change = old.change_to(new);
        let config = &change.config;
        *self.config.lock() = Arc::new(config.clone());
        let mut numbers = settings(config, self.dialer.connect_timeout());
        if old.pool.size == config.pool.size {
            // It may have been resized by hand.
            numbers.size = self.counts().size;
        }
        let duty = self.lock().adjust(numbers, self.dice.roll(), now);
        self.act(duty);
        if old.breaker != config.breaker || old.methods != config.methods {
            // Calls that are under way settle with those that let them pass.
            *self.breakers.lock() = Arc::default();
        }
        if let Some(retry) = &config.retry {
            self.budget.lock().adjust(retry.budget);
        }
        if old.health != config.health {
            self.rounds.lock().adjust(&config.health, now);
        }
        self.reporter.applied(&change.applied, &change.later);
        self.tell_change();
        self.bell.ring();
        change
    }
}

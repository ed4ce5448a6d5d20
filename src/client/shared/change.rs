//! Other settings for a pool that is in use.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use super::{settings, times, Shared};
use crate::client::config::{Checked, ServiceConfig, SettingsChange};
use crate::client::dialer::Ways;
use crate::client::endpoint::Endpoint;
use crate::client::error::ConfigError;
use crate::client::lineup::Reason;
use crate::client::reporter::Wishes;

/// Other settings that were looked at, with all that they name, and are not taken yet.
pub(in crate::client) struct Planned {
    change: SettingsChange,
    ways: Ways,
    endpoints: Vec<(Endpoint, bool)>,
    /// They are others than before; those that the program has set go.
    moves: bool,
}

impl Shared {
    /// Looks at other settings, and reads the files of TLS that they name. Changes nothing.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(in crate::client) fn plan(&self, new: &ServiceConfig) -> Result<Planned, ConfigError> {
        let old = self.config();
        let change = old.change_to(new);
        let config = &change.config;
        let Checked { endpoints, .. } = config.check()?;
        let moves = old.addresses != config.addresses || old.tls.mode != config.tls.mode;
        let endpoints = if moves { endpoints } else { self.directory.lock().addresses() };
        let ways = Ways::new(config, &endpoints)?;
        Ok(Planned { change, ways, endpoints, moves })
    }

    /// Takes what was planned. Connections that were made in other ways are replaced, each as
    /// soon as another one stands.
    pub(in crate::client) fn take(&self, planned: Planned, now: Instant) -> SettingsChange {
        let (old, Planned { change, ways, endpoints, moves }) = (self.config(), planned);
        let config = &change.config;
        *self.config.lock() = Arc::new(config.clone());
        let renews = self.dialer.change(ways);
        let mut numbers = settings(config, self.dialer.connect_timeout());
        let (times, resolves) = times(config, &numbers);
        if old.pool.size == config.pool.size {
            // It may have been resized by hand.
            numbers.size = self.counts().size;
        }
        let duty = self.lock().adjust(numbers, self.dice.roll(), now);
        self.act(duty);
        if renews {
            let duty = self.lock().renew(Reason::Settings);
            self.act(duty);
        }
        self.directory.lock().adjust(times, resolves, now);
        if moves || old.connection.http_proxy != config.connection.http_proxy {
            self.readdress(&endpoints, now);
        }
        self.take_policies(&old, config, now);
        if renews || old.health != config.health {
            self.prober.adjust(&config.health);
            self.listens_anew.store(true, Ordering::Release);
        }
        self.reporter.adjust(&Wishes::from(config));
        self.reporter.applied(&change.applied, &change.later);
        self.tell_change();
        self.bell.ring();
        change
    }

    fn take_policies(&self, old: &ServiceConfig, config: &ServiceConfig, now: Instant) {
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
        if old.tls.reload != config.tls.reload {
            *self.reload_at.lock() = now;
        }
    }

    /// Has these addresses from now on.
    pub(super) fn readdress(&self, endpoints: &[(Endpoint, bool)], now: Instant) {
        let (look_ups, several) = {
            let mut directory = self.directory.lock();
            directory.replace(endpoints, now);
            (directory.look_ups(), directory.has_several())
        };
        self.has_several.store(several, Ordering::Relaxed);
        let duty = self.lock().looked_up(look_ups, now);
        self.act(duty);
        self.take_addresses(now);
        self.bell.ring();
        self.reporter.readdressed(endpoints.len());
    }
}

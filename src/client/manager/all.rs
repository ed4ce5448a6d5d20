//! What is done with all services at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ConnectionManager;
use crate::client::config::Config;
use crate::client::error::{ConfigError, Fault, PoolError};
use crate::client::metrics::ClientMetrics;
use crate::client::pool::{Pool, Ready};
use crate::client::status::ServiceHealth;
use crate::clock;

impl ConnectionManager {
    /// A manager of these services, counted in these metrics. Waits until each has a connection,
    /// at most its `open_timeout`. The file that they were read from, if they were, is looked at
    /// as often as [`Config::reload`] says.
    ///
    /// # Errors
    /// What is wrong with the settings, or the services that have no connection, each with why.
    pub fn open(config: &Config, metrics: ClientMetrics) -> Result<ConnectionManager, PoolError> {
        let wrong = config.services.iter().filter_map(|(name, service)| {
            service.check().err().map(|error| error.of_service(name).faults)
        });
        let faults: Vec<Fault> = wrong.flatten().collect();
        if !faults.is_empty() {
            return Err(ConfigError { faults }.into());
        }
        let file = config.file().cloned();
        let (manager, begun) = (ConnectionManager::reading(metrics, file)?, clock::now());
        let add = |(name, config): (&String, _)| manager.configure(name, config);
        let added: Result<Vec<Pool>, PoolError> = config.services.iter().map(add).collect();
        let mut missing: Vec<(String, PoolError)> = Vec::new();
        for pool in added? {
            let until = begun + pool.shared().config().pool.open_timeout;
            let left = until.saturating_duration_since(clock::now());
            if let Err(error) = pool.await_ready(Ready::One, left) {
                missing.push((pool.service().to_owned(), error));
            }
        }
        if missing.is_empty() {
            #[cfg(feature = "config-file")]
            manager.watch_file(config.reload);
            return Ok(manager);
        }
        if missing.len() == 1 {
            return missing.pop().map_or(Ok(manager), |(_, error)| Err(error));
        }
        let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
        let errors: Vec<String> = missing.iter().map(|(_, error)| error.to_string()).collect();
        Err(PoolError::NotConnected {
            service: names.join(", "),
            last_error: errors.join("; "),
            down_for: clock::now().saturating_duration_since(begun),
            next_try: Duration::ZERO,
        })
    }

    /// Probes the connections of all services, and waits for their answers. Services that are
    /// stopped meanwhile are left out.
    pub fn force_health_check(&self) -> BTreeMap<String, ServiceHealth> {
        let ask = |pool: Pool| {
            let round = pool.shared().ask_health();
            (pool, round)
        };
        // All are asked before the first one is waited for.
        let asked: Vec<(Pool, u64)> = self.pools().into_iter().map(ask).collect();
        let probed = asked.iter().filter_map(|(pool, round)| {
            let health = pool.shared().await_health(*round).ok()?;
            Some((pool.service().to_owned(), health))
        });
        probed.collect()
    }
}

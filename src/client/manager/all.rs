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
        Err(all_of(missing))
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

/// One error of the services that have no connection: down for as long as the first of them, and
/// tried again when the next of them is.
fn all_of(mut missing: Vec<(String, PoolError)>) -> PoolError {
    if missing.len() == 1 {
        return missing.remove(0).1;
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
    let errors: Vec<String> = missing.iter().map(|(_, error)| error.to_string()).collect();
    let times = missing.iter().filter_map(|(_, error)| match error {
        PoolError::NotConnected { down_for, next_try, .. } => Some((*down_for, *next_try)),
        _ => None,
    });
    let (down, next): (Vec<Duration>, Vec<Duration>) = times.unzip();
    PoolError::NotConnected {
        service: names.join(", "),
        last_error: errors.join("; "),
        down_for: down.into_iter().max().unwrap_or_default(),
        next_try: next.into_iter().min().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::ms;

    #[test]
    fn several_that_are_down_are_so_for_the_longest_and_until_the_first_is_tried_again() {
        let down = |service: &str, down_for, next_try| {
            let (service, last_error) = (service.to_owned(), "refused".to_owned());
            let error = PoolError::NotConnected { service, last_error, down_for, next_try };
            (String::from("any"), error)
        };
        let one = all_of(vec![down("a", ms(3), ms(5))]);
        let said = "failed to create connection for a: refused";
        assert_eq!(one.to_string(), format!("{said} (down for 3 ms, next attempt in 5 ms)"));
        let all = vec![down("a", ms(3), ms(5)), down("b", ms(4), ms(7)), down("c", ms(1), ms(6))];
        let PoolError::NotConnected { service, last_error, down_for, next_try } = all_of(all)
        else {
            panic!("they are not connected");
        };
        assert_eq!((&*service, down_for, next_try), ("any, any, any", ms(4), ms(5)));
        assert!(last_error.contains(said) && last_error.contains("for c: refused"));
        let now = all_of(vec![down("a", ms(3), Duration::ZERO)]).to_string();
        assert!(now.ends_with("(down for 3 ms, next attempt now)"), "{now}");
    }
}

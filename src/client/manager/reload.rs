//! Settings that are read again while they are in use.

use std::collections::BTreeSet;
#[cfg(feature = "config-file")]
use std::path::Path;

use super::ConnectionManager;
use crate::client::config::{Config, ServiceConfig};
use crate::client::dialer::Ways;
#[cfg(feature = "config-file")]
use crate::client::error::Fault;
use crate::client::error::{ConfigError, PoolError};
use crate::client::pool::Pool;
use crate::clock;

/// What was taken of other settings. A setting is named with its service: `users.pool.size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Settings that are other than before, and hold from now on.
    pub applied: Vec<String>,
    /// Settings that are other than before, and hold once the service is added anew.
    pub later: Vec<String>,
    /// Services that are new.
    pub added: Vec<String>,
    /// Services that are no more, and were stopped.
    pub stopped: Vec<String>,
    /// Services whose files of TLS hold something new: all their connections are replaced.
    pub certificates: Vec<String>,
}

impl ConnectionManager {
    /// Takes other settings: adds services that are new, stops those that came from a configuration
    /// and are in it no more, and changes all settings of pools that are in use, but
    /// `enable_metrics` and functions of the program. Connections that were made with other
    /// settings, or to addresses that are no more, go as soon as others stand, or when they come
    /// back. Addresses that the program has set hold until those of the settings change. Does not
    /// wait for connections.
    ///
    /// # Errors
    /// All that is wrong; then nothing changes.
    pub fn apply(&self, config: &Config) -> Result<Reloaded, PoolError> {
        // All are looked at before one is changed.
        let (mut planned, mut faults) = (Vec::new(), Vec::new());
        for (name, settings) in &config.services {
            let looked = match self.0.read(name) {
                None => settings
                    .check()
                    .and_then(|checked| Ways::new(settings, &checked.endpoints).map(drop)),
                Some(pool) => {
                    let plan = pool.shared().plan(settings);
                    plan.map(|plan| planned.push((name, plan, pool)))
                }
            };
            if let Err(wrong) = looked {
                faults.extend(wrong.of_service(name).faults);
            }
        }
        if !faults.is_empty() {
            return Err(ConfigError { faults }.into());
        }
        let mut reloaded = Reloaded::default();
        let mut gone: BTreeSet<String> = self.0.configured.lock().clone();
        gone.retain(|name| !config.services.contains_key(name));
        for (name, settings) in &config.services {
            if self.0.read(name).is_none() {
                self.configure(name, settings)?;
                reloaded.added.push(name.clone());
            }
        }
        for (name, plan, pool) in planned {
            let change = pool.shared().take(plan, clock::now());
            let named = |key: &str| format!("{name}.{key}");
            reloaded.applied.extend(change.applied.into_iter().map(named));
            reloaded.later.extend(change.later.into_iter().map(named));
        }
        for name in gone {
            if self.close_connection(&name) {
                reloaded.stopped.push(name);
            }
        }
        Ok(reloaded)
    }

    /// Reads the file again that it was opened from, if it was, with the variables over it, and
    /// takes what it says, as [`apply`](Self::apply) does; what the program has changed of it
    /// before is as the file has it. Reads the files of TLS again, as [`Pool::reload`] does.
    ///
    /// A file without any service is refused while there are services of it, because it is
    /// likelier half written than meant: [`apply`](Self::apply) of [`Config::new`] stops them all.
    ///
    /// # Errors
    /// What is wrong with the file; then nothing changes. What is wrong with the files of TLS of
    /// the first service that has bad ones, after all were read.
    pub fn reload(&self) -> Result<Reloaded, PoolError> {
        let mut reloaded = self.read_again()?;
        let read = self.pools().into_iter().map(|pool| (pool.reload(), pool));
        let read: Vec<(Result<bool, PoolError>, Pool)> = read.collect();
        for (is_new, pool) in read {
            if is_new? {
                reloaded.certificates.push(pool.service().to_owned());
            }
        }
        Ok(reloaded)
    }

    /// Adds a service that goes when it is in the configuration no more.
    pub(super) fn configure(
        &self,
        service: &str,
        config: &ServiceConfig,
    ) -> Result<Pool, PoolError> {
        let pool = self.add(service, config)?;
        self.0.configured.lock().insert(service.to_owned());
        Ok(pool)
    }

    #[cfg(feature = "config-file")]
    fn read_again(&self) -> Result<Reloaded, PoolError> {
        match &self.0.file {
            Some(file) => {
                let config = Config::from_file(&file.path)?;
                self.refuse_empty(&config, &file.path)?;
                self.apply(&config)
            }
            None => Ok(Reloaded::default()),
        }
    }

    /// Refuses settings without a service that would stop all that came from the file.
    #[cfg(feature = "config-file")]
    fn refuse_empty(&self, config: &Config, file: &Path) -> Result<(), ConfigError> {
        if !config.services.is_empty() || self.0.configured.lock().is_empty() {
            return Ok(());
        }
        let rule = "must have a service: without one, all would be stopped".to_owned();
        Err(ConfigError { faults: vec![Fault { key: file.display().to_string(), rule }] })
    }

    #[cfg(not(feature = "config-file"))]
    fn read_again(&self) -> Result<Reloaded, PoolError> {
        Ok(Reloaded::default())
    }
}

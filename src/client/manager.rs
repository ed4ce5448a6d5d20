//! Services by name.

mod all;
mod reload;
#[cfg(feature = "config-file")]
mod watching;

pub use reload::Reloaded;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
#[cfg(feature = "config-file")]
use std::sync::OnceLock;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::config::{ServiceConfig, SettingsFile};
use super::connection::Connection;
use super::context::ManagerContext;
use super::endpoint::Endpoint;
use super::error::{ConfigError, Fault, PoolError};
use super::metrics::ClientMetrics;
use super::observer::Observer;
use super::pool::{Pool, Ready};
use super::status::ServiceHealth;
use crate::clock;
use crate::lock::Leaf;

/// Connections to services by name. Cheap to clone; the last clone that goes stops all pools.
#[derive(Clone)]
pub struct ConnectionManager(Arc<Services>);

struct Services {
    context: ManagerContext,
    /// What it was opened from.
    #[cfg_attr(not(feature = "config-file"), allow(dead_code))] // There are no files then.
    file: Option<Arc<SettingsFile>>,
    /// Lives as long as the manager does.
    #[cfg(feature = "config-file")]
    watching: OnceLock<Arc<watching::Watching>>,
    /// Not held over a call into a pool.
    pools: RwLock<BTreeMap<String, Pool>>,
    /// Those that came from a configuration. Held for some arithmetic.
    configured: Leaf<BTreeSet<String>>,
}

impl Drop for Services {
    fn drop(&mut self) {
        for (_, pool) in std::mem::take(&mut *self.write()) {
            pool.stop();
        }
    }
}

impl Services {
    fn read(&self, service: &str) -> Option<Pool> {
        self.pools.read().unwrap_or_else(PoisonError::into_inner).get(service).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Pool>> {
        self.pools.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionManager {
    /// A manager without services. Starts one thread, which all its pools share.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn new() -> Result<ConnectionManager, PoolError> {
        ConnectionManager::with_metrics(ClientMetrics::new())
    }

    /// The same, counted in these metrics, which other managers may share.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn with_metrics(metrics: ClientMetrics) -> Result<ConnectionManager, PoolError> {
        ConnectionManager::reading(metrics, None)
    }

    /// The same, of the services of this file.
    fn reading(
        metrics: ClientMetrics,
        file: Option<Arc<SettingsFile>>,
    ) -> Result<ConnectionManager, PoolError> {
        let context = ManagerContext::with(metrics)?;
        Ok(ConnectionManager(Arc::new(Services {
            context,
            file,
            #[cfg(feature = "config-file")]
            watching: OnceLock::new(),
            pools: RwLock::default(),
            configured: Leaf::default(),
        })))
    }

    /// The metrics of all its services.
    pub fn metrics(&self) -> &ClientMetrics {
        &self.0.context.metrics
    }

    /// Tells `observer` of what happens from now on.
    pub fn on_event(&self, observer: impl Observer + 'static) {
        self.0.context.observers.add(Arc::new(observer));
    }

    /// Adds a service, and begins to connect. Does not wait.
    ///
    /// # Errors
    /// All that is wrong with its name or its settings, or that it was added before.
    pub fn add(&self, service: &str, config: &ServiceConfig) -> Result<Pool, PoolError> {
        check_name(service)?;
        if self.0.read(service).is_some() {
            return Err(fault(service, "was added before"));
        }
        let pool = Pool::new(service, config, &self.0.context)?;
        let mut pools = self.0.write();
        // Somebody may have added it meanwhile; the first one stays.
        Ok(pools.entry(service.to_owned()).or_insert(pool).clone())
    }

    /// The pool of a service.
    ///
    /// # Errors
    /// [`PoolError::ServiceNotFound`].
    pub fn pool(&self, service: &str) -> Result<Pool, PoolError> {
        self.0
            .read(service)
            .ok_or_else(|| PoolError::ServiceNotFound { service: service.to_owned() })
    }

    /// Lends a connection of a service. One that is not known is added, with the defaults and
    /// this address; an empty address is the known one.
    ///
    /// # Errors
    /// [`PoolError::AddressRequired`], [`PoolError::AddressMismatch`] if it is known by another
    /// address, and as for [`Pool::get`].
    #[track_caller]
    pub fn get_connection(&self, service: &str, address: &str) -> Result<Connection, PoolError> {
        let at = Location::caller();
        let pool = match (self.0.read(service), address) {
            (Some(pool), "") => pool,
            (None, "") => {
                return Err(PoolError::AddressRequired { service: service.to_owned() });
            }
            (Some(pool), address) => at_address(pool, service, address)?,
            (None, address) => {
                parse(address)?;
                self.add(service, &ServiceConfig::of(vec![address.to_owned()]))?
            }
        };
        pool.lend(pool.shared().patience(at, clock::now()))
    }

    /// Lends a connection of a service to `f`, as [`Pool::execute`] does.
    ///
    /// # Errors
    /// [`PoolError::ServiceNotFound`], and as for [`Pool::get`].
    #[track_caller]
    pub fn execute<R>(
        &self,
        service: &str,
        f: impl FnOnce(&Connection) -> R,
    ) -> Result<R, PoolError> {
        let at = Location::caller();
        let pool = self.pool(service)?;
        let connection = pool.lend(pool.shared().patience(at, clock::now()))?;
        Ok(f(&connection))
    }

    /// Waits until every service has a connection, at most so long.
    ///
    /// # Errors
    /// As for [`Pool::await_ready`], of the first service that has none.
    pub fn await_ready(&self, timeout: Duration) -> Result<(), PoolError> {
        let until = clock::after(clock::now(), timeout);
        for pool in self.pools() {
            pool.await_ready(Ready::One, until.saturating_duration_since(clock::now()))?;
        }
        Ok(())
    }

    fn pools(&self) -> Vec<Pool> {
        let pools = self.0.pools.read().unwrap_or_else(PoisonError::into_inner);
        pools.values().cloned().collect()
    }

    /// The names of all services.
    pub fn services(&self) -> Vec<String> {
        self.pools().iter().map(|pool| pool.service().to_owned()).collect()
    }

    /// How many services have a connection.
    pub fn connections_count(&self) -> usize {
        self.pools().iter().filter(|pool| pool.health().healthy).count()
    }

    /// Whether each service can be reached, from what is known; nothing is sent.
    pub fn health_check(&self) -> BTreeMap<String, ServiceHealth> {
        self.pools().iter().map(|pool| (pool.service().to_owned(), pool.health())).collect()
    }

    /// Stops a service and forgets it. True if it was there.
    pub fn close_connection(&self, service: &str) -> bool {
        self.0.configured.lock().remove(service);
        let pool = self.0.write().remove(service);
        pool.inspect(Pool::stop).is_some()
    }

    /// Stops and forgets all services, and waits at most so long for what is lent. True if all
    /// came back.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        let until = clock::after(clock::now(), timeout);
        let pools = std::mem::take(&mut *self.0.write());
        for pool in pools.values() {
            pool.stop();
        }
        let left = || until.saturating_duration_since(clock::now());
        pools.values().all(|pool| pool.shutdown(left()))
    }

    /// Stops and forgets all services, and waits for what is lent for as long as each one's
    /// `drain_timeout` says. True if all came back.
    pub fn close(&self) -> bool {
        let drain = |pool: &Pool| pool.shared().config().pool.drain_timeout;
        let longest = self.pools().iter().map(drain).max();
        self.shutdown(longest.unwrap_or_default())
    }
}

/// The pool, if it has this address.
fn at_address(pool: Pool, service: &str, address: &str) -> Result<Pool, PoolError> {
    let asked = parse(address)?;
    let known = pool.shared().endpoints();
    if known.contains(&asked) {
        return Ok(pool);
    }
    let configured: Vec<String> = known.iter().map(ToString::to_string).collect();
    Err(PoolError::AddressMismatch {
        service: service.to_owned(),
        configured: configured.join(","),
        asked: asked.to_string(),
    })
}

fn parse(address: &str) -> Result<Endpoint, PoolError> {
    Endpoint::parse(address).map_err(|rule| fault(&format!("address {address:?}"), &rule))
}

/// The name is a label of metrics and part of log lines.
fn check_name(service: &str) -> Result<(), PoolError> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match (1..=64).contains(&service.len()) && service.chars().all(is_good) {
        true => Ok(()),
        false => Err(fault("service", "must be 1 to 64 of A-Z a-z 0-9 _ . -")),
    }
}

fn fault(key: &str, rule: &str) -> PoolError {
    let fault = Fault { key: key.to_owned(), rule: rule.to_owned() };
    PoolError::Config(ConfigError { faults: vec![fault] })
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionManager").field(&self.services()).finish()
    }
}

//! The handle of a pool.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::config::ServiceConfig;
use super::connection::Connection;
use super::context::ManagerContext;
use super::dialer::{Dialer, Ways};
use super::error::PoolError;
use super::keeper::Keeper;
use super::options::CheckoutOptions;
use super::runtime;
use super::shared::{Patience, PoolCounts, Shared};
use super::status::{PoolMetrics, PoolStatus, ServiceHealth};
use crate::clock;

/// The connections to one service. Cheap to clone; the last clone that goes stops it.
#[derive(Clone)]
pub struct Pool(Arc<Handle>);

/// Stops the pool when the last handle goes. What is lent stays with its guard.
struct Handle {
    shared: Arc<Shared>,
    /// Looks after the pool for as long as somebody can use it.
    _keeper: Arc<Keeper>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// One connection.
    One,
    /// As many as the pool should have at the moment.
    All,
}

impl Pool {
    /// Opens a pool that belongs to no manager. Waits until it has a connection, at most the
    /// settings' `open_timeout`.
    ///
    /// # Errors
    /// What is wrong with the settings, or what the last attempt to connect failed with.
    pub fn open(service: &str, config: &ServiceConfig) -> Result<Pool, PoolError> {
        let pool = Pool::new(service, config, &ManagerContext::new()?)?;
        pool.await_ready(Ready::One, config.pool.open_timeout)?;
        Ok(pool)
    }

    /// A pool whose connections are dialled by this context's keeper. Does not wait.
    pub(super) fn new(
        service: &str,
        config: &ServiceConfig,
        context: &ManagerContext,
    ) -> Result<Pool, PoolError> {
        let checked = config.check()?;
        let ManagerContext { keeper, .. } = context;
        let ways = Ways::new(config, &checked.endpoints)?;
        let dialer = Dialer::new(runtime::shared(), ways, keeper.bell());
        let reporter = context.reporter(service, config);
        let shared = Shared::new(service, &checked, dialer, keeper.bell(), reporter, clock::now());
        let shared = Arc::new(shared);
        context.watch(&shared);
        shared.reporter.started(checked.endpoints.len(), config.pool.size);
        config.advice().iter().for_each(|said| shared.reporter.unusual(said));
        Ok(Pool(Arc::new(Handle { shared, _keeper: Arc::clone(keeper) })))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        &self.shared().service
    }

    /// Lends a connection, which is given back when it is dropped. Waits for one if none is
    /// free, at most the settings' `checkout_timeout`; whoever has waited for longest is next.
    ///
    /// # Errors
    /// [`PoolError::NotConnected`] at once if nothing is connected and nothing is being
    /// connected, unless `wait_for_ready` is set; [`PoolError::CheckoutTimeout`],
    /// [`PoolError::TooManyWaiters`], [`PoolError::Closed`], [`PoolError::OnGrpcThread`].
    #[track_caller]
    pub fn get(&self) -> Result<Connection, PoolError> {
        let at = Location::caller();
        self.lend(self.shared().patience(at, clock::now()))
    }

    /// The same as the options say.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    #[track_caller]
    pub fn get_with(&self, options: &CheckoutOptions) -> Result<Connection, PoolError> {
        let now = clock::now();
        self.lend(self.shared().patience(Location::caller(), now).with(options, now))
    }

    /// The same with another limit than `checkout_timeout`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    #[track_caller]
    pub fn get_within(&self, timeout: Duration) -> Result<Connection, PoolError> {
        self.get_with(&CheckoutOptions::new().timeout(timeout))
    }

    /// Lends a connection if one is free now and nobody waits for it.
    #[track_caller]
    pub fn try_get(&self) -> Option<Connection> {
        let patience = self.shared().patience(Location::caller(), clock::now());
        Connection::spare(self.shared(), patience)
    }

    pub(super) fn lend(&self, patience: Patience) -> Result<Connection, PoolError> {
        Connection::lend(self.shared(), patience)
    }

    /// Lends a connection to `f`, and returns what that returns. If `f` panics, the connection
    /// is given back, and the panic goes on to the caller.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    #[track_caller]
    pub fn execute<R>(&self, f: impl FnOnce(&Connection) -> R) -> Result<R, PoolError> {
        let connection = self.get()?;
        Ok(f(&connection))
    }

    /// Changes how many connections there may be, and without a `min_size` are. Idle ones go
    /// first; one that is lent goes when it comes back. Of a `min_size` that is larger so many
    /// are left. The size that it has already changes nothing.
    ///
    /// # Errors
    /// [`PoolError::WouldEmptyPool`] for 0, [`PoolError::Config`] for more than 1000.
    pub fn resize(&self, size: usize) -> Result<(), PoolError> {
        self.shared().resize(|_| size)
    }

    /// Has so many connections more. See [`resize`](Self::resize).
    ///
    /// # Errors
    /// As for [`resize`](Self::resize).
    pub fn scale_up(&self, more: usize) -> Result<(), PoolError> {
        self.shared().resize(|size| size.saturating_add(more))
    }

    /// Has so many connections fewer. See [`resize`](Self::resize).
    ///
    /// # Errors
    /// As for [`resize`](Self::resize).
    pub fn scale_down(&self, fewer: usize) -> Result<(), PoolError> {
        self.shared().resize(|size| size.saturating_sub(fewer))
    }

    /// Has these addresses from now on instead of those of the settings. Connections to others
    /// go as soon as new ones stand, or come back; no call fails of it.
    ///
    /// # Errors
    /// [`PoolError::Config`] with all that is wrong with the addresses, or with the files of TLS
    /// that they need; then nothing changes. [`PoolError::Closed`].
    pub fn set_addresses(&self, addresses: &[String]) -> Result<(), PoolError> {
        self.shared().set_addresses(addresses)
    }

    /// Replaces all connections, each as soon as another one stands. No call fails of it.
    pub fn reconnect(&self) {
        self.shared().reconnect();
    }

    /// Waits until it is connected, at most so long.
    ///
    /// # Errors
    /// [`PoolError::NotConnected`] with what the last attempt to connect failed with,
    /// [`PoolError::NotReady`] if there are some connections but too few, or
    /// [`PoolError::Closed`].
    pub fn await_ready(&self, ready: Ready, timeout: Duration) -> Result<(), PoolError> {
        let shared = self.shared();
        let begun = clock::now();
        let is_ready = |counts: &PoolCounts| {
            let enough = match ready {
                Ready::One => 1,
                Ready::All => counts.wanted,
            };
            counts.ready >= enough || shared.is_closed()
        };
        let until = clock::after(begun, timeout);
        // The last one may have come while the time ran out.
        let done = shared.wait_until(until, is_ready) || is_ready(&shared.counts());
        let service = self.service().to_owned();
        match done {
            true if shared.is_closed() => Err(PoolError::Closed { service }),
            true => Ok(()),
            false => Err(shared.not_ready(clock::now().saturating_duration_since(begun))),
        }
    }

    /// The figures.
    pub fn metrics(&self) -> PoolMetrics {
        self.shared().metrics()
    }

    /// The figures, and every connection.
    pub fn status(&self) -> PoolStatus {
        self.shared().status()
    }

    /// Probes all connections that are not lent, also if `health.enabled` is false, and waits for
    /// their answers.
    ///
    /// # Errors
    /// [`PoolError::Closed`], [`PoolError::OnGrpcThread`].
    pub fn force_health_check(&self) -> Result<ServiceHealth, PoolError> {
        self.shared().await_health(self.shared().ask_health())
    }

    /// Reads the files of TLS again, as is done every `tls.reload`. True if they hold something
    /// new: then all connections are replaced, each as soon as a new one stands.
    ///
    /// # Errors
    /// What is wrong with the files; the old ones stay in use.
    pub fn reload(&self) -> Result<bool, PoolError> {
        Ok(self.shared().reload(clock::now())?)
    }

    /// Whether connections work, and why not, from what is known; nothing is sent.
    pub fn health(&self) -> ServiceHealth {
        self.shared().health()
    }

    /// Stops the pool: nothing is lent any more, waiters are answered, and connections are
    /// closed, those that are lent when they come back. Twice is as good as once.
    pub fn stop(&self) {
        self.shared().close();
    }

    /// The same, and waits at most so long for what is lent. True if all came back.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.stop();
        let until = clock::after(clock::now(), timeout);
        self.shared().wait_until(until, |counts| counts.lent == 0)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("service", &self.service()).finish_non_exhaustive()
    }
}

//! The settings of one tenant's pool.

use std::time::Duration;

use crate::config::dsn;

/// Longer lifetimes mean the same, and would overflow the clock.
pub(super) const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a DSN asks for is not checked more often: a check is work for the service
/// and for its database.
const OFTEN: Duration = Duration::from_secs(1);

/// What a DSN asks its backends to live for, or to rest, is not shorter: each new one is
/// work for the service and for its database.
pub const LEAST_LIFETIME: Duration = Duration::from_secs(1);

/// One tenant's pool. A DSN's `pool_*` keys override those that they name.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// The most backends.
    pub max_connections: usize,
    /// Open at least so many, leased ones included.
    pub min_connections: usize,
    /// A backend is replaced after so long, when it is not leased.
    pub max_lifetime: Duration,
    /// Up to this fraction of the lifetime is taken off at random, so that
    /// backends opened together do not all go together.
    pub lifetime_jitter: f64,
    /// A backend above the minimum is closed when idle for so long.
    pub idle_timeout: Duration,
    /// One attempt to open a backend has so long for all its steps.
    pub connect_timeout: Duration,
    /// A backend idle for longer is checked before it is leased.
    pub check_after_idle: Duration,
    /// That check, and a reset, have so long.
    pub check_timeout: Duration,
    /// Idle backends are checked so often; zero: never.
    pub health_interval: Duration,
    /// Such a check has so long.
    pub health_timeout: Duration,
    /// An idle backend is talked to after so long of silence, so that no firewall
    /// forgets its connection; zero: never.
    pub ping_interval: Duration,
    /// What becomes of a backend after a lease or a one-shot.
    pub reset: Reset,
    /// Prepared statements that each backend keeps; 0 keeps none.
    pub statement_cache: usize,
}

/// What becomes of a backend that was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reset {
    /// Its session is reset and checked, and it serves again.
    #[default]
    Clean,
    /// It is closed: for sessions that do what no reset can undo.
    Close,
}

impl Reset {
    /// Reads `clean` or `close`.
    pub fn parse(word: &str) -> Option<Reset> {
        match word {
            "clean" => Some(Reset::Clean),
            "close" => Some(Reset::Close),
            _ => None,
        }
    }

    /// The word it is configured by.
    pub fn as_str(self) -> &'static str {
        match self {
            Reset::Clean => "clean",
            Reset::Close => "close",
        }
    }
}

impl Default for PoolConfig {
    fn default() -> PoolConfig {
        PoolConfig {
            max_connections: 20,
            min_connections: 5,
            max_lifetime: Duration::from_secs(30 * 60),
            lifetime_jitter: 0.1,
            idle_timeout: Duration::from_secs(5 * 60),
            connect_timeout: Duration::from_secs(5),
            check_after_idle: Duration::from_secs(1),
            check_timeout: Duration::from_secs(2),
            health_interval: Duration::from_secs(30),
            health_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(25),
            reset: Reset::Clean,
            statement_cache: 100,
        }
    }
}

impl PoolConfig {
    /// These settings with what a tenant's DSN says of its pool.
    pub fn with(&self, keys: &dsn::PoolKeys) -> PoolConfig {
        let count = |own: Option<u32>, default: usize| own.map_or(default, |n| n as usize);
        let max_connections = count(keys.max_conns, self.max_connections);
        // Zero is refused by `check`.
        let lasts = |own: Duration| match own.is_zero() {
            true => own,
            false => own.clamp(LEAST_LIFETIME, FOREVER),
        };
        let max_lifetime = keys.max_conn_lifetime.map_or(self.max_lifetime.min(FOREVER), lasts);
        let jitter = keys.max_conn_lifetime_jitter.map(|jitter| {
            (jitter.as_secs_f64() / max_lifetime.as_secs_f64().max(f64::EPSILON)).min(1.0)
        });
        PoolConfig {
            max_connections,
            lifetime_jitter: jitter.unwrap_or(self.lifetime_jitter),
            max_lifetime,
            min_connections: count(keys.min_conns, self.min_connections).min(max_connections),
            idle_timeout: keys.max_conn_idle_time.map_or(self.idle_timeout, lasts),
            health_interval: keys
                .health_check_period
                .map_or(self.health_interval, |own| own.clamp(OFTEN, FOREVER)),
            reset: keys.reset.unwrap_or(self.reset),
            ..self.clone()
        }
    }

    /// Checks the numbers against each other.
    ///
    /// # Errors
    /// The first rule that is broken, naming the setting.
    pub fn check(&self) -> Result<(), String> {
        if self.max_connections == 0 {
            return Err("max connections must be greater than 0 (--max-connections)".to_owned());
        }
        if self.min_connections > self.max_connections {
            return Err(format!(
                "min connections cannot be greater than max connections ({} > {}; --min-connections, --max-connections)",
                self.min_connections, self.max_connections
            ));
        }
        if self.max_lifetime.is_zero() {
            return Err(
                "max connection lifetime must be greater than 0 (--max-lifetime)".to_owned()
            );
        }
        if self.idle_timeout.is_zero() {
            return Err(
                "max connection idle time must be greater than 0 (--idle-timeout)".to_owned()
            );
        }
        Ok(())
    }
}

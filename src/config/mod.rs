//! Every setting of the service, validated and typed, with its default and the
//! reason for it. Filled from the command line and `CPM_*` variables in `cli`.

pub mod dsn;
mod durations;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use durations::duration;

/// Settings of one running service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Host or address gRPC listens on; `::` and `0.0.0.0` are every address of both
    /// families, as gRPC has it.
    pub listen: String,
    /// gRPC port; 0 takes any free one.
    pub port: u16,
    /// How gRPC is secured.
    pub tls: Tls,
    /// Where HTTP listens; `[::]` is every address of both families.
    pub http: SocketAddr,
    /// How long a stop waits for leases to end.
    pub drain_timeout: Duration,
    /// A client connection that is silent for so long is asked whether it lives.
    pub keepalive_time: Duration,
    /// It is dead if it does not answer within so long.
    pub keepalive_timeout: Duration,
    /// A lease held for longer is worth a warning.
    pub leak_warning: Duration,
    /// Where the certificate files lie that a client's DSN may name; none: it may
    /// name no file.
    pub dsn_cert_dir: Option<PathBuf>,
    /// Limits of each tenant's pool.
    pub pool: PoolConfig,
    /// Limits of the service.
    pub limits: Limits,
}

/// How gRPC is secured.
#[derive(Debug, Clone)]
pub enum Tls {
    /// Plaintext, because `--insecure` asked for it.
    Insecure,
    /// TLS with this certificate chain and key.
    Files {
        /// PEM certificate chain.
        cert: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
}

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

/// Longer lifetimes mean the same, and would overflow the clock.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a DSN asks for is not checked more often: a check is work for the service
/// and for its database.
const OFTEN: Duration = Duration::from_secs(1);

/// What a client connection may have sent of requests that have not come whole: sixteen
/// of the largest.
pub const UNREAD_BYTES: u64 = 64 << 20;

/// What all of them may have sent: gRPC holds it in memory.
pub const UNREAD_BYTES_IN_ALL: u64 = 256 << 20;

/// Client connections, where nobody says how many: an idle one costs 75 kB, so that
/// all together cost 750 MB at most.
pub const CLIENT_CONNECTIONS: usize = 10_000;

/// gRPC takes no larger message.
const REQUEST_MAX: usize = 4 << 20;

/// What a DSN asks its backends to live for, or to rest, is not shorter: each new one is
/// work for the service and for its database.
pub const LEAST_LIFETIME: Duration = Duration::from_secs(1);

/// Limits of the service as a whole.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sum of all tenants' `max_connections`.
    pub max_backends: usize,
    /// Backends at one server, of all tenants; `None`: as many as it lets in. A server is
    /// an address and a port.
    pub connections_per_server: Option<usize>,
    /// What a DSN's `pool_max_conns` may ask for at most, unless the default
    /// pool is larger.
    pub connections_per_tenant: usize,
    /// Requests waiting at one tenant.
    pub waiters_per_tenant: usize,
    /// Requests waiting in the service.
    pub waiters: usize,
    /// Requests of one client connection that wait. Three quarters of the streams gRPC
    /// lets it have, so that a release never stands behind parked requests.
    pub waiters_per_connection: usize,
    /// Client connections over gRPC. `None`: as many as there are descriptors for, and
    /// [`CLIENT_CONNECTIONS`] at most.
    pub client_connections: Option<usize>,
    /// Those from one address; 0 = as many as in all. `None`: half of all, so that no
    /// host alone keeps the others out.
    pub client_connections_per_address: Option<usize>,
    /// Leases that one caller may hold at one tenant; it is not the only customer.
    pub leases_per_caller: usize,
    /// Tenants whose first connection is being made.
    pub opening_tenants: usize,
    /// Tombstones of ended leases.
    pub tombstones: usize,
    /// Age at which a tombstone goes.
    pub tombstone_age: Duration,
    /// Bytes of results in one answer, below gRPC's 4 MiB message limit.
    pub result_bytes: usize,
    /// A request must have come whole within so long; of a stream, its first message.
    pub request_timeout: Duration,
    /// A reader of a streamed result that takes nothing for so long has its
    /// statement cancelled: it holds a backend, its snapshot and its locks. Any call
    /// whose answer is not taken for so long ends.
    pub stall_timeout: Duration,
    /// Statements in one Execute.
    pub statements: usize,
    /// Bytes of one statement's text.
    pub sql_bytes: usize,
    /// Bytes that the service holds for others: waiting requests, unsent answers,
    /// notifications, what was read ahead, unfinished messages of PostgreSQL. Each of
    /// these uses has at most half of it.
    pub memory_bytes: usize,
    /// What one tenant may have of that.
    pub memory_bytes_per_tenant: usize,
    /// What one client connection may have of that.
    pub memory_bytes_per_connection: usize,
}

/// Defaults and ranges of what a lease may be asked for.
pub mod lease {
    use std::ops::RangeInclusive;
    use std::time::Duration;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Waiting in the queue.
    pub const WAIT: Duration = secs(30);
    /// Range of the wait.
    pub const WAIT_RANGE: RangeInclusive<Duration> = Duration::ZERO..=secs(300);
    /// An idle lease ends after so long.
    pub const TTL: Duration = secs(300);
    /// Range of the time to live.
    pub const TTL_RANGE: RangeInclusive<Duration> = secs(1)..=secs(3600);
    /// An idle lease with an open transaction ends after so long: it holds locks.
    pub const IDLE_IN_TRANSACTION: Duration = secs(60);
    /// Range of that.
    pub const IDLE_IN_TRANSACTION_RANGE: RangeInclusive<Duration> = secs(1)..=secs(3600);
    /// Any lease ends after so long.
    pub const MAX_LIFETIME: Duration = secs(3600);
    /// Range of the lifetime.
    pub const MAX_LIFETIME_RANGE: RangeInclusive<Duration> = secs(1)..=secs(24 * 3600);
    /// One statement may run so long.
    pub const STATEMENT: Duration = secs(30);
    /// Range of the statement timeout.
    pub const STATEMENT_RANGE: RangeInclusive<Duration> =
        Duration::from_millis(1)..=secs(24 * 3600);
    /// A cancelled statement has so long to obey before its socket is closed.
    pub const CANCEL_GRACE: Duration = secs(2);
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "::".to_owned(),
            port: 50052,
            tls: Tls::Files { cert: "certs/cert.pem".into(), key: "certs/key.pem".into() },
            http: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8082)),
            drain_timeout: Duration::from_secs(30),
            // A vanished client's stream gives its lease back within the sum of both.
            keepalive_time: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            // Twice the default time to live: whoever renews may have forgotten to release.
            leak_warning: Duration::from_secs(600),
            // Whoever may send a DSN could otherwise make the service read any file.
            dsn_cert_dir: None,
            pool: PoolConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Checks what nobody could be served with, or would not get what it is promised.
    ///
    /// # Errors
    /// The rule that is broken, naming the setting.
    pub fn check(&self) -> Result<(), String> {
        self.pool.check()?;
        self.limits.check()?;
        let (tenant, all) = (self.pool.max_connections, self.limits.max_backends);
        if tenant > all {
            // Else no tenant at all would get in.
            return Err(format!(
                "max connections of a tenant cannot be greater than those of all tenants ({tenant} > {all}; --max-connections, --max-backends)"
            ));
        }
        Ok(())
    }

    /// The most connections that a tenant's own DSN may ask for, so that one
    /// tenant cannot take the whole budget.
    pub fn most_connections(&self) -> usize {
        self.pool.max_connections.max(self.limits.connections_per_tenant)
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

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_backends: 2000,
            // PostgreSQL says itself when it is full.
            connections_per_server: None,
            connections_per_tenant: 100,
            waiters_per_tenant: 1000,
            waiters: 20_000,
            waiters_per_connection: 192,
            client_connections: None,
            client_connections_per_address: None,
            leases_per_caller: 20,
            opening_tenants: 100,
            tombstones: 100_000,
            tombstone_age: Duration::from_secs(600),
            result_bytes: 3 * 1024 * 1024 + 512 * 1024,
            // 4 MiB on a line of 4 Mbit/s.
            request_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            statements: 1000,
            sql_bytes: 3 * 1024 * 1024,
            // A small virtual machine has room for it beside its backends.
            memory_bytes: 512 << 20,
            // An eighth: eight tenants at their limit leave nobody else without, as
            // each use has a half.
            memory_bytes_per_tenant: 64 << 20,
            // Ten of the largest requests.
            memory_bytes_per_connection: 32 << 20,
        }
    }
}

impl Limits {
    /// Checks what nobody could be served with.
    ///
    /// # Errors
    /// The rule that is broken, naming the setting.
    pub fn check(&self) -> Result<(), String> {
        if self.leases_per_caller == 0 {
            return Err("leases per caller must be greater than 0 (--leases-per-caller)".to_owned());
        }
        if self.client_connections == Some(0) {
            return Err(
                "client connections must be greater than 0 (--max-client-connections)".to_owned()
            );
        }
        let (all, tenant) = (self.memory_bytes, self.memory_bytes_per_tenant);
        let connection = self.memory_bytes_per_connection;
        if connection < REQUEST_MAX {
            return Err(format!(
                "memory per connection must be at least {REQUEST_MAX} bytes, the largest request ({connection}; --memory-per-connection)"
            ));
        }
        if connection > tenant {
            return Err(format!(
                "memory per connection cannot be greater than memory per tenant ({connection} > {tenant}; --memory-per-connection, --memory-per-tenant)"
            ));
        }
        if tenant > all {
            return Err(format!(
                "memory per tenant cannot be greater than the limit of all memory ({tenant} > {all}; --memory-per-tenant, --memory-limit)"
            ));
        }
        Ok(())
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

#[cfg(test)]
mod tests;

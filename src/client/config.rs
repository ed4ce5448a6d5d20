//! The settings of a service, with their defaults.

mod advice;
mod check;
mod defaults;
mod env;
#[cfg(feature = "config-file")]
mod file;
mod keys;
mod layers;
mod live;
mod many;
mod policy;
mod pool;
mod presets;
mod security;
mod setting;
mod sources;
mod variables;

use std::time::Duration;

use super::call_error::Code;
use super::interceptor::Interceptors;
use super::outlier::OutlierConfig;

pub(super) use check::{check_call, SIZE_MAX};

pub use check::Checked;
pub(in crate::client) use live::SettingsChange;
pub use many::Config;
pub(in crate::client) use many::SettingsFile;
pub use policy::{Hedge, MethodPolicy, Methods};
pub use pool::{Compression, ConnectionConfig, PoolConfig};
pub use security::{Credentials, Tls, TlsMode};
pub use sources::SettingInfo;

/// How a service is reached. Made by [`new`](Self::new), a preset or
/// [`from_env`](Self::from_env); every field may be changed after that. [`check`](Self::check)
/// tells all that is wrong with it.
///
/// A service in production with ten connections and a shorter wait, one on this machine, and one
/// of a test:
/// ```
/// use std::time::Duration;
///
/// use connection_pool_manager::client::ServiceConfig;
///
/// let mut production = ServiceConfig::production("users.example.com");
/// production.pool.size = 10;
/// production.pool.checkout_timeout = Duration::from_secs(10);
/// assert!(production.check().is_ok());
///
/// let mut local = ServiceConfig::local();
/// local.pool.size = 2;
/// assert!(local.check().is_ok());
///
/// let test = ServiceConfig::test("localhost", 8085); // Without pings and checks.
/// assert!(test.check().is_ok());
/// ```
///
/// Every number of a connection, of repeats and of the breaker, and what may be switched off:
/// ```
/// use std::time::Duration;
///
/// use connection_pool_manager::client::{BreakerConfig, RetryConfig, ServiceConfig};
///
/// let mut config = ServiceConfig::new("localhost", 50051);
/// config.connection.max_message_bytes = 4 << 20;
/// config.connection.keepalive_time = Some(Duration::from_secs(30));
/// config.connection.keepalive_timeout = Duration::from_secs(5);
/// config.connection.keepalive_permit_without_calls = true;
/// config.connection.max_reconnect_delay = Duration::from_secs(3);
/// config.connection.connect_timeout = Duration::from_secs(10);
/// config.enable_logging = true;
/// config.enable_metrics = true;
/// config.retry = Some(RetryConfig {
///     max_attempts: 5,
///     initial_backoff: Duration::from_millis(200),
///     ..RetryConfig::default()
/// });
/// config.breaker = Some(BreakerConfig {
///     failures: 10,
///     timeout: Duration::from_secs(60),
///     ..BreakerConfig::default()
/// });
/// assert!(config.check().is_ok());
/// ```
///
/// TLS with a private authority, the name of the certificate, and the client's own:
/// ```
/// use connection_pool_manager::client::{ServiceConfig, TlsMode};
///
/// let mut config = ServiceConfig::new("10.0.0.7", 8443);
/// config.tls.mode = TlsMode::On;
/// config.tls.ca_file = Some("/etc/ssl/ca.pem".into());
/// config.tls.server_name = Some("users.example.com".into());
/// config.tls.cert_file = Some("/etc/ssl/client.pem".into());
/// config.tls.key_file = Some("/etc/ssl/client-key.pem".into());
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    /// `host:port`, `[v6]:port`, `unix:/path`, or these behind `http://` or `https://`. The
    /// connections are spread over them, and over all addresses that a host stands for. At least
    /// one.
    pub addresses: Vec<String>,
    /// TLS.
    pub tls: Tls,
    /// The pool.
    pub pool: PoolConfig,
    /// Each of its connections.
    pub connection: ConnectionConfig,
    /// How it is found out whether connections work.
    pub health: HealthConfig,
    /// Each call.
    pub call: CallConfig,
    /// How failed calls are repeated; `None`: they are not.
    pub retry: Option<RetryConfig>,
    /// When calls are refused because the last ones have failed; `None`: never.
    pub breaker: Option<BreakerConfig>,
    /// When an address is left alone because attempts at it fail; `None`: never.
    pub outlier: Option<OutlierConfig>,
    /// Several attempts of a call at the same time, for calls that are idempotent; `None`, the
    /// default: one after the other.
    pub hedge: Option<Hedge>,
    /// What is different for some methods.
    pub methods: Methods,
    /// What is added to every call.
    pub interceptors: Interceptors,
    /// What observers are told.
    pub events: EventsConfig,
    /// Whether the log has lines of the service. Default true.
    pub enable_logging: bool,
    /// Whether the service is counted. Default true.
    pub enable_metrics: bool,
    /// Whether connections that cannot be made are written at DEBUG instead of WARN. Default
    /// false.
    pub suppress_connection_errors: bool,
    /// Any word for the kind of service, shown in its status. Default none.
    pub kind: String,
    sources: sources::Sources,
}

/// How it is found out whether connections work: by a call of `grpc.health.v1.Health/Check` on
/// connections that are not lent. Any answer is good, also that the server knows no such service;
/// only `NOT_SERVING` is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Whether all connections are probed regularly. Default true.
    pub enabled: bool,
    /// So often. Default 60 s.
    pub interval: Duration,
    /// A probe is answered within so long. Default 5 s.
    pub timeout: Duration,
    /// A connection that did not answer so often in a row is replaced. Default 3.
    pub tries: u32,
    /// So many good answers in a row, or good rounds, make it well again. Default 2.
    pub successes: u32,
    /// The service to ask for. Default none: the server as a whole.
    pub service: String,
    /// The method to call instead, such as `/shop.Users/Ping`, with an empty message.
    pub method: Option<String>,
    /// Whether servers are listened to as well, by `grpc.health.v1.Health/Watch`, so that it is
    /// known at once when one does not serve: one more connection for each address. Default false.
    pub watch: bool,
}

/// The numbers of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallConfig {
    /// The deadline of a call that has no other. Default 30 s; `None`: there is none.
    pub timeout: Option<Duration>,
    /// The time limit of one attempt of a call. Default `None`: that of the call.
    pub attempt_timeout: Option<Duration>,
    /// Whether a call waits while nothing is connected, instead of failing at once. Default
    /// false.
    pub wait_for_ready: bool,
}

/// What observers are told, beside what always is.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsConfig {
    /// The part of checkouts that are told, by chance. 0 to 1, default 1.
    pub sample_rate: f64,
    /// The status is told so often. Default `None`: never.
    pub status_interval: Option<Duration>,
}

/// How failed calls are repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// Attempts of a call, the first one included. 1 to 10, default 3.
    pub max_attempts: u32,
    /// The pause after the first one. Default 100 ms.
    pub initial_backoff: Duration,
    /// The longest pause. Default 3 s.
    pub max_backoff: Duration,
    /// Each pause is so many times the one before. 1 to 1000, default 2.
    pub multiplier: f64,
    /// What is repeated. Default UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED.
    pub codes: Vec<Code>,
    /// Whether a call that never left is repeated even if it is not idempotent. Default true.
    pub not_sent: bool,
    /// The longest part of itself by which a pause is lengthened by chance. 0 to 1, default 0.2.
    pub jitter: f64,
    /// Whether what may have been sent is repeated even if it is not idempotent. Default false:
    /// it may be done twice.
    pub unsafe_all: bool,
    /// How repeats of a service are rationed; that of a method or a call is not heeded.
    pub budget: BudgetConfig,
}

/// How many repeats a service may have, so that they do not add to the load of one that has too
/// much of it. Hedged attempts count, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetConfig {
    /// Each call allows so much of a repeat. 0 to 1, default 0.2: one for five calls.
    pub per_call: f64,
    /// So many a second are allowed whatever is called. 0 to 10 000, default 10.
    pub per_second: f64,
    /// The most in one burst. 1 to 10 000, default 100.
    pub most: f64,
}

/// When calls of a method are refused, because the last ones have failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// After so many calls in a row that failed. Default 5.
    pub failures: u32,
    /// Until so many probes in a row were good. Default 2.
    pub successes: u32,
    /// The first probe is let through after so long. Default 30 s.
    pub timeout: Duration,
    /// What counts as failed, once a call has had all its attempts. Default UNAVAILABLE,
    /// DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED.
    pub codes: Vec<Code>,
}

#[cfg(test)]
mod tests;

//! Settings that suit a purpose.

use std::time::Duration;

use super::sources::Sources;
use super::{
    BreakerConfig, CallConfig, ConnectionConfig, EventsConfig, HealthConfig, Methods, PoolConfig,
    RetryConfig, ServiceConfig, Tls, TlsMode,
};
use crate::client::interceptor::Interceptors;
use crate::client::outlier::OutlierConfig;

impl ServiceConfig {
    /// The defaults, for a host, which is a name or an address, and a port.
    pub fn new(host: &str, port: u16) -> ServiceConfig {
        let is_v6 = host.contains(':') && !host.starts_with('[');
        let address = if is_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        ServiceConfig::of(vec![address])
    }

    /// The defaults, for these addresses.
    pub fn of(addresses: Vec<String>) -> ServiceConfig {
        ServiceConfig {
            addresses,
            tls: Tls::default(),
            pool: PoolConfig::default(),
            connection: ConnectionConfig::default(),
            health: HealthConfig::default(),
            call: CallConfig::default(),
            retry: Some(RetryConfig::default()),
            breaker: Some(BreakerConfig::default()),
            outlier: Some(OutlierConfig::default()),
            hedge: None,
            methods: Methods::default(),
            interceptors: Interceptors::default(),
            events: EventsConfig::default(),
            enable_logging: true,
            enable_metrics: true,
            suppress_connection_errors: false,
            kind: String::new(),
            sources: Sources::default(),
        }
    }

    /// A service in production: port 443, TLS or an error, 5 connections, reconnected after 1 to
    /// 5 s.
    pub fn production(host: &str) -> ServiceConfig {
        let mut config = ServiceConfig::new(host, 443);
        config.sources = Sources::of_profile("production");
        config.tls = Tls { mode: TlsMode::On, required: true, ..Tls::default() };
        config.pool.size = 5;
        config.connection.max_reconnect_delay = Duration::from_secs(5);
        config
    }

    /// A service on this machine: `localhost:9090`, plaintext, 3 connections without keepalive
    /// and pings, reconnected after 1 to 5 s.
    pub fn local() -> ServiceConfig {
        let mut config = ServiceConfig::new("localhost", 9090);
        config.sources = Sources::of_profile("local");
        config.tls.mode = TlsMode::Off;
        config.pool.size = 3;
        config.connection.keepalive_time = None;
        config.connection.ping_interval = None;
        config.connection.max_reconnect_delay = Duration::from_secs(5);
        config
    }

    /// A service of a test: plaintext, 1 connection without keepalive, pings and checks,
    /// reconnected after 0.5 to 2 s.
    pub fn test(host: &str, port: u16) -> ServiceConfig {
        let mut config = ServiceConfig::new(host, port);
        config.sources = Sources::of_profile("test");
        config.tls.mode = TlsMode::Off;
        config.pool.size = 1;
        config.connection.keepalive_time = None;
        config.connection.ping_interval = None;
        config.health.enabled = false;
        config.connection.reconnect_backoff_min = Duration::from_millis(500);
        config.connection.max_reconnect_delay = Duration::from_secs(2);
        config
    }

    /// This project's own service: port 50052, TLS or an error, 5 connections, health by its
    /// name.
    pub fn connection_pool(host: &str) -> ServiceConfig {
        let production = ServiceConfig::production(host);
        let mut config = ServiceConfig {
            addresses: ServiceConfig::new(host, CONNECTION_POOL_PORT).addresses,
            sources: Sources::of_profile("connection_pool"),
            ..production
        };
        config.health.service = "connectionpool.ConnectionPoolService".to_owned();
        config
    }

    /// The preset of this name.
    pub(super) fn of_profile(name: &str, host: &str) -> Option<ServiceConfig> {
        match name {
            "production" => Some(ServiceConfig::production(host)),
            "local" => Some(ServiceConfig::local()),
            "test" => Some(ServiceConfig::test(host, 443)),
            "connection_pool" => Some(ServiceConfig::connection_pool(host)),
            _ => None,
        }
    }

    /// The port that its preset has.
    pub(super) fn default_port(&self) -> u16 {
        match self.sources.profile() {
            Some("local") => 9090,
            Some("connection_pool") => CONNECTION_POOL_PORT,
            _ => 443,
        }
    }
}

/// The port of this project's own service.
const CONNECTION_POOL_PORT: u16 = 50052;

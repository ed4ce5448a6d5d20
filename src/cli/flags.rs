//! The flags of `serve` and `demo`, and the settings made from them.

use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::Args;

use crate::cli::process;
use crate::cli::time::{within, FOREVER_SECS};
use crate::config::{Config, Limits, PoolConfig, Reset, Tls};
use crate::core::quoted::Quoted;
use crate::settings::bytes;

/// The flags of `serve`. Every flag has a variable `CPM_*`; the flag wins.
#[derive(Args, Clone)]
pub(super) struct Flags {
    /// gRPC port; 0 takes any free one.
    #[arg(long, env = "CPM_PORT", default_value_t = 50052)]
    pub port: u16,
    /// Host or address gRPC listens on; :: is every one, of IPv6 and IPv4.
    #[arg(long, env = "CPM_LISTEN", default_value = "::")]
    pub listen: String,
    /// PEM certificate chain of the gRPC server.
    #[arg(long, env = "CPM_CERT", default_value = "certs/cert.pem")]
    pub cert: PathBuf,
    /// PEM private key of the gRPC server.
    #[arg(long, env = "CPM_KEY", default_value = "certs/key.pem")]
    pub key: PathBuf,
    /// Serve gRPC without TLS. Anyone on the network path can read DSNs and leases.
    #[arg(long, env = "CPM_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
    /// Directory of the certificate files that a DSN may name (sslrootcert,
    /// sslcert, sslkey). Without it a DSN may name no file.
    #[arg(long, env = "CPM_DSN_CERT_DIR", value_name = "DIR", value_parser = directory)]
    pub dsn_cert_dir: Option<PathBuf>,
    /// Where /health and /metrics listen: HOST:PORT, or :PORT for every address.
    #[arg(long, env = "CPM_HTTP", default_value = ":8082", value_parser = http_address)]
    pub http: SocketAddr,
    /// How long a stop waits for leases to end.
    #[arg(long, env = "CPM_DRAIN_TIMEOUT", default_value = "30", value_name = "TIME",
          value_parser = within(0..=FOREVER_SECS))]
    pub drain_timeout: Duration,
    /// The most connections of a tenant [default: 20, or those of all tenants if lower].
    #[arg(long, env = "CPM_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,
    /// Connections of a tenant that are kept open [default: 5, or the maximum if lower].
    #[arg(long, env = "CPM_MIN_CONNECTIONS")]
    pub min_connections: Option<usize>,
    /// Age at which a connection is replaced.
    #[arg(long, env = "CPM_MAX_LIFETIME", default_value = "1800", value_name = "TIME",
          value_parser = within(0..=FOREVER_SECS))]
    pub max_lifetime: Duration,
    /// How long a connection above the minimum may be idle before it is closed.
    #[arg(long, env = "CPM_IDLE_TIMEOUT", default_value = "300", value_name = "TIME",
          value_parser = within(0..=FOREVER_SECS))]
    pub idle_timeout: Duration,
    /// What happens to a connection after a lease: clean = reset and used again, close = closed.
    #[arg(long, env = "CPM_RESET", default_value = "clean", value_parser = reset)]
    pub reset: Reset,
    /// Prepared statements that each connection caches; 0 caches none.
    #[arg(long, env = "CPM_STATEMENT_CACHE", default_value_t = 100)]
    pub statement_cache: usize,
    /// How often idle connections are checked; 0 = never.
    #[arg(long, env = "CPM_HEALTH_CHECK_INTERVAL", default_value = "30", value_name = "TIME",
          value_parser = within(0..=3600))]
    pub health_check_interval: Duration,
    /// How long a check of a connection may take.
    #[arg(long, env = "CPM_HEALTH_CHECK_TIMEOUT", default_value = "5", value_name = "TIME",
          value_parser = within(1..=300))]
    pub health_check_timeout: Duration,
    /// How long an idle connection may be silent before it gets a query; 0 = never.
    #[arg(long, env = "CPM_PING_INTERVAL", default_value = "25", value_name = "TIME",
          value_parser = within(0..=3600))]
    pub ping_interval: Duration,
    /// Leases that one client connection may hold at a tenant, if the tenant may
    /// have more connections than that.
    #[arg(long, env = "CPM_LEASES_PER_CALLER", default_value_t = 20)]
    pub leases_per_caller: usize,
    /// How long a request may take to arrive completely.
    #[arg(long, env = "CPM_REQUEST_TIMEOUT", default_value = "10", value_name = "TIME",
          value_parser = within(1..=3600))]
    pub request_timeout: Duration,
    /// How long a client may read nothing of a streamed result before its statement is cancelled; a
    /// call whose answer is not read for so long ends.
    #[arg(long, env = "CPM_STALL_TIMEOUT", default_value = "30", value_name = "TIME",
          value_parser = within(0..=FOREVER_SECS))]
    pub stall_timeout: Duration,
    /// The most connections of all tenants together.
    #[arg(long, env = "CPM_MAX_BACKENDS", default_value_t = 2000)]
    pub max_backends: usize,
    /// The most connections to one server (address and port), of all tenants together; 0 = as many
    /// as it accepts.
    #[arg(long, env = "CPM_MAX_CONNECTIONS_PER_SERVER", default_value_t = 0)]
    pub max_connections_per_server: usize,
    /// The most client connections over gRPC [default: as many as file descriptors allow, at most
    /// 10000].
    #[arg(long, env = "CPM_MAX_CLIENT_CONNECTIONS", value_name = "COUNT")]
    pub max_client_connections: Option<usize>,
    /// The most client connections from one address; 0 = no limit of its own [default:
    /// half of all].
    #[arg(long, env = "CPM_CLIENT_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    pub client_connections_per_address: Option<usize>,
    /// Memory held for clients: waiting requests, unsent answers, notifications, data read ahead;
    /// in bytes, or with KiB, MiB, GiB.
    #[arg(long, env = "CPM_MEMORY_LIMIT", value_name = "SIZE", value_parser = size,
          default_value = "512MiB")]
    pub memory_limit: usize,
    /// The most of it for one tenant.
    #[arg(long, env = "CPM_MEMORY_PER_TENANT", value_name = "SIZE", value_parser = size,
          default_value = "64MiB")]
    pub memory_per_tenant: usize,
    /// The most of it for one client connection.
    #[arg(long, env = "CPM_MEMORY_PER_CONNECTION", value_name = "SIZE",
          value_parser = size, default_value = "32MiB")]
    pub memory_per_connection: usize,
    /// How long a client may be silent before it gets a keepalive ping.
    #[arg(long, env = "CPM_KEEPALIVE_TIME", default_value = "30", value_name = "TIME",
          value_parser = within(1..=86_400))]
    pub keepalive_time: Duration,
    /// How long a client may take to answer the ping before its connection is closed.
    #[arg(long, env = "CPM_KEEPALIVE_TIMEOUT", default_value = "10", value_name = "TIME",
          value_parser = within(1..=86_400))]
    pub keepalive_timeout: Duration,
    /// A lease held for longer is reported in the log.
    #[arg(long, env = "CPM_LEAK_WARNING", default_value = "600", value_name = "TIME",
          value_parser = within(1..=FOREVER_SECS))]
    pub leak_warning: Duration,
    /// Do not answer gRPC's reflection, with which clients ask for the services and their types.
    #[arg(long, env = "CPM_NO_REFLECTION", value_parser = BoolishValueParser::new())]
    pub no_reflection: bool,
    /// Allow core dumps and debuggers. Both can read all tenants' passwords.
    #[arg(long, env = "CPM_CORE_DUMPS", value_parser = BoolishValueParser::new())]
    pub core_dumps: bool,
}

/// Zero would cancel every reader; a day is as good as for ever.
const SHORTEST_STALL: Duration = Duration::from_secs(1);
const LONGEST_STALL: Duration = Duration::from_secs(86_400);

/// Returned as an absolute path, so that a DSN may name a file by its absolute path.
fn directory(path: &str) -> Result<PathBuf, String> {
    match std::path::absolute(path) {
        Ok(dir) if dir.is_dir() => Ok(dir),
        Ok(_) => Err("not a directory".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    bytes(text).ok_or_else(|| {
        "expected a number of bytes, optionally with KiB, MiB or GiB, such as 512MiB".to_owned()
    })
}

fn reset(word: &str) -> Result<Reset, String> {
    Reset::parse(word).ok_or_else(|| "expected clean or close".to_owned())
}

/// `:8082` means every address of IPv6 and IPv4.
fn http_address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix(':') {
        let port: u16 =
            port.parse().map_err(|_| "the port must be a number from 0 to 65535".to_owned())?;
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    text.to_socket_addrs()
        .map_err(|e| format!("expected HOST:PORT or :PORT ({e})"))?
        .next()
        .ok_or_else(|| "the host has no address".to_owned())
}

impl Flags {
    /// Keeps passwords out of core dumps and debuggers, unless a flag allows them.
    pub(super) fn guard_memory(&self) {
        if self.core_dumps {
            return;
        }
        if let Err(error) = process::forbid_dumps() {
            log::warn!("event=core_dumps_not_forbidden error={}", Quoted(&error.to_string()));
        }
    }

    pub(super) fn config(&self) -> Config {
        let defaults = PoolConfig::default();
        let max_connections =
            self.max_connections.unwrap_or(defaults.max_connections.min(self.max_backends));
        Config {
            listen: self.listen.clone(),
            port: self.port,
            tls: if self.insecure {
                Tls::Insecure
            } else {
                Tls::Files { cert: self.cert.clone(), key: self.key.clone() }
            },
            http: self.http,
            dsn_cert_dir: self.dsn_cert_dir.clone(),
            drain_timeout: self.drain_timeout,
            keepalive_time: self.keepalive_time,
            keepalive_timeout: self.keepalive_timeout,
            leak_warning: self.leak_warning,
            reflection: !self.no_reflection,
            pool: PoolConfig {
                max_connections,
                min_connections: self
                    .min_connections
                    .unwrap_or(defaults.min_connections.min(max_connections)),
                max_lifetime: self.max_lifetime,
                idle_timeout: self.idle_timeout,
                reset: self.reset,
                health_interval: self.health_check_interval,
                health_timeout: self.health_check_timeout,
                ping_interval: self.ping_interval,
                statement_cache: self.statement_cache,
                ..defaults
            },
            limits: Limits {
                max_backends: self.max_backends,
                connections_per_server: Some(self.max_connections_per_server).filter(|n| *n > 0),
                leases_per_caller: self.leases_per_caller,
                client_connections: self.max_client_connections,
                client_connections_per_address: self.client_connections_per_address,
                request_timeout: self.request_timeout,
                stall_timeout: self.stall_timeout.clamp(SHORTEST_STALL, LONGEST_STALL),
                memory_bytes: self.memory_limit,
                memory_bytes_per_tenant: self.memory_per_tenant,
                memory_bytes_per_connection: self.memory_per_connection,
                ..Limits::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::http_address;

    #[test]
    fn the_http_address_takes_a_bare_port() {
        assert_eq!(http_address(":8082").map(|a| a.to_string()), Ok("[::]:8082".into()));
        assert_eq!(http_address("127.0.0.1:0").map(|a| a.port()), Ok(0));
        assert!(http_address(":70000").is_err());
        assert!(http_address("nonsense").is_err());
    }
}

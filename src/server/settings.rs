//! The settings in force, as one log line.

use std::fmt;

use crate::config::{Config, Tls};
use crate::core::connections::ConnectionBounds;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;

/// All settings of an operator, by the names of the flags. None is a secret.
pub(super) struct SettingsLine<'a> {
    pub(super) config: &'a Config,
    pub(super) bounds: &'a ConnectionBounds,
}

impl fmt::Display for SettingsLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Destructured without `..`, so that no field is forgotten.
        let Config {
            listen,
            port,
            tls,
            http,
            drain_timeout,
            keepalive_time,
            keepalive_timeout,
            leak_warning,
            reflection,
            dsn_cert_dir,
            pool,
            limits,
        } = self.config;
        write!(f, "listen={} port={port} http={http}", Quoted(listen))?;
        match tls {
            Tls::Insecure => write!(f, " insecure=true")?,
            Tls::Files { cert, key } => {
                let (cert, key) = (cert.display().to_string(), key.display().to_string());
                write!(f, " cert={} key={}", Quoted(&cert), Quoted(&key))?;
            }
        }
        if let Some(dir) = dsn_cert_dir {
            write!(f, " dsn_cert_dir={}", Quoted(&dir.display().to_string()))?;
        }
        write!(
            f,
            " drain_timeout_s={} max_connections={} min_connections={} max_lifetime_s={} \
             idle_timeout_s={} reset={} statement_cache={} health_check_interval_s={} \
             health_check_timeout_s={} ping_interval_s={}",
            Secs(*drain_timeout),
            pool.max_connections,
            pool.min_connections,
            Secs(pool.max_lifetime),
            Secs(pool.idle_timeout),
            pool.reset.as_str(),
            pool.statement_cache,
            Secs(pool.health_interval),
            Secs(pool.health_timeout),
            Secs(pool.ping_interval),
        )?;
        write!(
            f,
            " leases_per_caller={} request_timeout_s={} stall_timeout_s={} max_backends={} \
             max_connections_per_server={} max_client_connections={} client_connections_per_address={} memory_limit={} \
             memory_per_tenant={} memory_per_connection={} keepalive_time_s={} \
             keepalive_timeout_s={} leak_warning_s={} reflection={reflection}",
            limits.leases_per_caller,
            Secs(limits.request_timeout),
            Secs(limits.stall_timeout),
            limits.max_backends,
            // As on the command line, 0 means no limit.
            limits.connections_per_server.unwrap_or(0),
            self.bounds.total,
            self.bounds.per_host,
            limits.memory_bytes,
            limits.memory_bytes_per_tenant,
            limits.memory_bytes_per_connection,
            Secs(*keepalive_time),
            Secs(*keepalive_timeout),
            Secs(*leak_warning),
        )
    }
}

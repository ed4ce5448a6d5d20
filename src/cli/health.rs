//! `health`: how a service is, over gRPC, as a client sees it.

use std::time::Duration;

use clap::Args;

use crate::cli::{time, Ran};
use crate::client::{ConnectionManager, PoolError, ServiceConfig, TlsMode};

/// What `health` takes.
#[derive(Args)]
pub(super) struct HealthFlags {
    /// The service: host:port, [v6]:port, unix:/path, http://host or https://host.
    #[arg(long, default_value = "localhost:50052")]
    address: String,
    /// Probe the connection, instead of telling whether it stands.
    #[arg(long)]
    force: bool,
    /// The longest wait for the connection, and for the answer.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time::within(1..=300))]
    timeout: Duration,
    /// The service of grpc.health.v1 to ask for; none is the server as a whole.
    #[arg(long, default_value = "")]
    service: String,
    /// The certificates to trust, in PEM; the system's if there is none.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// The client's certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<String>,
    /// The key of the client's certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<String>,
    /// The name that the server's certificate must have.
    #[arg(long)]
    server_name: Option<String>,
    /// Plaintext, also to other machines.
    #[arg(long)]
    insecure: bool,
}

/// What gRPC says of a connection that the other end has closed at once.
const CLOSED: [&str; 3] = ["Socket closed", "Connection reset", "Broken pipe"];

impl HealthFlags {
    /// Why a server may close a connection before it is asked anything.
    fn hint(&self) -> &'static str {
        match (self.insecure, &self.cert_file) {
            (true, _) => "; it may want TLS: try without --insecure",
            (false, None) => "; it may want a client certificate: --cert-file and --key-file",
            (false, Some(_)) => "; it may not trust the client certificate of --cert-file",
        }
    }
}

/// Connects and tells how the service is; an error unless it is well.
pub(super) fn run(flags: &HealthFlags) -> Ran {
    let mut config = ServiceConfig::of(vec![flags.address.clone()]);
    config.pool.size = 1;
    config.pool.open_timeout = flags.timeout;
    config.pool.checkout_timeout = flags.timeout;
    config.connection.connect_timeout = flags.timeout;
    config.connection.ping_interval = None;
    config.health.enabled = false;
    config.health.timeout = flags.timeout;
    config.health.service.clone_from(&flags.service);
    // What is wrong is printed once, by the error.
    config.enable_logging = false;
    config.tls.mode = if flags.insecure { TlsMode::Off } else { TlsMode::On };
    config.tls.ca_file.clone_from(&flags.ca_file);
    config.tls.cert_file.clone_from(&flags.cert_file);
    config.tls.key_file.clone_from(&flags.key_file);
    config.tls.server_name.clone_from(&flags.server_name);

    let manager = ConnectionManager::new()?;
    let pool = manager.add("service", &config)?;
    // It waits no longer once every address has failed.
    match pool.get() {
        Err(PoolError::NotConnected { last_error, .. }) => {
            let hint =
                if CLOSED.iter().any(|it| last_error.contains(it)) { flags.hint() } else { "" };
            return Err(format!("{last_error}{hint}").into());
        }
        connection => drop(connection?),
    }
    let health = if flags.force { pool.force_health_check()? } else { pool.health() };
    println!("{}: {} ({})", flags.address, health.level, health.message);
    match health.error {
        Some(error) => Err(error.into()),
        None if pool.metrics().health_check_failures > 0 => {
            Err(format!("no answer within {} s", flags.timeout.as_secs_f64()).into())
        }
        None => Ok(()),
    }
}

//! `serve`: runs the service until SIGINT or SIGTERM.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use crate::cli::flags::Flags;
use crate::cli::process::guard_memory;
use crate::cli::signals::{signals, Requested, STOPPING};
use crate::cli::Ran;
use crate::config::keys;
use crate::config::load::Loaded;
use crate::config::GrpcTls;
use crate::server::{Server, StartError};
use crate::settings::Origin;

/// What prevents the start, with where the settings came from that it is about.
#[derive(Debug)]
pub(super) struct NotStarted {
    pub(super) error: StartError,
    text: String,
}

/// Serves until a signal stops it.
pub(super) fn run(flags: &Flags) -> Ran {
    let loaded = flags.begin()?;
    let config = loaded.config.clone();
    guard_memory(config.core_dumps);
    let (listen, tls) = (config.listen.clone(), !matches!(config.tls, GrpcTls::Insecure));
    if !tls {
        log::warn!("event=insecure message=\"gRPC is served without TLS\"");
    }
    let signals = signals(STOPPING)?;
    let (flags, running) = (flags.clone(), config.clone());
    let load = move || flags.again(&running).map(|loaded| loaded.config);
    let server = Server::start_reloadable(config, Box::new(load));
    let server = server.map_err(|error| NotStarted::new(error, &loaded))?;
    drop(loaded);
    announce(&server, &listen, tls);
    // The channel closes only if the signal thread is lost, which stops the service too.
    while let Ok(Requested::Reload) = signals.recv() {
        server.reload();
    }
    log::info!("event=stopping message=\"Shutting down server...\"");
    server.stop();
    log::info!("event=stopped message=\"Server exiting\"");
    Ok(())
}

impl NotStarted {
    fn new(error: StartError, loaded: &Loaded) -> NotStarted {
        let names = error.settings();
        let mut text = loaded.with_places(&error.to_string(), names);
        let is_default =
            |name| keys::find(name).is_some_and(|key| loaded.origin(key) == Origin::Default);
        if matches!(names, &["cert" | "key"]) && names.iter().all(|name| is_default(name)) {
            text += "; `connection-pool-manager dev-certs` makes certificates for development";
        }
        NotStarted { error, text }
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for NotStarted {}

/// Logs the addresses it listens on, with the real port if 0 was asked for.
pub(super) fn announce(server: &Server, address: &str, tls: bool) {
    let host = address.parse::<IpAddr>().map_or_else(
        |_| address.to_owned(),
        |ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() },
    );
    let admin = server.http_admin_address();
    let admin = admin.map_or_else(String::new, |admin| format!(" http_admin={admin}"));
    log::info!(
        "event=listening grpc={host}:{} tls={tls} http={}{admin} version={}",
        server.grpc_port(),
        server.http_address(),
        env!("CARGO_PKG_VERSION")
    );
}

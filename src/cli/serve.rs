//! `serve`: runs the service until SIGINT or SIGTERM.

use std::net::IpAddr;

use crate::cli::flags::Flags;
use crate::cli::signals::{signals, Asked, STOPPING};
use crate::cli::Outcome;
use crate::config::Tls;
use crate::server::Server;

/// Serves until a signal asks for a stop.
pub(super) fn run(flags: &Flags) -> Outcome {
    flags.guard_memory();
    let config = flags.config();
    if matches!(config.tls, Tls::Insecure) {
        log::warn!("event=insecure message=\"gRPC is served without TLS\"");
    }
    let signals = signals(STOPPING)?;
    let server = Server::start(config)?;
    announce(&server, &flags.listen, flags);
    // The channel closes only with a signal; a lost thread would stop us too.
    while let Ok(Asked::Reload) = signals.recv() {
        server.reload();
    }
    log::info!("event=stopping message=\"Shutting down server...\"");
    server.stop();
    log::info!("event=stopped message=\"Server exiting\"");
    Ok(())
}

/// Says where it listens; port 0 was any.
pub(super) fn announce(server: &Server, address: &str, flags: &Flags) {
    let host = address.parse::<IpAddr>().map_or_else(
        |_| address.to_owned(),
        |ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() },
    );
    log::info!(
        "event=listening grpc={host}:{} tls={} http={} version={}",
        server.grpc_port(),
        !flags.insecure,
        server.http_address(),
        env!("CARGO_PKG_VERSION")
    );
}

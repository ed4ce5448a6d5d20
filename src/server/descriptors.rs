//! Shares out the file descriptors.

use std::time::Duration;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::config::{
    ServerConfig, CLIENT_CONNECTIONS, STRAY_BYTES, STRAY_FOR, UNREAD_BYTES, UNREAD_BYTES_IN_ALL,
};
use crate::core::connections::ConnectionBounds;
use crate::server::StartError;

/// For each backend. It needs one; while it is opened, six with the driver's runtime, but not all
/// are opened at once.
const PER_BACKEND: u64 = 4;
/// For each connection of HTTP: itself, and both ends of the socket to its pages.
const PER_HTTP: u64 = 3;
/// For everything else: gRPC's queues, certificate files, name look-ups, the log, and clients that
/// connect between two rounds of the guard.
const RESERVE: u64 = 320;
/// The service does not start without descriptors for this many clients, unless fewer are
/// configured.
const CLIENTS: u64 = 512;
/// The highest soft limit: more is useless, and some programs close every number up to the limit.
const MOST: u64 = 1 << 20;

/// How soon after its timeout an incomplete request is abandoned.
const UNREAD_MARGIN: Duration = Duration::from_secs(5);

/// Raises the soft limit of open files as far as the hard one allows, and returns the bounds of
/// client connections.
///
/// # Errors
/// If the limit is too low for the configured backends and clients.
pub(super) fn share_out(config: &ServerConfig) -> Result<ConnectionBounds, StartError> {
    let limits = &config.limits;
    let ports = if config.http_admin.is_some() { 2 } else { 1 };
    let http = PER_HTTP * limits.http_connections as u64 * ports;
    let rest = limits.max_backends as u64 * PER_BACKEND + http + RESERVE;
    let asked = limits.client_connections.map(|clients| clients as u64);
    let needed = rest + asked.unwrap_or(CLIENTS);
    let limit = raised();
    if limit < needed {
        return Err(StartError::Descriptors { limit, needed });
    }
    let clients = asked.unwrap_or((limit - rest).min(CLIENT_CONNECTIONS as u64));
    let total = usize::try_from(clients).unwrap_or(usize::MAX);
    let per_host = limits.client_connections_per_address.unwrap_or(total.div_ceil(2));
    Ok(ConnectionBounds {
        total,
        per_host,
        unread: UNREAD_BYTES,
        unread_total: UNREAD_BYTES_IN_ALL,
        stray: STRAY_BYTES,
        stray_for: STRAY_FOR,
        unread_lasts: limits.request_timeout + UNREAD_MARGIN,
    })
}

/// The soft limit, raised.
fn raised() -> u64 {
    let now = getrlimit(Resource::Nofile);
    // `None` means no limit.
    let (soft, hard) = (now.current.unwrap_or(u64::MAX), now.maximum.unwrap_or(u64::MAX));
    let wanted = hard.min(MOST);
    if soft >= wanted {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum }) {
        Ok(()) => wanted,
        Err(_) => soft,
    }
}

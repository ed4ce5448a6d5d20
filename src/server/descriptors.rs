//! Who may have how many file descriptors.

use std::time::Duration;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::config::{Limits, CLIENT_CONNECTIONS, UNREAD_BYTES, UNREAD_BYTES_IN_ALL};
use crate::core::connections::Bounds;
use crate::server::StartError;

/// Of one backend: one. While it is opened it takes six, with the driver's runtime, but
/// all are not opened at once.
const PER_BACKEND: u64 = 4;
/// Of HTTP: each of its 64 connections, and both ends of the socket to its pages.
const HTTP: u64 = 3 * 64;
/// For everything else: gRPC's queues, certificate files, look-ups of names, the log,
/// and the clients that come between two looks of the guard.
const RESERVE: u64 = 320;
/// Without room for so many clients the service does not start, unless fewer are asked
/// for.
const CLIENTS: u64 = 512;
/// More is of no use, and some programs close every number up to the limit.
const MOST: u64 = 1 << 20;

/// A request that is not whole when its time is over is given up soon after that.
const UNREAD_MARGIN: Duration = Duration::from_secs(5);

/// Raises the soft limit of open files as far as the hard one allows, and returns how
/// many client connections there is room for.
///
/// # Errors
/// If there is no room for the backends and clients that are asked for.
pub(super) fn share_out(limits: &Limits) -> Result<Bounds, StartError> {
    let rest = limits.max_backends as u64 * PER_BACKEND + HTTP + RESERVE;
    let asked = limits.client_connections.map(|clients| clients as u64);
    let needed = rest + asked.unwrap_or(CLIENTS);
    let limit = raised();
    if limit < needed {
        return Err(StartError::Descriptors { limit, needed });
    }
    let clients = asked.unwrap_or((limit - rest).min(CLIENT_CONNECTIONS as u64));
    let total = usize::try_from(clients).unwrap_or(usize::MAX);
    let per_host = limits.client_connections_per_address.unwrap_or(total.div_ceil(2));
    Ok(Bounds {
        total,
        per_host,
        unread: UNREAD_BYTES,
        unread_total: UNREAD_BYTES_IN_ALL,
        unread_lasts: limits.request_timeout + UNREAD_MARGIN,
    })
}

/// The soft limit, raised.
fn raised() -> u64 {
    let now = getrlimit(Resource::Nofile);
    // None is no limit.
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

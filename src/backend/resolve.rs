//! The addresses of a host.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::backend::starved::starved;
use crate::config::dsn::HostPort;
use crate::error::ConnectError;
use crate::threads;

/// The addresses of a host, within `left` of the attempt's `limit`. A name is
/// looked up on a thread of its own, because the system's resolver knows no time
/// limit.
///
/// # Errors
/// The name has no address, or none was found in time.
pub(super) fn resolve(
    host: &HostPort,
    left: Duration,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Some(ip) = host.hostaddr {
        return Ok(vec![SocketAddr::new(ip, host.port)]);
    }
    let name = host.host.clone().unwrap_or_default();
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, host.port)]);
    }
    let target = format!("{name}:{}", host.port);
    let unreachable = |why: String| ConnectError::Unreachable { target: target.clone(), why };
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let port = host.port;
    threads::spawn(threads::RESOLVER, move || {
        let found = (name.as_str(), port).to_socket_addrs();
        // Nobody listens any more after the time limit; that is all right.
        let _ = sender.send(found.map(|addresses| addresses.collect::<Vec<_>>()));
    })
    .map_err(|error| ConnectError::Starved(format!("no thread to look up {target}: {error}")))?;
    match receiver.recv_timeout(left) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(unreachable("no address".to_owned())),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => {
            Err(starved(&error)
                .unwrap_or_else(|| unreachable(format!("host name lookup: {error}"))))
        }
        Err(_) => Err(ConnectError::TimedOut { target, step: "host name lookup", limit }),
    }
}

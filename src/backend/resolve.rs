//! The addresses of a host.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::backend::lookups::{Lookups, NoAnswer, Refused};
use crate::backend::starved::starved;
use crate::clock;
use crate::config::dsn::HostPort;
use crate::error::ConnectError;

/// What looking a name up came to.
type Found = Result<Vec<SocketAddr>, ConnectError>;

/// All lookups of the process: the system's resolver is one for all tenants.
static LOOKUPS: Lookups<Found> = Lookups::new();

/// The addresses of a host, within `left` of the attempt's `limit`.
///
/// # Errors
/// The name has no address, or none was found in time.
pub(super) fn resolve(host: &HostPort, left: Duration, limit: Duration) -> Found {
    if let Some(ip) = host.hostaddr {
        return Ok(vec![SocketAddr::new(ip, host.port)]);
    }
    let name = host.host.clone().unwrap_or_default();
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, host.port)]);
    }
    let target = format!("{name}:{}", host.port);
    let (port, shown) = (host.port, target.clone());
    let found = LOOKUPS.join(&target, clock::now(), move || look_up(&name, port, shown));
    let found = found.map_err(|refused| {
        ConnectError::Starved(match refused {
            Refused::TooMany => format!("too many host name lookups have no answer yet, {target}"),
            Refused::NoThread(error) => format!("no thread to look up {target}: {error}"),
        })
    })?;
    found.wait(left).unwrap_or_else(|why| {
        Err(match why {
            NoAnswer::Late => ConnectError::TimedOut { target, step: "host name lookup", limit },
            NoAnswer::Gone => ConnectError::Starved(format!("no thread to look up {target}")),
        })
    })
}

/// Asks the system's resolver, which knows no time limit.
fn look_up(name: &str, port: u16, target: String) -> Found {
    match (name, port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.collect();
            match addresses.is_empty() {
                true => Err(ConnectError::Unreachable { target, why: "no address".to_owned() }),
                false => Ok(addresses),
            }
        }
        Err(error) => Err(starved(&error).unwrap_or_else(|| ConnectError::Unreachable {
            target,
            why: format!("host name lookup: {error}"),
        })),
    }
}

//! The servers a connection string names.

use super::error::DsnError;
use super::keyword_value::is_blank;
use super::settings::DsnSettings;
use super::HostPort;

/// Pairs the lists of hosts, addresses and ports as libpq does: the addresses,
/// or else the names, say how many servers there are.
pub(super) fn hosts(settings: &mut DsnSettings) -> Result<Vec<HostPort>, DsnError> {
    let names = settings.text("host");
    let addresses = settings.text("hostaddr");
    let ports = settings.text("port");
    let Some(leading) = addresses.as_deref().or(names.as_deref()) else {
        return Err(DsnError::text("host is required"));
    };
    let count = leading.split(',').count();
    if count > HOSTS_MAX {
        let key = if addresses.is_some() { "hostaddr" } else { "host" };
        return Err(DsnError::at(key, "must have at most 32 elements"));
    }
    let names = elements(names.as_deref(), count)
        .ok_or_else(|| DsnError::at("host", "must have as many elements as hostaddr"))?;
    let addresses = elements(addresses.as_deref(), count)
        .ok_or_else(|| DsnError::at("hostaddr", "must have as many elements as host"))?;
    // A single port serves every host.
    let ports = match ports.as_deref() {
        Some(port) if !port.contains(',') => vec![port; count],
        ports => elements(ports, count).ok_or_else(|| {
            DsnError::at("port", "must be one port or as many as there are hosts")
        })?,
    };
    let parts = names.into_iter().zip(addresses).zip(ports);
    parts.map(|((name, address), port)| host_port(name, address, port)).collect()
}

/// The elements of a list, or `count` empty ones for an absent list; none if
/// there are more or fewer.
fn elements(list: Option<&str>, count: usize) -> Option<Vec<&str>> {
    let Some(list) = list else {
        return Some(vec![""; count]);
    };
    Some(list.split(',').collect()).filter(|elements: &Vec<&str>| elements.len() == count)
}

fn host_port(name: &str, address: &str, port: &str) -> Result<HostPort, DsnError> {
    if name.starts_with(['/', '@']) {
        return Err(DsnError::at("host", "Unix sockets are not supported, use a TCP host"));
    }
    // An "@" here is most likely the rest of a password; a host is displayed.
    if name.chars().any(|c| c.is_whitespace() || c.is_control() || "@/\\?#=&'\"".contains(c)) {
        let rule = "must be a name or an address (percent-encode a password in a URL)";
        return Err(DsnError::at("host", rule));
    }
    if name.len() > NAME_MAX_BYTES {
        return Err(DsnError::at("host", "must be at most 253 bytes long"));
    }
    let hostaddr = match address {
        "" => None,
        address => match address.parse() {
            Ok(parsed) => Some(parsed),
            Err(_) => return Err(DsnError::at("hostaddr", "must be an IPv4 or IPv6 address")),
        },
    };
    if name.is_empty() && hostaddr.is_none() {
        return Err(DsnError::text("host is required"));
    }
    let port = match port {
        "" => DEFAULT_PORT,
        port => match port.trim_matches(is_blank).parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(DsnError::at("port", "must be an integer from 1 to 65535")),
        },
    };
    let host = Some(name.to_owned()).filter(|name| !name.is_empty());
    Ok(HostPort { host, hostaddr, port })
}

const DEFAULT_PORT: u16 = 5432;

/// All hosts share the time of one attempt, and each name may occupy a thread for that long.
const HOSTS_MAX: usize = 32;

/// No DNS name is longer, and errors show the name.
const NAME_MAX_BYTES: usize = 253;

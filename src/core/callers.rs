//! How many permits each caller has.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Who holds permits: an authenticated identity, or else a client connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId {
    name: Arc<str>,
    /// An identity may be named like an address, and is another caller.
    is_identity: bool,
}

impl CallerId {
    /// The client connection from this address.
    pub fn new(address: &str) -> CallerId {
        CallerId::of_address(Arc::from(address))
    }

    /// The same, for one who has the address already.
    pub fn of_address(name: Arc<str>) -> CallerId {
        CallerId { name, is_identity: false }
    }

    /// The identity of this name.
    pub fn of_identity(name: &str) -> CallerId {
        CallerId { name: Arc::from(name), is_identity: true }
    }

    /// The name: of an identity, or the address of a client connection as gRPC writes it.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// An address without the port: the common prefix of all client connections from its host. Of
    /// an identity the whole name.
    pub fn host(&self) -> &str {
        match self.name.rsplit_once(':') {
            Some((host, port)) if !self.is_identity && port.bytes().all(|b| b.is_ascii_digit()) => {
                host
            }
            _ => &self.name,
        }
    }
}

/// As a field of a log line: `identity=shop`, or `peer=ipv4:192.0.2.1:5000`.
impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", if self.is_identity { "identity" } else { "peer" }, self.name)
    }
}

/// Counts the permits of each caller against a limit.
#[derive(Debug)]
pub(super) struct Callers {
    /// Holds no zeros, so that callers without permits take no memory.
    held: HashMap<CallerId, usize>,
    max: usize,
}

impl Callers {
    pub(super) fn new(max: usize) -> Callers {
        Callers { held: HashMap::new(), max }
    }

    pub(super) fn add(&mut self, caller: Option<CallerId>) {
        if let Some(caller) = caller {
            *self.held.entry(caller).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, caller: Option<&CallerId>) {
        let Some(caller) = caller else { return };
        match self.held.get_mut(caller) {
            Some(n) if *n > 1 => *n -= 1,
            _ => {
                self.held.remove(caller);
            }
        }
    }

    pub(super) fn held_by(&self, caller: &CallerId) -> usize {
        self.held.get(caller).copied().unwrap_or(0)
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_of_a_host_differ_in_their_ports() {
        let host = |name: &str| CallerId::new(name).host().to_owned();
        assert_eq!(host("ipv4:192.0.2.1:5000"), "ipv4:192.0.2.1");
        assert_eq!(host("ipv6:%5B2001:db8::1%5D:5000"), "ipv6:%5B2001:db8::1%5D");
        assert_eq!(host("somebody"), "somebody");
        let identity = CallerId::of_identity("ipv4:192.0.2.1:5000");
        assert_eq!(identity.host(), "ipv4:192.0.2.1:5000");
        assert_ne!(identity, CallerId::new("ipv4:192.0.2.1:5000"));
    }
}

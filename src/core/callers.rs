//! How many permits each caller has.

use std::collections::HashMap;
use std::sync::Arc;

/// Who holds permits: an authenticated identity, or else a client connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(Arc<str>);

impl CallerId {
    /// The caller of this name.
    pub fn new(name: &str) -> CallerId {
        CallerId(Arc::from(name))
    }

    /// The name: the address of a client connection, as gRPC writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the port: the common prefix of all client connections from its host.
    pub fn host(&self) -> &str {
        match self.0.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.0,
        }
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
        assert_eq!(host("spiffe://a/b"), "spiffe://a/b");
    }
}

//! What channels connect to.

use std::fmt;
use std::net::SocketAddr;

use super::endpoint::Endpoint;

/// An address of the settings, or one of those that a name of the settings stands for.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// Its number; never given out twice in a pool.
    pub(super) number: usize,
    /// Which of the settings' addresses it belongs to, counted from 0.
    pub(super) endpoint: usize,
    /// What a name was resolved to.
    pub(super) at: Option<SocketAddr>,
    shown: String,
}

impl Destination {
    /// An address of the settings as it stands there.
    pub(super) fn literal(number: usize, index: usize, endpoint: &Endpoint) -> Destination {
        Destination { number, endpoint: index, at: None, shown: endpoint.to_string() }
    }

    /// What a name of the settings stands for: shown as `host/1.2.3.4:443`.
    pub(super) fn resolved(number: usize, index: usize, host: &str, at: SocketAddr) -> Destination {
        Destination { number, endpoint: index, at: Some(at), shown: format!("{host}/{at}") }
    }

    /// As gRPC's C core takes it; it looks nothing up that was resolved.
    pub(super) fn target(&self, endpoint: &Endpoint) -> String {
        match self.at {
            Some(SocketAddr::V4(at)) => format!("ipv4:{at}"),
            Some(SocketAddr::V6(at)) => format!("ipv6:[{}]:{}", at.ip(), at.port()),
            None => endpoint.target(),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

//! What channels connect to.

use std::fmt;
use std::net::SocketAddr;

use super::endpoint::Endpoint;

/// An address of the settings, or one of those that a name of the settings stands for.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// Its number; never given out twice in a pool.
    pub(super) number: usize,
    /// The address of the settings that it belongs to, by a number.
    pub(super) origin: usize,
    pub(super) endpoint: Endpoint,
    /// It is reached with TLS.
    pub(super) secure: bool,
    /// What a name was resolved to.
    pub(super) at: Option<SocketAddr>,
    shown: String,
}

impl Destination {
    /// What an address of the settings is, or one of those that a name stands for, which is
    /// shown as `host/1.2.3.4:443`.
    pub(super) fn new(
        number: usize,
        origin: usize,
        (endpoint, secure): (&Endpoint, bool),
        at: Option<SocketAddr>,
    ) -> Destination {
        let shown = match (endpoint.name(), at) {
            (Some((host, _)), Some(at)) => format!("{host}/{at}"),
            _ => endpoint.to_string(),
        };
        Destination { number, origin, endpoint: endpoint.clone(), secure, at, shown }
    }

    /// As gRPC's C core takes it; it looks nothing up that was resolved.
    pub(super) fn target(&self) -> String {
        match self.at {
            Some(SocketAddr::V4(at)) => format!("ipv4:{at}"),
            Some(SocketAddr::V6(at)) => format!("ipv6:[{}]:{}", at.ip(), at.port()),
            None => self.endpoint.target(),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

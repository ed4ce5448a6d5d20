//! Whether a connection may be opened at a server, which is not for a tenant alone to say.

use std::net::SocketAddr;

use crate::error::ConnectError;

/// Asked before each connection to an address, and told what came of it.
pub trait Door {
    /// Whether one may be opened there now.
    ///
    /// # Errors
    /// If there is no room: the address is not connected to.
    fn enter(&self, at: SocketAddr) -> Result<(), ConnectError>;
    /// What came of a connection that might be opened; `None`: it is open.
    fn told(&self, error: Option<&ConnectError>);
}

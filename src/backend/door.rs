//! Admission of connections to a server that tenants share.

use std::net::SocketAddr;

use crate::error::ConnectError;

/// Admits each connection to an address, and records its outcome.
pub trait Door {
    /// Admits a connection.
    ///
    /// # Errors
    /// There is no room. The address must not be dialled.
    fn enter(&self, at: SocketAddr) -> Result<(), ConnectError>;
    /// Records the outcome of an admitted connection; `None`: it is open.
    fn record(&self, error: Option<&ConnectError>);
}

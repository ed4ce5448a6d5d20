//! The listener that the driver's own socket connects to.
//!
//! `postgres` dials by itself and never gives its socket back. But a session taken over
//! from the driver needs the socket: to abort it from another thread, to check it without
//! blocking, to read while it writes. So the service dials PostgreSQL, hands the stream
//! over where the driver expects its TLS layer (which need not lie over the driver's
//! socket), and lets the driver dial a listener on loopback that never accepts.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A listener for one login. A connect succeeds without an accept.
pub(super) struct Decoy(TcpListener);

impl Decoy {
    /// Listens on a free port.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new() -> io::Result<Decoy> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(Decoy)
    }

    /// Makes the driver dial it. `name` is the name that the certificate must carry.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn attract(&self, config: &mut postgres::Config, name: &str) -> io::Result<()> {
        let address = self.0.local_addr()?;
        config.host(name).hostaddr(address.ip()).port(address.port());
        Ok(())
    }
}

//! Where the driver's own socket leads to.
//!
//! `postgres` dials by itself and never gives its socket back. But a session that is taken
//! over from it needs the socket: to break it off from another thread, to look at it
//! without waiting, to read while it writes. So the service dials PostgreSQL, hands the
//! stream over where the driver expects its TLS layer (which need not lie over the
//! driver's socket), and lets the driver dial a listener on loopback that accepts nobody.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A listener for one login. Connecting to it takes no one to accept.
pub(super) struct Decoy(TcpListener);

impl Decoy {
    /// A listener at a free port.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new() -> io::Result<Decoy> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(Decoy)
    }

    /// Makes the driver dial it. `name` is what a certificate must be made out to.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn attract(&self, config: &mut postgres::Config, name: &str) -> io::Result<()> {
        let address = self.0.local_addr()?;
        config.host(name).hostaddr(address.ip()).port(address.port());
        Ok(())
    }
}

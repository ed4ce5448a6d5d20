//! Cancels a backend's statement over a separate connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::handshake::SSL_REQUEST;
use crate::backend::timed::Timed;
use crate::backend::tls::{BackendTls, Findings};
use crate::clock;
use crate::pgwire::facts::CancelKey;

/// Limit for the whole exchange, however many steps it takes.
const LIMIT: Duration = Duration::from_secs(2);
const CANCEL_REQUEST: i32 = 80_877_102;

/// Cancels the statement of one backend. Holds its secret, so no Debug.
#[derive(Clone)]
pub struct Canceller(Arc<CancelRoute>);

/// Where a cancel goes, and what shows that it may.
struct CancelRoute {
    address: SocketAddr,
    host: String,
    key: CancelKey,
    tls: Option<BackendTls>,
}

impl Canceller {
    /// A canceller for the backend with this key behind `address`; over TLS if
    /// `tls` is given, with the same checks as the backend's own.
    pub fn new(
        address: SocketAddr,
        host: String,
        key: CancelKey,
        tls: Option<BackendTls>,
    ) -> Canceller {
        Canceller(Arc::new(CancelRoute { address, host, key, tls }))
    }

    /// Asks PostgreSQL to cancel, and waits until it has closed the connection.
    ///
    /// PostgreSQL signals the backend before it closes. So after success the signal is
    /// already on its way to the process, and a backend that is idle by then drops it
    /// before it reads the next command: a late cancel cannot hit a later statement.
    ///
    /// # Errors
    /// If the request could not be sent or the close was not seen in time.
    pub fn send(&self) -> io::Result<()> {
        let until = clock::now() + LIMIT;
        let socket = TcpStream::connect_timeout(&self.0.address, LIMIT)?;
        socket.set_nodelay(true)?;
        let mut socket = Timed::new(socket, until);
        let Some(tls) = &self.0.tls else {
            return self.exchange(&mut socket);
        };
        if !tls.is_direct() {
            socket.write_all(&SSL_REQUEST)?;
            let mut answer = [0];
            socket.read_exact(&mut answer)?;
            if answer != *b"S" {
                return Err(io::Error::other("the server no longer offers TLS"));
            }
        }
        let findings = Findings::default();
        let mut stream = tls
            .configuration(&self.0.host, &findings)?
            .connect(&self.0.host, socket)
            .map_err(|e| io::Error::other(findings.fault().unwrap_or_else(|| e.to_string())))?;
        tls.confirm(&findings).map_err(io::Error::other)?;
        self.exchange(&mut stream)
    }

    fn exchange(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        let key = &self.0.key;
        let length = i32::try_from(12 + key.secret.len())
            .map_err(|_| io::Error::other("the cancel key is too long"))?;
        let mut request = Vec::with_capacity(16);
        request.extend_from_slice(&length.to_be_bytes());
        request.extend_from_slice(&CANCEL_REQUEST.to_be_bytes());
        request.extend_from_slice(&key.pid.to_be_bytes());
        request.extend_from_slice(&key.secret);
        stream.write_all(&request)?;
        stream.flush()?;
        // PostgreSQL sends no answer; it closes the stream. A close without close_notify is
        // reported as UnexpectedEof, a reset as ConnectionReset: both count as closed.
        match stream.read(&mut [0; 16]) {
            Ok(_) => Ok(()),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(())
            }
            Err(e) if is_tls_eof(&e) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// OpenSSL 3 reports a close without close_notify as "unexpected eof while reading".
fn is_tls_eof(error: &io::Error) -> bool {
    error.to_string().contains("unexpected eof")
}

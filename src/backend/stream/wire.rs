//! The stream over the socket: plaintext or TLS.
//!
//! The socket below blocks, or returns `WouldBlock`, so OpenSSL lies directly over it. The
//! stream of `postgres-openssl` is made for an async runtime, and keeps a buffer of its own
//! beside OpenSSL's for the life of the connection.

use std::io::{self, Read, Write};
use std::sync::Arc;

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{SslRef, SslStream};
use postgres::tls::ChannelBinding;

use crate::backend::stream::socket::Socket;

/// The socket as `Read` and `Write`, for OpenSSL.
#[derive(Debug)]
pub struct Wire(Arc<Socket>);

impl Wire {
    /// Over this socket.
    pub fn new(socket: Arc<Socket>) -> Wire {
        Wire(socket)
    }
}

/// True if the peer closed or reset the connection.
fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            // A server that refuses a login sends the reason and closes. The reason can
            // still be read, so a failed write must not end the login.
            Err(error) if is_cut(&error) && self.0.is_starting() => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Layer {
    Plain(Wire),
    Tls(SslStream<Wire>),
}

/// A stream to PostgreSQL.
pub struct Stream {
    layer: Layer,
    socket: Arc<Socket>,
}

/// The data for channel binding: the digest of the server's certificate.
///
/// Source: RFC 5929, tls-server-end-point: by the digest that the certificate is signed
/// with, and SHA-256 in place of MD5 and SHA-1.
fn end_point(tls: &SslRef) -> Option<Vec<u8>> {
    let certificate = tls.peer_certificate()?;
    let signed = certificate.signature_algorithm().object().nid().signature_algorithms()?;
    let digest = match signed.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        digest => MessageDigest::from_nid(digest)?,
    };
    certificate.digest(digest).ok().map(|digest| digest.to_vec())
}

impl Stream {
    /// The stream without TLS.
    pub fn plain(socket: &Arc<Socket>) -> Stream {
        let layer = Layer::Plain(Wire::new(Arc::clone(socket)));
        Stream { layer, socket: Arc::clone(socket) }
    }

    /// The stream over TLS, which is established.
    pub fn encrypted(stream: SslStream<Wire>, socket: &Arc<Socket>) -> Stream {
        Stream { layer: Layer::Tls(stream), socket: Arc::clone(socket) }
    }

    /// True if it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.layer, Layer::Tls(_))
    }

    /// The data for channel binding.
    pub fn channel_binding(&self) -> ChannelBinding {
        match &self.layer {
            Layer::Plain(_) => ChannelBinding::none(),
            Layer::Tls(stream) => end_point(stream.ssl())
                .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point),
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket, for whoever waits for it on another thread.
    pub fn shared_socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    fn read_with(&mut self, waits: bool, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.wait(waits);
        match &mut self.layer {
            Layer::Plain(stream) => stream.read(bytes),
            Layer::Tls(stream) => stream.read(bytes),
        }
    }

    /// Reads, and waits for data. 0 is the end of the stream.
    ///
    /// # Errors
    /// The system's, or those of TLS.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_with(true, bytes) {
                // TLS must write a message of its own, and the socket is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.poll(true, None, None)?;
                }
                read => return read,
            }
        }
    }

    /// Reads what has arrived.
    ///
    /// # Errors
    /// Those of `read`; `WouldBlock` if nothing has arrived.
    pub fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_with(false, bytes)
    }

    /// Writes as much as fits without waiting.
    ///
    /// # Errors
    /// The system's, or those of TLS; `WouldBlock` if nothing fits.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.wait(false);
        match &mut self.layer {
            Layer::Plain(stream) => stream.write(bytes),
            Layer::Tls(stream) => stream.write(bytes),
        }
    }
}

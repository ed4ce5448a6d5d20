//! The stream over the socket: in the clear or encrypted.
//!
//! The socket below blocks by itself, or says that it would. So TLS is a layer of OpenSSL
//! and no more: that of `postgres-openssl` is made for a runtime, and keeps a buffer of its
//! own beside OpenSSL's for as long as the connection lives.

use std::io::{self, Read, Write};
use std::sync::Arc;

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{SslRef, SslStream};
use postgres::tls::ChannelBinding;

use crate::backend::stream::socket::Socket;

/// The socket as a layer of TLS wants it.
#[derive(Debug)]
pub struct Wire(Arc<Socket>);

impl Wire {
    /// Over this socket.
    pub fn new(socket: Arc<Socket>) -> Wire {
        Wire(socket)
    }
}

/// True if the other side is gone.
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
            // A server that refuses us says why and closes. What it said can still be
            // read, so whoever logs in must get that far.
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

/// What a login over TLS is bound to: the digest of the server's certificate.
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

    /// What a login is bound to.
    pub fn channel_binding(&self) -> ChannelBinding {
        match &self.layer {
            Layer::Plain(_) => ChannelBinding::none(),
            Layer::Tls(stream) => end_point(stream.ssl())
                .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    fn read_with(&mut self, waits: bool, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.wait(waits);
        match &mut self.layer {
            Layer::Plain(stream) => stream.read(bytes),
            Layer::Tls(stream) => stream.read(bytes),
        }
    }

    /// Reads what comes, and waits for it. 0 is the end of the stream.
    ///
    /// # Errors
    /// The system's, or those of TLS.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_with(true, bytes) {
                // TLS has something to say for itself, which does not go out at once.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.poll(true, None, None)?;
                }
                read => return read,
            }
        }
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// As for `read`; `WouldBlock` if nothing has come.
    pub fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_with(false, bytes)
    }

    /// Writes what goes out at once.
    ///
    /// # Errors
    /// The system's, or those of TLS; `WouldBlock` if nothing goes out.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.wait(false);
        match &mut self.layer {
            Layer::Plain(stream) => stream.write(bytes),
            Layer::Tls(stream) => stream.write(bytes),
        }
    }
}

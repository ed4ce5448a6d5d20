//! One call of `grpc.health.v1.Health/Check` on a connection of its own.
//!
//! Written by hand, because a gRPC channel verifies certificates, and the service need not prove
//! its certificate to itself. A channel also reuses its connection, but new connections are what
//! must be tested.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::X509;

use crate::clock;
use crate::threads::stop::Stopped;

/// How often it checks whether it must stop.
const SLICE: Duration = Duration::from_millis(100);
/// The most frames read; an answer has a handful.
const FRAMES: usize = 32;
const FRAME_BYTES: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// How the service's port is reached where it speaks TLS.
pub(super) struct ProbeTls {
    /// A certificate and its key, if clients are asked for one.
    pub(super) own: Option<(X509, PKey<Private>)>,
}

/// Makes the call; any answer is a success. Passes the connection's local address to `connected` as
/// soon as there is one.
///
/// # Errors
/// If no answer comes within `limit`, or the service stops.
pub(super) fn ask(
    address: SocketAddr,
    tls: Option<&ProbeTls>,
    limit: Duration,
    stopped: &Stopped,
    connected: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let until = clock::now() + limit;
    let stream = TcpStream::connect_timeout(&address, limit)?;
    connected(stream.local_addr()?);
    stream.set_nodelay(true)?;
    let stream = Bounded { stream, until, stopped };
    let Some(tls) = tls else { return call(stream) };
    // A connector would read all certificates that the system trusts, each time.
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_verify(SslVerifyMode::NONE);
    context.set_alpn_protos(b"\x02h2")?;
    if let Some((certificate, key)) = &tls.own {
        context.set_certificate(certificate)?;
        context.set_private_key(key)?;
    }
    let ours = Ssl::new(&context.build())?;
    call(ours.connect(stream).map_err(|error| io::Error::other(error.to_string()))?)
}

/// A stream whose operations together are limited by a deadline, and end when the service stops.
#[derive(Debug)]
struct Bounded<'a> {
    stream: TcpStream,
    until: Instant,
    stopped: &'a Stopped,
}

impl Bounded<'_> {
    fn retry<T>(
        &self,
        mut operation: impl FnMut(&TcpStream, Duration) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            match operation(&self.stream, clock::left(self.until)?.min(SLICE)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(|mut stream, limit| {
            stream.set_read_timeout(Some(limit))?;
            stream.read(buffer)
        })
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry(|mut stream, limit| {
            stream.set_write_timeout(Some(limit))?;
            stream.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The call over HTTP/2.
fn call(mut stream: impl Read + Write) -> io::Result<()> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &headers()));
    // An empty request asks about the server as a whole.
    bytes.extend(frame(DATA, END_STREAM, 1, &[0; 5]));
    stream.write_all(&bytes)?;
    for _ in 0..FRAMES {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if length > FRAME_BYTES {
            return Err(io::Error::other("a frame is too large"));
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        match (kind, id) {
            (DATA, 1) if length > 0 => return Ok(()),
            (HEADERS, 1) if flags & END_STREAM != 0 => {
                return Err(io::Error::other("the call failed"));
            }
            (SETTINGS, 0) if flags & ACK == 0 => {
                stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
            }
            (RST_STREAM, 1) => return Err(io::Error::other("the call was reset")),
            (GOAWAY, _) => {
                return Err(io::Error::other("the server closed the connection (GOAWAY)"))
            }
            _ => {}
        }
    }
    Err(io::Error::other("no answer within the first frames"))
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    // Our frames have only a few bytes.
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The headers of the call, as literals that are not indexed (RFC 7541, 6.2.2).
fn headers() -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // All shorter than 127 bytes, which would take a longer form.
            block.push(u8::try_from(text.len()).unwrap_or_default());
            block.extend(text.as_bytes());
        }
    }
    block
}

#[cfg(test)]
mod tests;

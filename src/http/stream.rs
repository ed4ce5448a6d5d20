//! A client's connection, with or without TLS. Each step ends by a deadline.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use openssl::ssl::SslStream;

use crate::clock;

/// A connection.
pub(super) enum HttpStream {
    /// Without TLS.
    Plain(TimedSocket),
    /// With TLS, after its handshake.
    Tls(SslStream<TimedSocket>),
}

/// A socket whose reads and writes end by a deadline, however little the client does at a time.
pub(super) struct TimedSocket {
    socket: Arc<TcpStream>,
    until: Instant,
}

impl TimedSocket {
    /// A socket, to be used until then.
    pub(super) fn new(socket: Arc<TcpStream>, until: Instant) -> TimedSocket {
        TimedSocket { socket, until }
    }
}

impl Read for TimedSocket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(clock::left(self.until)?))?;
        (&*self.socket).read(bytes)
    }
}

impl Write for TimedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(clock::left(self.until)?))?;
        (&*self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl HttpStream {
    /// A connection without TLS.
    pub(super) fn plain(socket: Arc<TcpStream>) -> HttpStream {
        HttpStream::Plain(TimedSocket::new(socket, clock::now()))
    }

    /// Reads what is there, or waits for it; 0 at the end.
    ///
    /// # Errors
    /// The connection broke, or nothing came by `until`.
    pub(super) fn read(&mut self, bytes: &mut [u8], until: Instant) -> io::Result<usize> {
        self.timed().until = until;
        match self {
            HttpStream::Plain(socket) => socket.read(bytes),
            HttpStream::Tls(stream) => stream.read(bytes),
        }
    }

    /// Writes a part, of which it returns the length.
    ///
    /// # Errors
    /// The connection broke, or nothing was taken by `until`.
    pub(super) fn write(&mut self, bytes: &[u8], until: Instant) -> io::Result<usize> {
        self.timed().until = until;
        match self {
            HttpStream::Plain(socket) => socket.write(bytes),
            HttpStream::Tls(stream) => stream.write(bytes),
        }
    }

    /// Tells the client that nothing more comes.
    ///
    /// # Errors
    /// The connection broke, or this was not taken by `until`.
    pub(super) fn end(&mut self, until: Instant) -> io::Result<()> {
        self.timed().until = until;
        if let HttpStream::Tls(stream) = self {
            // A client that has closed is told nothing.
            let _ = stream.shutdown();
        }
        self.timed().socket.shutdown(Shutdown::Write)
    }

    /// The socket itself: what a client sends after the end is not read as TLS any more.
    pub(super) fn timed(&mut self) -> &mut TimedSocket {
        match self {
            HttpStream::Plain(socket) => socket,
            HttpStream::Tls(stream) => stream.get_mut(),
        }
    }
}

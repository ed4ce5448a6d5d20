//! The stream over the socket: in the clear or encrypted.
//!
//! TLS comes from `postgres-openssl`, whose stream is made for a runtime. Here nothing
//! ever waits for one: the socket below blocks by itself, or says that it would.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsStream};
use postgres_openssl::MakeTlsConnector;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

fn or_pending<T>(done: io::Result<T>) -> Poll<io::Result<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        or_pending(self.0.read(buf.initialize_unfilled()).map(|read| buf.advance(read)))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.0.write(buf) {
            // A server that refuses us says why and closes. What it said can still be
            // read, so whoever logs in must get that far.
            Err(error) if is_cut(&error) && self.0.is_starting() => Poll::Ready(Ok(buf.len())),
            written => or_pending(written),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The TLS layer over the socket.
type Encrypted = <MakeTlsConnector as MakeTlsConnect<Wire>>::Stream;

enum Layer {
    Plain(Wire),
    Tls(Box<Encrypted>),
}

/// A stream to PostgreSQL.
pub struct Stream {
    layer: Layer,
    socket: Arc<Socket>,
}

/// Nobody waits for anything: what would block says so.
fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Stream {
    /// The stream without TLS.
    pub fn plain(socket: &Arc<Socket>) -> Stream {
        let layer = Layer::Plain(Wire::new(Arc::clone(socket)));
        Stream { layer, socket: Arc::clone(socket) }
    }

    /// The stream over TLS, which is established.
    pub fn encrypted(stream: Encrypted, socket: &Arc<Socket>) -> Stream {
        Stream { layer: Layer::Tls(Box::new(stream)), socket: Arc::clone(socket) }
    }

    /// True if it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.layer, Layer::Tls(_))
    }

    /// What a login is bound to.
    pub fn channel_binding(&self) -> ChannelBinding {
        match &self.layer {
            Layer::Plain(_) => ChannelBinding::none(),
            Layer::Tls(stream) => stream.channel_binding(),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    fn read_with(&mut self, waits: bool, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.wait(waits);
        let mut buf = ReadBuf::new(bytes);
        now(|cx| match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Layer::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut buf),
        })?;
        Ok(buf.filled().len())
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
        now(|cx| match &mut self.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Layer::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        })
    }
}

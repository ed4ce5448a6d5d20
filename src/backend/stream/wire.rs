//! The stream over the socket: plaintext or TLS.
//!
//! The socket below blocks, or returns `WouldBlock`, so OpenSSL lies directly over it. The
//! stream of `postgres-openssl` is made for an async runtime, and keeps a buffer of its own
//! beside OpenSSL's for the life of the connection.

use std::io::{self, Read, Write};
use std::sync::Arc;

use openssl::error::ErrorStack;
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

/// Forgets what other work on this thread has left in OpenSSL's queue of errors: where TLS has to
/// wait, OpenSSL looks there for the reason, and would call the connection broken.
fn of_this_thread(stream: &mut SslStream<Wire>) -> &mut SslStream<Wire> {
    drop(ErrorStack::get());
    stream
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
            Layer::Tls(stream) => of_this_thread(stream).read(bytes),
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
            Layer::Tls(stream) => of_this_thread(stream).write(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::pkey::{PKey, Private};
    use openssl::ssl::{SslAcceptor, SslConnector, SslMethod, SslVerifyMode, SslVersion};
    use openssl::x509::X509;

    use super::*;
    use crate::backend::stream::socket::NoData;
    use crate::config::dsn::Dsn;
    use crate::config::TcpKeepalive;

    /// Tickets that the server sends before any data.
    const TICKETS: usize = 20_000;

    fn key() -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
    }

    fn certificate(key: &PKey<Private>) -> X509 {
        let mut certificate = X509::builder().expect("a builder");
        certificate.set_pubkey(key).expect("a key");
        let (from, to) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(1));
        certificate.set_not_before(&from.expect("a time")).expect("a time");
        certificate.set_not_after(&to.expect("a time")).expect("a time");
        certificate.sign(key, MessageDigest::sha256()).expect("it is signed");
        certificate.build()
    }

    fn acceptor(tickets: usize) -> SslAcceptor {
        let key = key();
        let mut acceptor =
            SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).expect("TLS 1.3");
        acceptor.set_private_key(&key).expect("a key");
        acceptor.set_certificate(&certificate(&key)).expect("a certificate");
        acceptor.set_num_tickets(tickets).expect("tickets");
        acceptor.build()
    }

    /// A server of one connection, and where it listens.
    #[allow(clippy::disallowed_methods)]
    fn serve<T: Send + 'static>(
        with: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (SocketAddr, thread::JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        (address, thread::spawn(move || with(listener.accept().expect("a connection").0)))
    }

    fn connect(address: SocketAddr) -> (Stream, Arc<Socket>) {
        let dsn = Dsn::parse("postgres://u@127.0.0.1/d").expect("a DSN");
        let with = (&dsn, TcpKeepalive::default());
        let socket = Socket::connect(address, with, Duration::from_secs(60)).expect("a socket");
        let socket = Arc::new(socket);
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        connector.set_verify(SslVerifyMode::NONE);
        connector.set_min_proto_version(Some(SslVersion::TLS1_3)).expect("TLS 1.3");
        let configuration = connector.build().configure().expect("TLS").verify_hostname(false);
        let tls = configuration.connect("h", Wire::new(Arc::clone(&socket))).expect("TLS");
        socket.is_started();
        (Stream::encrypted(tls, &socket), socket)
    }

    #[test]
    fn records_without_data_hold_up_nobody_who_does_not_wait_and_end_for_who_waits() {
        // Ends with the connection, or with all tickets sent.
        let (address, server) = serve(|near| drop(acceptor(TICKETS).accept(near)));
        let (mut stream, socket) = connect(address);
        let mut bytes = [0; 16];
        for _ in 0..3 {
            socket.poll(false, None, None).expect("tickets come");
            let before = socket.reads();
            let read = stream.try_read(&mut bytes).expect_err("no data comes");
            assert_eq!(read.kind(), io::ErrorKind::WouldBlock);
            assert!(socket.reads() - before <= 33, "{}", socket.reads() - before);
        }
        let error = stream.read(&mut bytes).expect_err("no data comes");
        assert!(error.get_ref().is_some_and(|error| error.is::<NoData>()), "{error}");
        socket.break_off();
        drop(stream);
        server.join().expect("no panic");
    }

    #[test]
    fn errors_that_other_work_on_the_thread_has_left_break_no_connection() {
        let (address, server) = serve(|near| acceptor(2).accept(near).expect("a handshake"));
        let (mut stream, _socket) = connect(address);
        let mut server = server.join().expect("no panic");
        let mut bytes = [0; 16];
        // What belongs to the handshake still: OpenSSL itself forgets errors before it.
        let early = stream.try_read(&mut bytes).expect_err("nothing has come");
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "{early}");
        // As does a certificate that has not signed itself.
        let (signed, other) = (certificate(&key()), key());
        let leave_an_error = || assert!(!signed.verify(&other).expect("an answer"));
        leave_an_error();
        let nothing = stream.try_read(&mut bytes).expect_err("nothing has come");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock, "{nothing}");
        leave_an_error();
        assert_eq!(stream.try_write(b"here").expect("it fits"), 4);
        server.write_all(b"there").expect("it is sent");
        assert_eq!(stream.read(&mut bytes).expect("it has come"), 5);
    }
}

//! Servers that are not PostgreSQL: a TLS front with any certificate, and one that
//! only listens.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::ssl::{
    select_next_proto, AlpnError, NameType, SslAcceptor, SslMethod, SslOptions, SslStream,
    SslVersion,
};
use openssl::x509::X509;

use crate::harness::pki::Pair;

/// What a front does with a connection.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Confirms ALPN.
    pub alpn: bool,
    /// Hands what comes to this port without TLS; otherwise it closes after the
    /// handshake.
    pub to: Option<u16>,
    /// Its newest version.
    pub newest: SslVersion,
}

pub const CLOSES: Manner = Manner { alpn: false, to: None, newest: SslVersion::TLS1_3 };

/// A TLS server on this machine.
pub struct Front {
    pub port: u16,
    manner: Manner,
    acceptor: Arc<Mutex<SslAcceptor>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// One handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// TLS came first, without an SSLRequest.
    pub direct: bool,
    pub server_name: Option<String>,
    pub alpn: Option<String>,
}

impl Front {
    pub fn new(pair: &Pair, manner: Manner) -> Front {
        let acceptor = Arc::new(Mutex::new(acceptor(pair, manner)));
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (log, current) = (Arc::clone(&seen), Arc::clone(&acceptor));
        let port = listen(move |socket| {
            let (acceptor, log) = (current.lock().unwrap().clone(), Arc::clone(&log));
            background(move || serve(socket, &acceptor, &log, manner));
        });
        Front { port, manner, acceptor, seen }
    }

    /// From now on it has another certificate.
    pub fn shows(&self, pair: &Pair) {
        *self.acceptor.lock().unwrap() = acceptor(pair, self.manner);
    }

    /// The handshakes that have succeeded.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn acceptor(pair: &Pair, manner: Manner) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    let chain = X509::stack_from_pem(&pair.cert).unwrap();
    builder.set_certificate(&chain[0]).unwrap();
    builder.set_private_key(&pair.key).unwrap();
    builder.set_max_proto_version(Some(manner.newest)).unwrap();
    if manner.newest == SslVersion::TLS1_1 {
        builder.clear_options(SslOptions::NO_TLSV1_1);
        builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    }
    if manner.alpn {
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x0apostgresql", offered).ok_or(AlpnError::ALERT_FATAL)
        });
    }
    builder.build()
}

fn listen(mut serve: impl FnMut(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    background(move || listener.incoming().for_each(|socket| serve(socket.unwrap())));
    port
}

#[allow(clippy::disallowed_methods)] // A test's own, ended with the test's process.
fn background(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

fn serve(mut socket: TcpStream, acceptor: &SslAcceptor, log: &Mutex<Vec<Seen>>, manner: Manner) {
    let mut first = [0];
    let direct = socket.peek(&mut first).is_ok() && first == [22];
    if !direct {
        if socket.read_exact(&mut [0; 8]).is_err() {
            return;
        }
        socket.write_all(b"S").unwrap();
    }
    let Ok(stream) = acceptor.accept(socket) else { return };
    let ssl = stream.ssl();
    let alpn = ssl.selected_alpn_protocol();
    log.lock().unwrap().push(Seen {
        direct,
        server_name: ssl.servername(NameType::HOST_NAME).map(str::to_owned),
        alpn: alpn.map(|name| String::from_utf8(name.to_vec()).unwrap()),
    });
    if let Some(port) = manner.to {
        relay(stream, TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    }
}

/// Both ways on one thread, for a TLS stream cannot be read and written on two.
fn relay(mut near: SslStream<TcpStream>, mut far: TcpStream) {
    let pause = Some(Duration::from_millis(2));
    near.get_ref().set_read_timeout(pause).unwrap();
    far.set_read_timeout(pause).unwrap();
    while pass(&mut near, &mut far) && pass(&mut far, &mut near) {}
}

/// Hands on what has come; false at the end.
fn pass(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut bytes = [0; 4096];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(n) => to.write_all(&bytes[..n]).is_ok(),
        Err(error) => {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        }
    }
}

/// A server that takes connections and never says a word.
pub fn mute() -> u16 {
    let mut kept = Vec::new();
    listen(move |socket| kept.push(socket))
}

/// A server that has no process for anybody, and says so in clear text.
pub fn overloaded(words: &'static str) -> u16 {
    listen(move |mut socket| {
        if socket.read_exact(&mut [0; 8]).is_ok() {
            let _ = socket.write_all(format!("E{words}\n\0").as_bytes());
        }
    })
}

/// A server without TLS that asks for the password in clear text, and gathers
/// whatever comes after that.
pub fn curious() -> (u16, crossbeam_channel::Receiver<Vec<u8>>) {
    let (tell, told) = crossbeam_channel::unbounded();
    let port = listen(move |mut socket| {
        let mut length = [0; 4];
        socket.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        socket.read_exact(&mut startup).unwrap();
        if startup == [4, 210, 22, 47] {
            socket.write_all(b"N").unwrap();
            socket.read_exact(&mut length).unwrap();
            startup = vec![0; u32::from_be_bytes(length) as usize - 4];
            socket.read_exact(&mut startup).unwrap();
        }
        socket.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        let _ = tell.send(rest);
    });
    (port, told)
}

//! TLS of the HTTP ports, with the certificate of gRPC.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    ErrorCode, HandshakeError, SslAcceptor, SslMethod, SslOptions, SslSessionCacheMode, SslVersion,
};
use openssl::x509::X509;

use crate::core::quoted::Quoted;
use crate::http::stream::{HttpStream, TimedSocket};
use crate::lock::Leaf;
use crate::logging;

/// A certificate chain and its key, in PEM.
pub type PemPair = (Vec<u8>, Vec<u8>);
/// Returns the pair in force; `None`: there is none.
pub type PemSource = Box<dyn Fn() -> Option<PemPair> + Send + Sync>;

/// What handshakes are made with. A new pair holds from the next handshake on.
#[derive(Default)]
pub(super) struct HttpTls {
    source: OnceLock<PemSource>,
    made: Leaf<Option<(PemPair, SslAcceptor)>>,
}

impl HttpTls {
    /// Handshakes are made with the pairs from here. Until this is called none succeeds.
    ///
    /// # Errors
    /// OpenSSL does not take the pair.
    pub(super) fn begin(&self, source: PemSource) -> io::Result<()> {
        let _ = self.source.set(source);
        self.acceptor().map(drop)
    }

    /// A handshake, to be over by `until`. One that fails is logged, at a bounded rate.
    ///
    /// # Errors
    /// It failed.
    pub(super) fn accept(&self, socket: Arc<TcpStream>, until: Instant) -> io::Result<HttpStream> {
        let peer = socket.peer_addr();
        let accepted = self.acceptor()?.accept(TimedSocket::new(socket, until));
        accepted.map(HttpStream::Tls).map_err(|error| {
            let peer = peer.map_or_else(|_| String::new(), |peer| peer.to_string());
            let (reason, why) = reason_of(&error);
            tell(reason, &peer, &why);
            io::Error::other(why)
        })
    }

    fn acceptor(&self) -> io::Result<SslAcceptor> {
        let pair = self.source.get().and_then(|source| source());
        let pair = pair.ok_or_else(|| io::Error::other("there is no certificate"))?;
        let made = self.made.lock();
        if let Some((_, acceptor)) = made.as_ref().filter(|(of, _)| *of == pair) {
            return Ok(acceptor.clone());
        }
        drop(made);
        let acceptor = acceptor_of(&pair)?;
        let before = self.made.lock().replace((pair, acceptor.clone()));
        drop(before);
        Ok(acceptor)
    }
}

/// TLS 1.2 or 1.3, with Mozilla's ciphers; nothing of a session is kept, and it is not negotiated
/// again.
fn acceptor_of((chain, key): &PemPair) -> Result<SslAcceptor, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    // A key with a passphrase is refused, and not asked about on the terminal.
    let key = PKey::private_key_from_pem_callback(key, |_| Ok(0))?;
    builder.set_private_key(&key)?;
    for (place, certificate) in X509::stack_from_pem(chain)?.into_iter().enumerate() {
        match place {
            0 => builder.set_certificate(&certificate)?,
            _ => builder.add_extra_chain_cert(certificate)?,
        }
    }
    Ok(builder.build())
}

/// Why a handshake failed, in a word of ours and in those of OpenSSL.
fn reason_of(error: &HandshakeError<TimedSocket>) -> (&'static str, String) {
    match error {
        HandshakeError::SetupFailure(error) => ("tls", error.to_string()),
        HandshakeError::WouldBlock(_) => ("timed_out", "the handshake timed out".to_owned()),
        HandshakeError::Failure(stream) => {
            let error = stream.error();
            let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
            let reason = match error.code() {
                _ if error.io_error().is_some_and(timed_out) => "timed_out",
                ErrorCode::SSL => "tls",
                _ => "closed",
            };
            (reason, error.to_string())
        }
    }
}

/// Logs a failed handshake. A check of whether the port is open deserves no warning.
fn tell(reason: &'static str, peer: &str, why: &str) {
    let level = if reason == "closed" { log::Level::Debug } else { log::Level::Warn };
    // A line below the filter is not counted as left out.
    if !log::log_enabled!(level) {
        return;
    }
    if let Some(repeated) = logging::admits_state_of_all("http_handshake_failed", reason) {
        let error = Quoted(why);
        log::log!(
            level,
            "event=http_handshake_failed reason={reason} peer={peer} error={error}{repeated}"
        );
    }
}

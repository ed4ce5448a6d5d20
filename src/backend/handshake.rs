//! The first steps on a new socket: SSL request and TLS handshake.

use std::future::{ready, Ready};
use std::io::{Read, Write};
use std::sync::Arc;

use openssl::ssl::{ConnectConfiguration, HandshakeError};
use postgres::tls::{MakeTlsConnect, TlsConnect};

use crate::backend::conversation::Conversation;
use crate::backend::lent::{Lent, Loan};
use crate::backend::login::Login;
use crate::backend::refusal::Refusal;
use crate::backend::stream::socket::Socket;
use crate::backend::stream::watch::Watch;
use crate::backend::stream::wire::{Stream, Wire};
use crate::backend::tls::{BackendTls, Findings};
use crate::config::dsn::{self, Dsn, RequireAuth, SslMode};

/// The bytes of an SSLRequest message.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Makes one connection's stream. The driver takes it as its TLS layer.
#[derive(Clone)]
pub struct Connector {
    socket: Arc<Socket>,
    watch: Arc<Watch>,
    mode: SslMode,
    tls: BackendTls,
    bound: bool,
    required: Option<RequireAuth>,
    loan: Loan,
}

impl Connector {
    /// A connector for one attempt at one server, to which `socket` leads.
    pub fn new(dsn: &Dsn, tls: BackendTls, socket: Arc<Socket>, watch: Arc<Watch>) -> Connector {
        let (mode, required) = (dsn.tls.mode, dsn.require_auth.clone());
        let bound = dsn.tls.channel_binding == dsn::ChannelBinding::Require;
        Connector { socket, watch, mode, tls, bound, required, loan: Loan::default() }
    }

    /// The loan of the conversation to the driver.
    pub(super) fn loan(&self) -> Loan {
        self.loan.clone()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl MakeTlsConnect<postgres::Socket> for Connector {
    type Stream = Lent;
    type TlsConnect = Handshake;
    type Error = BoxError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, BoxError> {
        let findings = Findings::default();
        let encrypt = self.tls.configuration(domain, &findings)?;
        Ok(Handshake { plan: self.clone(), encrypt, domain: domain.to_owned(), findings })
    }
}

/// The first steps on a fresh socket: SSL request, handshake.
pub struct Handshake {
    plan: Connector,
    encrypt: ConnectConfiguration,
    domain: String,
    findings: Findings,
}

impl TlsConnect<postgres::Socket> for Handshake {
    type Stream = Lent;
    type Error = BoxError;
    type Future = Ready<Result<Lent, BoxError>>;

    /// The driver's own socket is connected to the decoy and is not used: the driver never
    /// returns its socket. Ours blocks by itself.
    fn connect(self, _: postgres::Socket) -> Self::Future {
        let (loan, watch) = (self.plan.loan(), Arc::clone(&self.plan.watch));
        let mut login = Login::by(self.plan.required.clone());
        ready(self.run().map(|stream| {
            if stream.is_encrypted() {
                login.encrypted();
            }
            loan.lend(Conversation::new(stream, watch), login)
        }))
    }
}

impl Handshake {
    fn run(self) -> Result<Stream, BoxError> {
        let Handshake { plan, encrypt, domain, findings } = self;
        let mut stream = Wire::new(Arc::clone(&plan.socket));
        let mismatch = |why: &str| Refusal::Mismatch(why.to_owned());
        let mode = plan.mode.as_str();
        let is_encrypted = match plan.mode {
            SslMode::Disable => false,
            _ if plan.tls.is_direct() => true,
            _ => {
                stream.write_all(&SSL_REQUEST)?;
                let mut answer = [0];
                stream.read_exact(&mut answer)?;
                match (answer, plan.mode) {
                    ([b'S'], _) => true,
                    ([b'N'], SslMode::Prefer) => false,
                    ([b'N'], _) => {
                        let why = format!("{NO_TLS} sslmode={mode} asks for it");
                        return Err(Refusal::Mismatch(why).into());
                    }
                    // PostgreSQL could not start a process. An error text may follow; it is
                    // not authenticated by TLS and must not be trusted.
                    ([b'E'], _) => return Err(Refusal::Unavailable.into()),
                    _ => {
                        return Err(mismatch("the server did not understand the SSL request").into())
                    }
                }
            }
        };
        if !is_encrypted {
            if plan.bound {
                return Err(mismatch(UNBOUND).into());
            }
            return Ok(Stream::plain(&plan.socket));
        }
        let stream = encrypt.connect(&domain, stream).map_err(|error| match findings.fault() {
            Some(fault) => Refusal::Untrusted(fault).into(),
            None => failed(error),
        })?;
        plan.tls.confirm(&findings).map_err(Refusal::Mismatch)?;
        Ok(Stream::encrypted(stream, &plan.socket))
    }
}

/// The cause of a failed handshake.
fn failed(error: HandshakeError<Wire>) -> BoxError {
    match error {
        HandshakeError::SetupFailure(error) => error.into(),
        HandshakeError::Failure(half) | HandshakeError::WouldBlock(half) => {
            half.into_error().into()
        }
    }
}

/// The error for a server without TLS, followed by the mode.
const NO_TLS: &str = "the server does not support TLS, but";

/// The error of `channel_binding=require` on a connection without TLS.
const UNBOUND: &str = "channel_binding=require needs TLS, which the server does not support";

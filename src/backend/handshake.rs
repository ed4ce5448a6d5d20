//! The first steps on a fresh socket: the SSL request and the TLS handshake.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres::Socket;
use postgres_openssl::MakeTlsConnector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::bundled::{BundledStream, Bundles};
use crate::backend::login::Login;
use crate::backend::tls::{Findings, Tls};
use crate::backend::transport::{Breakable, Watch, WatchedStream};
use crate::config::dsn::{self, Dsn, RequireAuth, SslMode};

/// The bytes of an SSLRequest message.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Makes one connection's watched stream; given to the driver as its TLS layer.
#[derive(Clone)]
pub struct Connector {
    watch: Arc<Watch>,
    mode: SslMode,
    tls: Tls,
    bound: bool,
    required: Option<RequireAuth>,
    limit: Duration,
    bundles: Bundles,
}

impl Connector {
    /// A connector for one attempt at one server, reporting to `watch`. The server
    /// has `limit` to become ready.
    pub fn new(dsn: &Dsn, tls: Tls, watch: Arc<Watch>, limit: Duration) -> Connector {
        let (mode, required) = (dsn.tls.mode, dsn.require_auth.clone());
        let bound = dsn.tls.channel_binding == dsn::ChannelBinding::Require;
        Connector { watch, mode, tls, bound, required, limit, bundles: Bundles::default() }
    }

    /// How the stream is told what to bundle.
    pub(super) fn bundles(&self) -> Bundles {
        self.bundles.clone()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl MakeTlsConnect<Socket> for Connector {
    type Stream = BundledStream<WatchedStream>;
    type TlsConnect = Handshake;
    type Error = BoxError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, BoxError> {
        let findings = Findings::default();
        let mut tls = self.tls.driver(&findings);
        let encrypt = MakeTlsConnect::<Breakable>::make_tls_connect(&mut tls, domain)?;
        Ok(Handshake { plan: self.clone(), encrypt, findings })
    }
}

/// The first steps on a fresh socket: SSL request, handshake.
pub struct Handshake {
    plan: Connector,
    encrypt: <MakeTlsConnector as MakeTlsConnect<Breakable>>::TlsConnect,
    findings: Findings,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = BundledStream<WatchedStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, BoxError>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let bundles = self.plan.bundles();
            Ok(BundledStream::new(self.run(socket).await?, bundles))
        })
    }
}

impl Handshake {
    async fn run(self, socket: Socket) -> Result<WatchedStream, BoxError> {
        let Handshake { plan, encrypt, findings } = self;
        // A server that was tried before may have left half a message.
        plan.watch.start_anew(Login::by(plan.required));
        let mut stream = Breakable::new(socket, &plan.watch, plan.limit);
        let mismatch = |why: &str| Refusal::Mismatch(why.to_owned());
        let mode = plan.mode.as_str();
        let is_encrypted = match plan.mode {
            SslMode::Disable => false,
            _ if plan.tls.is_direct() => true,
            _ => {
                stream.write_all(&SSL_REQUEST).await?;
                stream.flush().await?;
                match (stream.read_u8().await?, plan.mode) {
                    (b'S', _) => true,
                    (b'N', SslMode::Prefer) => false,
                    (b'N', _) => {
                        let why = format!("{NO_TLS} sslmode={mode} asks for it");
                        return Err(Refusal::Mismatch(why).into());
                    }
                    // PostgreSQL could not make a process for it. More words may
                    // follow; as they come without TLS, they are not to be believed.
                    (b'E', _) => return Err(Refusal::Unserved.into()),
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
            return Ok(WatchedStream::plain(stream));
        }
        let stream = encrypt.connect(stream).await.map_err(|error| match findings.fault() {
            Some(fault) => Refusal::Untrusted(fault).into(),
            None => error,
        })?;
        plan.tls.confirm(&findings).map_err(Refusal::Mismatch)?;
        Ok(WatchedStream::encrypted(stream, plan.watch))
    }
}

/// Why the first steps failed, where the words of the driver or of the system
/// would not say it.
#[derive(Debug)]
pub enum Refusal {
    /// The server and the DSN do not go together.
    Mismatch(String),
    /// The server's certificate does not stand up to what is checked.
    Untrusted(String),
    /// The server was silent for as long as it had.
    Mute,
    /// The server can serve nobody now.
    Unserved,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Mismatch(why) | Refusal::Untrusted(why) => f.write_str(why),
            Refusal::Mute => f.write_str("the server does not answer"),
            Refusal::Unserved => f.write_str(UNSERVED),
        }
    }
}

impl std::error::Error for Refusal {}

/// What is said of a server that fails before it can say more in safety.
pub const UNSERVED: &str = "the server answers the SSL request with an error";

/// What is said of a server without TLS, followed by the mode.
const NO_TLS: &str = "the server does not support TLS, but";

/// What `channel_binding=require` says of a connection without TLS.
const UNBOUND: &str = "channel_binding=require needs TLS, which the server does not support";

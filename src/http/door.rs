//! What one port of HTTP serves, to whom, and whether over TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::clock;
use crate::core::access::{AccessDenied, Role};
use crate::http::request::HttpRequest;
use crate::http::stream::HttpStream;
use crate::http::tls::HttpTls;
use crate::logging;
use crate::pool::service::Service;

/// The pages that a port serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServedPages {
    /// `/health` and `/health/live`.
    Liveness,
    All,
}

/// Returns the socket of the pages that are served at present.
pub(super) type Upstream = Arc<dyn Fn() -> PathBuf + Send + Sync>;

/// A port of HTTP.
pub(super) struct HttpDoor {
    /// What it serves.
    pub(super) pages: ServedPages,
    /// For those whose pages are for known callers only.
    pub(super) guarded: Option<Service>,
    /// With TLS.
    pub(super) tls: Option<Arc<HttpTls>>,
    /// The pages.
    pub(super) upstream: Upstream,
}

/// The answer to a request that is not passed on to the pages.
pub(super) const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\
                                    Content-Type: text/plain; charset=utf-8\r\n\
                                    Content-Length: 10\r\n\r\nnot found\n";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

impl HttpDoor {
    /// The connection, after its handshake where there is one.
    ///
    /// # Errors
    /// The handshake failed, or was not over by `until`.
    pub(super) fn open(&self, socket: Arc<TcpStream>, until: Instant) -> io::Result<HttpStream> {
        match &self.tls {
            Some(tls) => tls.accept(socket, until),
            None => Ok(HttpStream::plain(socket)),
        }
    }

    /// Whether the pages may be asked. Liveness may be, by anybody.
    ///
    /// # Errors
    /// The whole answer instead.
    pub(super) fn admit(
        &self,
        request: &HttpRequest,
        peer: Option<SocketAddr>,
    ) -> Result<(), String> {
        if matches!(&*request.path, "/health" | "/health/live") {
            return Ok(());
        }
        if self.pages == ServedPages::Liveness {
            return Err(NOT_FOUND.to_owned());
        }
        let Some(service) = &self.guarded else { return Ok(()) };
        let denied = match known(service, request) {
            Ok(()) => return Ok(()),
            Err(denied) => denied,
        };
        service.context().tools.metrics.access_denied(denied.as_str());
        if logging::admits("http_denied", None) {
            let peer = peer.map_or_else(String::new, |peer| peer.to_string());
            let identity = denied.identity();
            let identity =
                identity.map_or_else(String::new, |known| format!(" identity={}", known.name()));
            let reason = denied.as_str();
            log::warn!("event=http_denied reason={reason} peer={peer}{identity}");
        }
        Err(refusal(&denied))
    }
}

/// Whether the caller may look at the service: as an observer or admin.
fn known(service: &Service, request: &HttpRequest) -> Result<(), AccessDenied> {
    let access = service.context().access.now();
    let seconds = i64::try_from(clock::unix_micros() / 1_000_000).unwrap_or(i64::MAX);
    access.authenticate(&request.shown, seconds)?.expect_role(Role::Observer).map(drop)
}

/// RFC 6750: a challenge, with an error only for who has shown something.
fn refusal(denied: &AccessDenied) -> String {
    let error = match denied {
        AccessDenied::Unauthenticated(failure) if failure.as_str() != "no_credentials" => {
            ", error=\"invalid_token\""
        }
        AccessDenied::Unauthenticated(_) => "",
        AccessDenied::Tenant { .. } | AccessDenied::Role { .. } => return FORBIDDEN.to_owned(),
    };
    format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer \
         realm=\"connection-pool-manager\"{error}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
}

//! The settings of TLS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grpcio::ChannelCredentials;

/// How connections are secured.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Whether they are.
    pub mode: TlsMode,
    /// A PEM file with the certificates to trust; none: the system's.
    pub ca_file: Option<String>,
    /// A PEM file with the client's certificate and its chain; together with `key_file`.
    pub cert_file: Option<String>,
    /// A PEM file with the key of that certificate.
    pub key_file: Option<String>,
    /// The name that the server's certificate must have; none: the address's host.
    pub server_name: Option<String>,
    /// Plaintext is refused, however it is said. Set by [`ServiceConfig::production`](super::ServiceConfig::production).
    pub required: bool,
    /// The files are looked at so often, and connections are replaced if they hold something
    /// new that is valid. Default 60 s; `None`: only by [`reload`](crate::client::Pool::reload).
    pub reload: Option<Duration>,
    /// Credentials that are made elsewhere; they win over all files. Not for addresses that are
    /// reached in plaintext.
    pub credentials: Option<Credentials>,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            mode: TlsMode::Auto,
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_name: None,
            required: false,
            reload: Some(Duration::from_secs(60)),
            credentials: None,
        }
    }
}

impl Tls {
    /// Something is set that only TLS has, so that TLS is meant.
    pub(super) fn is_said(&self) -> bool {
        let files = [&self.ca_file, &self.cert_file, &self.key_file, &self.server_name];
        self.credentials.is_some() || files.into_iter().any(Option::is_some)
    }
}

/// Makes gRPC's credentials, once for each connection, because gRPC's cannot be cloned.
#[derive(Clone)]
pub struct Credentials(Arc<dyn Fn() -> ChannelCredentials + Send + Sync>);

impl Credentials {
    /// Made by `make`, which must not block.
    pub fn new(make: impl Fn() -> ChannelCredentials + Send + Sync + 'static) -> Credentials {
        Credentials(Arc::new(make))
    }

    pub(in crate::client) fn make(&self) -> ChannelCredentials {
        (self.0)()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The same if they are made by the same.
impl PartialEq for Credentials {
    fn eq(&self, other: &Credentials) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Whether connections are secured. `http://` and `https://` of an address win over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Plaintext to this machine, TLS to all others.
    #[default]
    Auto,
    /// TLS.
    On,
    /// Plaintext.
    Off,
}

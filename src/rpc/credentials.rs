//! The server's certificate and key, and the authority of clients: read, checked, and read again
//! while it serves.

mod client_ca;
mod own_client;

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grpcio::{
    CertificateRequestType, ServerCredentials, ServerCredentialsBuilder, ServerCredentialsFetcher,
};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::{X509ExtendedKeyUsage, X509Ref, X509};

use crate::clock;
use crate::config::{ClientCertificates, GrpcTls};
use crate::core::quoted::Quoted;
use crate::lock::Leaf;
use crate::rpc::bind_error::{BindError, PemFile};
use client_ca::ClientCa;
pub use own_client::OwnClient;

const DAY_SECS: i64 = 24 * 60 * 60;

/// The most bytes of a file: chains have some kilobytes.
const FILE_BYTES: u64 = 1 << 20;

/// A certificate chain with its key, checked.
struct KeyPair {
    chain_pem: Vec<u8>,
    key_pem: Vec<u8>,
    /// Seconds since 1970.
    expires: i64,
}

/// The certificate of new handshakes. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<CertificateShared>);

struct CertificateShared {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<ClientCa>,
    state: Leaf<CertificateState>,
}

struct CertificateState {
    pair: KeyPair,
    /// Who signs the certificates of clients, if they are asked for any.
    client_roots_pem: Option<Vec<u8>>,
    /// gRPC has not fetched it yet.
    fresh: bool,
}

impl Certificate {
    /// Reads the pair from its files, and the clients' authority if there is one; `None` without
    /// TLS. An expiry within `warning` is logged.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn load(
        tls: &GrpcTls,
        client_ca: Option<&Path>,
        certificates: ClientCertificates,
        warning: Duration,
    ) -> Result<Option<Certificate>, BindError> {
        let GrpcTls::Files { cert, key } = tls else { return Ok(None) };
        let client_ca = client_ca.map(|path| ClientCa::new(path, certificates)).transpose()?;
        let state = Leaf::new(CertificateState::read(cert, key, client_ca.as_ref(), warning)?);
        let (cert, key) = (cert.to_owned(), key.to_owned());
        Ok(Some(Certificate(Arc::new(CertificateShared { cert, key, client_ca, state }))))
    }

    /// Reads the files again, for new connections. True: they say something else.
    ///
    /// # Errors
    /// As [`load`](Certificate::load); then everything stays as it was.
    pub fn reload(&self, warning: Duration) -> Result<bool, BindError> {
        let CertificateShared { cert, key, client_ca, state } = &*self.0;
        let read = CertificateState::read(cert, key, client_ca.as_ref(), warning)?;
        let mut state = state.lock();
        if state.is_same(&read) {
            return Ok(false);
        }
        let before = std::mem::replace(&mut *state, read);
        drop(state);
        // Keys are freed without the lock.
        drop(before);
        Ok(true)
    }

    /// When it expires, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.0.state.lock().pair.expires
    }

    /// The chain and the key in force, in PEM.
    pub(super) fn pems(&self) -> (Vec<u8>, Vec<u8>) {
        let state = self.0.state.lock();
        (state.pair.chain_pem.clone(), state.pair.key_pem.clone())
    }

    /// What gRPC serves with; it asks before each handshake.
    pub(super) fn credentials(&self) -> ServerCredentials {
        ServerCredentials::with_fetcher(Box::new(self.clone()), self.request())
    }

    /// The certificate of the service's own calls, if clients are asked for one.
    pub(super) fn own_client(&self) -> Option<&OwnClient> {
        self.0.client_ca.as_ref().map(ClientCa::own)
    }

    /// What a client is asked for in the handshake.
    fn request(&self) -> CertificateRequestType {
        let nothing = CertificateRequestType::DontRequestClientCertificate;
        self.0.client_ca.as_ref().map_or(nothing, ClientCa::request)
    }
}

impl CertificateState {
    fn read(
        cert: &Path,
        key: &Path,
        client_ca: Option<&ClientCa>,
        warning: Duration,
    ) -> Result<CertificateState, BindError> {
        let client_roots_pem = client_ca.map(|ca| ca.roots_pem(warning)).transpose()?;
        let (cert, key) = (("cert", cert), ("key", key));
        let [cert, key] = [cert, key].map(|(setting, path)| PemFile { setting, path });
        let pair = read_pair(cert, key, warning)?;
        Ok(CertificateState { pair, client_roots_pem, fresh: true })
    }

    fn is_same(&self, other: &CertificateState) -> bool {
        (&self.pair.chain_pem, &self.pair.key_pem, &self.client_roots_pem)
            == (&other.pair.chain_pem, &other.pair.key_pem, &other.client_roots_pem)
    }
}

impl ServerCredentialsFetcher for Certificate {
    fn fetch(&self) -> Result<Option<ServerCredentialsBuilder>, Box<dyn Error>> {
        let request = self.request();
        let mut state = self.0.state.lock();
        let fresh = std::mem::take(&mut state.fresh);
        Ok(fresh.then(|| {
            let CertificateState { pair, client_roots_pem, .. } = &*state;
            let builder = ServerCredentialsBuilder::new()
                .add_cert(pair.chain_pem.clone(), pair.key_pem.clone());
            match client_roots_pem {
                Some(pem) => builder.root_cert(pem.clone(), request),
                None => builder,
            }
        }))
    }
}

fn read_pair(cert: PemFile<'_>, key: PemFile<'_>, warning: Duration) -> Result<KeyPair, BindError> {
    let (chain_pem, key_pem) = (read(cert)?, read(key)?);
    if holds(&chain_pem, "PRIVATE KEY-----") && holds(&key_pem, "-----BEGIN CERTIFICATE") {
        let why = "it holds a private key, and the key's file a certificate: they are swapped";
        return Err(cert.refused(why));
    }
    let chain = X509::stack_from_pem(&chain_pem).unwrap_or_default();
    let Some(leaf) = chain.first() else {
        return Err(cert.refused("it holds no PEM certificate"));
    };
    let private = PKey::private_key_from_pem_callback(&key_pem, |_| Ok(0))
        .map_err(|_| key.refused("it holds no PEM private key without a passphrase"))?;
    let public = leaf.public_key().map_err(|_| cert.refused("its public key cannot be read"))?;
    if !private.public_eq(&public) {
        return Err(key.refused("the key does not belong to the certificate"));
    }
    serves(cert, leaf)?;
    keep_private(key, signs_itself(leaf))?;
    let expires = check_dates(cert, leaf, warning)?;
    Ok(KeyPair { chain_pem, key_pem, expires })
}

fn read(file: PemFile<'_>) -> Result<Vec<u8>, BindError> {
    let unread = |error: std::io::Error| file.refused(error.to_string());
    // A pipe would keep us waiting, a device would never end.
    let found = std::fs::metadata(file.path).map_err(unread)?;
    if !found.is_file() || found.len() > FILE_BYTES {
        return Err(file.refused(format!("it is no regular file of at most {FILE_BYTES} bytes")));
    }
    let bytes = std::fs::read(file.path).map_err(unread)?;
    if bytes.contains(&0) {
        return Err(file.refused("it holds a NUL byte, so it is not PEM"));
    }
    Ok(bytes)
}

fn holds(pem: &[u8], words: &str) -> bool {
    pem.windows(words.len()).any(|part| part == words.as_bytes())
}

fn signs_itself(leaf: &X509Ref) -> bool {
    let key = leaf.public_key();
    let signs = key.is_ok_and(|key| leaf.verify(&key).unwrap_or(false));
    // A no leaves an error in OpenSSL's queue, which the next TLS connection on this thread would
    // take for its own.
    drop(ErrorStack::get());
    signs
}

/// A certificate with purposes must have that of a server: clients take no other.
fn serves(cert: PemFile<'_>, leaf: &X509Ref) -> Result<(), BindError> {
    let server = X509ExtendedKeyUsage::SSL_SERVER | X509ExtendedKeyUsage::ANYEKU;
    match leaf.extended_key_usage() {
        Some(purposes) if !purposes.intersects(server) => {
            let why = "it is no server's certificate: its extendedKeyUsage has no serverAuth, so \
                       no client would take it";
            Err(cert.refused(why))
        }
        Some(_) | None => Ok(()),
    }
}

/// PostgreSQL's rule for a server's key: no other user may read it; a key of root may be
/// readable by its group. With a self-signed certificate, as in development, it is a warning.
fn keep_private(key: PemFile<'_>, in_development: bool) -> Result<(), BindError> {
    let file = std::fs::metadata(key.path).map_err(|e| key.refused(e.to_string()))?;
    let forbidden = if file.uid() == 0 { 0o027 } else { 0o077 };
    if file.mode() & forbidden == 0 {
        return Ok(());
    }
    let mode = file.mode() & 0o777;
    let why = format!("others can use it: its mode is {mode:04o}, 0600 or root's 0640 is allowed");
    if !in_development {
        return Err(key.refused(why));
    }
    let path = key.path.display().to_string();
    log::warn!("event=key_not_private path={} message={}", Quoted(&path), Quoted(&why));
    Ok(())
}

/// When the certificate expires, in seconds since 1970. Fails if it is not valid now.
fn check_dates(cert: PemFile<'_>, leaf: &X509Ref, warning: Duration) -> Result<i64, BindError> {
    let (from, expires) = (unix_secs(leaf.not_before()), unix_secs(leaf.not_after()));
    let now = i64::try_from(clock::unix_micros() / 1_000_000).unwrap_or(i64::MAX);
    if from > now {
        let why = format!("it is good from {} on only", leaf.not_before());
        return Err(cert.refused(why));
    }
    if expires <= now {
        return Err(cert.refused(format!("it expired at {}", leaf.not_after())));
    }
    if expires - now < i64::try_from(warning.as_secs()).unwrap_or(i64::MAX) {
        log::warn!(
            "event=certificate_expires_soon path={} days={} at={}",
            Quoted(&cert.path.display().to_string()),
            (expires - now) / DAY_SECS,
            Quoted(&leaf.not_after().to_string())
        );
    }
    Ok(expires)
}

fn unix_secs(time: &Asn1TimeRef) -> i64 {
    let since = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time));
    // A time that cannot be read counts as past.
    since.map_or(0, |since| i64::from(since.days) * DAY_SECS + i64::from(since.secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_of_a_client_is_none_of_the_service() {
        let own = own_client::make().expect("a client's certificate");
        let file = PemFile { setting: "cert", path: Path::new("cert.pem") };
        let error = serves(file, &own.certificate).expect_err("it is refused");
        assert_eq!(error.settings(), ["cert"]);
        assert!(error.to_string().contains("has no serverAuth"), "{error}");
    }
}

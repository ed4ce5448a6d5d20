//! The files of TLS, read and looked at before gRPC gets them.
//!
//! gRPC's C core tells of a bad file, or of a key that does not fit, only as an empty address
//! list, and grpcio panics over a NUL.

use std::fmt;
use std::fs::File;
use std::io::Read;

use grpcio::{ChannelCredentials, ChannelCredentialsBuilder};
use openssl::pkey::PKey;
use openssl::x509::X509;

use super::config::Tls;
use super::error::{ConfigError, Fault};

/// The roots of a whole system take 300 KB; a longer file is none of PEM.
const PEM_MAX_BYTES: u64 = 1 << 20;

/// What connections are secured with, as files hold it.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    /// `None`: the system's.
    roots: Option<Vec<u8>>,
    identity: Option<ClientIdentity>,
}

/// A certificate with its chain, and its key.
#[derive(PartialEq, Eq)]
struct ClientIdentity {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Each file that cannot be read, is not what it should be, or does not fit the other.
    pub(super) fn read(tls: &Tls) -> Result<Files, ConfigError> {
        let mut faults = Vec::new();
        let mut read = |key: &str, path: &Option<String>| {
            let read = path.as_ref().map(|path| file(path).map_err(|rule| (key.to_owned(), rule)));
            read.transpose().unwrap_or_else(|(key, rule)| {
                faults.push(Fault { key, rule });
                None
            })
        };
        let roots = read("tls.ca_file", &tls.ca_file);
        let (chain, key) =
            (read("tls.cert_file", &tls.cert_file), read("tls.key_file", &tls.key_file));
        let mut check = |key: &str, looked: Result<(), String>| {
            if let Err(rule) = looked {
                faults.push(Fault { key: key.to_owned(), rule });
            }
        };
        if let Some(roots) = &roots {
            check("tls.ca_file", certificates(roots).map(drop));
        }
        let identity = chain.zip(key).map(|(chain, key)| ClientIdentity { chain, key });
        if let Some(identity) = &identity {
            check("tls.key_file", identity.fits());
        }
        match faults.is_empty() {
            true => Ok(Files { roots, identity }),
            false => Err(ConfigError { faults }),
        }
    }

    /// Ready for one channel: gRPC's cannot be cloned.
    pub(super) fn build(&self) -> ChannelCredentials {
        let mut builder = ChannelCredentialsBuilder::new();
        if let Some(roots) = &self.roots {
            builder = builder.root_cert(roots.clone());
        }
        if let Some(ClientIdentity { chain, key }) = &self.identity {
            builder = builder.cert(chain.clone(), key.clone());
        }
        builder.build()
    }
}

/// Without the key.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (roots, identity) = (self.roots.is_some(), self.identity.is_some());
        write!(f, "Files {{ own_roots: {roots}, identity: {identity} }}")
    }
}

impl ClientIdentity {
    fn fits(&self) -> Result<(), String> {
        let chain =
            certificates(&self.chain).map_err(|rule| format!("has a cert_file that {rule}"))?;
        // Without the callback OpenSSL would ask at the terminal for a passphrase.
        let key = PKey::private_key_from_pem_callback(&self.key, |_| Ok(0))
            .map_err(|_| "must hold a private key in PEM, without a passphrase".to_owned())?;
        let of_leaf = chain.first().and_then(|leaf| leaf.public_key().ok());
        match of_leaf.is_some_and(|public| public.public_eq(&key)) {
            true => Ok(()),
            false => Err("must be the key of the certificate in tls.cert_file".to_owned()),
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<X509>, String> {
    let rule = || "must hold certificates in PEM".to_owned();
    let found = X509::stack_from_pem(pem).map_err(|_| rule())?;
    if found.is_empty() {
        return Err(rule());
    }
    Ok(found)
}

fn file(path: &str) -> Result<Vec<u8>, String> {
    let unread = |error: std::io::Error| format!("cannot be read: {path}: {error}");
    // A pipe or a device might never end, and opening a pipe might wait for ever; the keeper of
    // all services looks at these files.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(format!("must be a regular file: {path}"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(PEM_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > PEM_MAX_BYTES {
        return Err(format!("must not be longer than {PEM_MAX_BYTES} bytes: {path}"));
    }
    match bytes.contains(&0) {
        true => Err(format!("must be PEM, and has a zero byte: {path}")),
        false => Ok(bytes),
    }
}

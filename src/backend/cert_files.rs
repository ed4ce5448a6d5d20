//! The certificate files that a DSN names.
//!
//! A DSN may come from a client, so no error reveals the content of a file, nor whether a
//! file exists outside the directory set aside for them.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use openssl::pkey::PKey;
use openssl::ssl::SslConnectorBuilder;
use openssl::x509::X509;

use crate::backend::resource_exhaustion::exhaustion;
use crate::config::dsn::{DsnError, TlsKeys};
use crate::error::ConnectError;

/// More than any certificate bundle needs.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// The content of the files, by the keys that name them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CertFiles(Vec<(&'static str, Vec<u8>)>);

/// Which files a DSN may name.
#[derive(Clone, Debug)]
pub enum FileScope {
    /// Any: it is the operator's own.
    Any,
    /// Those of one directory.
    Within(PathBuf),
    None,
}

impl FileScope {
    /// For DSNs of clients, with the directory that is set aside for them.
    pub fn of_clients(dir: Option<PathBuf>) -> FileScope {
        dir.map_or(FileScope::None, FileScope::Within)
    }

    /// Checks that a DSN names only such files. No file is looked at.
    ///
    /// # Errors
    /// The key that names another.
    pub fn check(&self, keys: &TlsKeys) -> Result<(), DsnError> {
        match self {
            FileScope::Any => Ok(()),
            FileScope::Within(dir) => keys.confine(Some(dir)),
            FileScope::None => keys.confine(None),
        }
    }

    /// Where a file lies, if a DSN may name it and it exists.
    fn find(&self, name: &str) -> Option<PathBuf> {
        match self {
            FileScope::Any => Path::new(name).canonicalize().ok(),
            FileScope::Within(dir) => within(name, dir),
            FileScope::None => None,
        }
    }

    fn missing(&self) -> Unread {
        Unread::Unusable(match self {
            FileScope::Any => "must be a regular file, and is none",
            FileScope::Within(_) | FileScope::None => MISSING,
        })
    }
}

impl CertFiles {
    /// Reads the files that `keys` name, which must lie in `scope`.
    ///
    /// # Errors
    /// The key whose file cannot be read, and why.
    pub fn read(keys: &TlsKeys, scope: &FileScope) -> Result<CertFiles, ConnectError> {
        scope.check(keys).map_err(|error| ConnectError::Settings(error.to_string()))?;
        let files = keys.files().map(|(key, name)| {
            let content = content(key, name, scope);
            let failed = |unread| match unread {
                Unread::Unusable(why) => ConnectError::Settings(format!("{key}: {why}")),
                Unread::Exhausted(exhausted) => exhausted,
            };
            Ok((key, content.map_err(failed)?))
        });
        files.collect::<Result<_, ConnectError>>().map(CertFiles)
    }

    fn of(&self, key: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(own, _)| *own == key);
        found.map(|(_, content)| content.as_slice())
    }

    /// The certificates of `sslrootcert`.
    ///
    /// # Errors
    /// The file has none.
    pub fn roots(&self) -> Result<Vec<X509>, String> {
        certificates("sslrootcert", self.of("sslrootcert").unwrap_or_default())
    }

    /// Sets the client certificate of `sslcert` and `sslkey`.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn identify(&self, builder: &mut SslConnectorBuilder) -> Result<(), String> {
        let (Some(chain), Some(key)) = (self.of("sslcert"), self.of("sslkey")) else {
            return Ok(());
        };
        // Without this callback OpenSSL would prompt for a passphrase on the terminal.
        let key = PKey::private_key_from_pem_callback(key, |_| Ok(0)).map_err(|_| {
            "sslkey: the file has no private key in PEM, or one with a passphrase, which is not \
             supported"
        })?;
        let rejected = |_| "sslcert: OpenSSL rejects the certificate".to_owned();
        let mut chain = certificates("sslcert", chain)?.into_iter();
        if let Some(own) = chain.next() {
            builder.set_certificate(&own).map_err(rejected)?;
        }
        for certificate in chain {
            builder.add_extra_chain_cert(certificate).map_err(rejected)?;
        }
        let fits = builder.set_private_key(&key).and_then(|()| builder.check_private_key());
        fits.map_err(|_| "sslkey: the key does not belong to the certificate of sslcert".to_owned())
    }
}

fn certificates(key: &str, pem: &[u8]) -> Result<Vec<X509>, String> {
    match X509::stack_from_pem(pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{key}: the file has no certificate in PEM")),
    }
}

/// One text for a missing file and for a link that leads out of the directory.
const MISSING: &str = "there is no such file in the service's directory for them (--dsn-cert-dir)";

/// Why a file was not read.
enum Unread {
    Unusable(&'static str),
    Exhausted(ConnectError),
}

fn unread(error: &io::Error) -> Unread {
    exhaustion(error).map_or(Unread::Unusable("the file cannot be read"), Unread::Exhausted)
}

fn content(key: &str, name: &str, scope: &FileScope) -> Result<Vec<u8>, Unread> {
    let path = scope.find(name).ok_or_else(|| scope.missing())?;
    // Checked before it is opened: opening a named pipe would wait for its writer.
    let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(scope.missing());
    }
    let file = File::open(&path).map_err(|error| unread(&error))?;
    let metadata = file.metadata().map_err(|error| unread(&error))?;
    if key == "sslkey" && is_exposed(&metadata) {
        return Err(Unread::Unusable(
            "the file must be readable by its owner only (0600), or if root owns it, by its \
             group only (0640)",
        ));
    }
    let mut content = Vec::new();
    match file.take(FILE_MAX_BYTES + 1).read_to_end(&mut content) {
        Ok(_) if content.len() as u64 > FILE_MAX_BYTES => {
            Err(Unread::Unusable("the file is larger than 1 MiB"))
        }
        Ok(_) => Ok(content),
        Err(error) => Err(unread(&error)),
    }
}

fn within(name: &str, dir: &Path) -> Option<PathBuf> {
    let dir = dir.canonicalize().ok()?;
    let path = dir.join(name).canonicalize().ok()?;
    path.starts_with(&dir).then_some(path)
}

/// libpq's rule for private keys.
fn is_exposed(file: &Metadata) -> bool {
    let forbidden = if file.uid() == 0 { 0o027 } else { 0o077 };
    file.mode() & forbidden != 0
}

//! Certificates for development, the demo and the tests.
//!
//! A server's certificate is its own trust root unless an authority is asked for: a
//! client is given `cert.pem` as its CA file and verifies the server's name in full. An
//! authority also issues certificates of clients. None of this is meant to leave the
//! machine that made it.

mod error;
mod issue;

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::pkey::PKey;
use openssl::x509::X509;

pub use self::error::DevCertError;
use self::issue::{parse_name, CertAndKey, CertPurpose};

/// The names a certificate is made for when the caller gives none.
pub const DEFAULT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where a certificate and its private key lie, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevCerts {
    /// The certificate. One without an authority is also the CA file for clients.
    pub cert: PathBuf,
    /// The private key (PKCS#8), readable by its owner only.
    pub key: PathBuf,
    /// What was done to have them.
    pub came: Came,
}

/// How a pair came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It was there.
    Kept,
    /// It was made.
    Made,
    /// It was there and had expired; it was made anew.
    Renewed,
}

impl DevCerts {
    fn at(dir: &Path, cert: &str, key: &str) -> DevCerts {
        DevCerts { cert: dir.join(cert), key: dir.join(key), came: Came::Made }
    }

    fn of_server(dir: &Path) -> DevCerts {
        DevCerts::at(dir, "cert.pem", "key.pem")
    }

    /// Keeps the pair that is there, replaces one that has expired, or makes one.
    fn ensure(
        mut self,
        dir: &Path,
        make: impl FnOnce() -> Result<CertAndKey, DevCertError>,
    ) -> Result<DevCerts, DevCertError> {
        self.came = match (self.cert.exists(), self.key.exists()) {
            (true, true) if !is_expired(&self.cert)? => Came::Kept,
            (true, true) => Came::Renewed,
            (false, false) => Came::Made,
            (true, false) => {
                return Err(DevCertError::HalfAPair { present: self.cert, missing: self.key })
            }
            (false, true) => {
                return Err(DevCertError::HalfAPair { present: self.key, missing: self.cert })
            }
        };
        match self.came {
            Came::Kept => Ok(self),
            Came::Made => self.write(dir, &make()?, false),
            Came::Renewed => self.write(dir, &make()?, true),
        }
    }

    fn write(self, dir: &Path, pair: &CertAndKey, replace: bool) -> Result<DevCerts, DevCertError> {
        fs::create_dir_all(dir)
            .map_err(|source| DevCertError::Write { path: dir.to_path_buf(), source })?;
        let (cert_pem, key_pem) = pair.to_pem().map_err(DevCertError::Openssl)?;
        write_file(dir, &self.key, &key_pem, 0o600, replace)?;
        if let Err(error) = write_file(dir, &self.cert, &cert_pem, 0o644, replace) {
            // The key is ours, made a moment ago; alone it is of no use to anyone.
            let _ = fs::remove_file(&self.key);
            return Err(error);
        }
        Ok(self)
    }
}

/// Returns the server's pair in `dir`: makes it for `names` when neither file exists, and
/// anew when it has expired.
///
/// The names of a pair that is there are not checked.
///
/// # Errors
/// If one of the files is missing, or nothing can be written.
pub fn ensure(dir: &Path, names: &[&str]) -> Result<DevCerts, DevCertError> {
    DevCerts::of_server(dir).ensure(dir, || server(names, None))
}

/// Makes a new pair for `names` (DNS names and IP addresses) in `dir`, which
/// is created when missing. No names at all means [`DEFAULT_NAMES`].
///
/// Each file appears whole or not at all, and no existing file is replaced.
///
/// # Errors
/// If a name is none, a file exists, or nothing can be written.
pub fn write(dir: &Path, names: &[&str]) -> Result<DevCerts, DevCertError> {
    let pair = server(names, None)?;
    DevCerts::of_server(dir).write(dir, &pair, false)
}

/// Returns the authority of `dir` (`ca.pem`, `ca-key.pem`) and a server's pair issued by
/// it, making what is missing or has expired.
///
/// # Errors
/// As [`ensure`], and if a server's certificate is there that another has issued.
pub fn with_authority(dir: &Path, names: &[&str]) -> Result<[DevCerts; 2], DevCertError> {
    let issue = || CertAndKey::issue(&CertPurpose::Authority, None).map_err(DevCertError::Openssl);
    let authority = DevCerts::at(dir, "ca.pem", "ca-key.pem").ensure(dir, issue)?;
    let issuer = read_pair(&authority)?;
    let certs = DevCerts::of_server(dir).ensure(dir, || server(names, Some(&issuer)))?;
    let is_own = read_cert(&certs.cert)?.verify(&issuer.key).unwrap_or(false);
    if !is_own {
        return Err(DevCertError::Foreign { cert: certs.cert, authority: authority.cert });
    }
    Ok([authority, certs])
}

/// Returns a client's pair in `dir` (`client-NAME.pem`, `client-NAME-key.pem`), issued by
/// the authority that is there; makes it when it is missing or has expired.
///
/// # Errors
/// If the name is none for a file, there is no authority, or nothing can be written.
pub fn client(dir: &Path, name: &str) -> Result<DevCerts, DevCertError> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_known) {
        return Err(DevCertError::BadClient(name.to_owned()));
    }
    let issuer = read_pair(&DevCerts::at(dir, "ca.pem", "ca-key.pem"))?;
    let certs = DevCerts::at(dir, &format!("client-{name}.pem"), &format!("client-{name}-key.pem"));
    certs.ensure(dir, || {
        CertAndKey::issue(&CertPurpose::Client(name), Some(&issuer)).map_err(DevCertError::Openssl)
    })
}

fn server(names: &[&str], issuer: Option<&CertAndKey>) -> Result<CertAndKey, DevCertError> {
    let names = if names.is_empty() { &DEFAULT_NAMES } else { names };
    let names: Vec<_> = names.iter().map(|name| parse_name(name)).collect::<Result<_, _>>()?;
    CertAndKey::issue(&CertPurpose::Server(&names), issuer).map_err(DevCertError::Openssl)
}

fn read(path: &Path) -> Result<Vec<u8>, DevCertError> {
    fs::read(path).map_err(|source| DevCertError::Read { path: path.to_path_buf(), source })
}

fn read_cert(path: &Path) -> Result<X509, DevCertError> {
    X509::from_pem(&read(path)?).map_err(DevCertError::Openssl)
}

fn read_pair(certs: &DevCerts) -> Result<CertAndKey, DevCertError> {
    let key = PKey::private_key_from_pem(&read(&certs.key)?).map_err(DevCertError::Openssl)?;
    Ok(CertAndKey { cert: read_cert(&certs.cert)?, key })
}

/// One that cannot be read has not: it is not ours to replace.
fn is_expired(cert: &Path) -> Result<bool, DevCertError> {
    let now = Asn1Time::days_from_now(0).map_err(DevCertError::Openssl)?;
    Ok(read_cert(cert).is_ok_and(|cert| cert.not_after() <= &*now))
}

/// Writes a file under a temporary name and moves it into place.
fn write_file(
    dir: &Path,
    path: &Path,
    content: &[u8],
    mode: u32,
    replace: bool,
) -> Result<(), DevCertError> {
    let failed = |source| DevCertError::Write { path: path.to_path_buf(), source };
    // The temporary file is created with mode 0600, so a key is never open to others.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let placed = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    placed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => DevCertError::Exists(path.to_path_buf()),
        _ => failed(error.error),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;

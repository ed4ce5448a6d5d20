//! A self-signed certificate for development, the demo and the tests.
//!
//! The certificate is its own trust root: a client is given `cert.pem` as its
//! CA file and verifies the server's name in full. It is never meant to leave
//! the machine that made it.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509Builder, X509NameBuilder, X509};

/// The names a certificate is made for when the caller gives none.
pub const DEFAULT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where a certificate and its private key lie, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevCerts {
    /// The certificate, which is also the CA file for clients.
    pub cert: PathBuf,
    /// The private key (PKCS#8), readable by its owner only.
    pub key: PathBuf,
}

impl DevCerts {
    fn in_dir(dir: &Path) -> DevCerts {
        DevCerts { cert: dir.join("cert.pem"), key: dir.join("key.pem") }
    }
}

/// Returns the pair in `dir`, making it for `names` when neither file exists.
///
/// An existing pair is returned as it is: its names and dates are not checked.
pub fn ensure(dir: &Path, names: &[&str]) -> Result<DevCerts, DevCertError> {
    let certs = DevCerts::in_dir(dir);
    match (certs.cert.exists(), certs.key.exists()) {
        (true, true) => Ok(certs),
        (false, false) => write(dir, names),
        (true, false) => Err(DevCertError::HalfAPair { present: certs.cert, missing: certs.key }),
        (false, true) => Err(DevCertError::HalfAPair { present: certs.key, missing: certs.cert }),
    }
}

/// Makes a new pair for `names` (DNS names and IP addresses) in `dir`, which
/// is created when missing. No names at all means [`DEFAULT_NAMES`].
///
/// Each file appears whole or not at all, and no existing file is replaced.
pub fn write(dir: &Path, names: &[&str]) -> Result<DevCerts, DevCertError> {
    let names = if names.is_empty() { &DEFAULT_NAMES } else { names };
    let names: Vec<_> = names.iter().map(|name| parse_name(name)).collect::<Result<_, _>>()?;
    let (cert_pem, key_pem) = generate(&names).map_err(DevCertError::Openssl)?;

    fs::create_dir_all(dir)
        .map_err(|source| DevCertError::Write { path: dir.to_path_buf(), source })?;
    let certs = DevCerts::in_dir(dir);
    write_new(dir, &certs.key, &key_pem, 0o600)?;
    if let Err(error) = write_new(dir, &certs.cert, &cert_pem, 0o644) {
        // The key is ours, made a moment ago; alone it is of no use to anyone.
        let _ = fs::remove_file(&certs.key);
        return Err(error);
    }
    Ok(certs)
}

/// Why a development certificate could not be had.
#[derive(Debug)]
pub enum DevCertError {
    /// A name is neither an IP address nor a DNS name.
    BadName(String),
    /// One file of the pair exists without the other; remove it or restore the other.
    HalfAPair {
        /// The file that exists.
        present: PathBuf,
        /// The file that does not.
        missing: PathBuf,
    },
    /// The file exists already and is not overwritten.
    Exists(PathBuf),
    /// A file or directory could not be written.
    Write {
        /// What was being written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// OpenSSL refused to make the key or the certificate.
    Openssl(ErrorStack),
}

impl fmt::Display for DevCertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(f, "`{name}` is neither an IP address nor a DNS name"),
            Self::HalfAPair { present, missing } => write!(
                f,
                "{} exists but {} does not: restore it, or remove the first to make a new pair",
                present.display(),
                missing.display()
            ),
            Self::Exists(path) => write!(f, "{} exists: it is not overwritten", path.display()),
            Self::Write { path, .. } => write!(f, "cannot write {}", path.display()),
            Self::Openssl(_) => write!(f, "cannot make a certificate"),
        }
    }
}

impl std::error::Error for DevCertError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write { source, .. } => Some(source),
            Self::Openssl(source) => Some(source),
            Self::BadName(_) | Self::HalfAPair { .. } | Self::Exists(_) => None,
        }
    }
}

enum SubjectName<'a> {
    Dns(&'a str),
    Ip(IpAddr),
}

fn parse_name(name: &str) -> Result<SubjectName<'_>, DevCertError> {
    if let Ok(address) = name.parse() {
        return Ok(SubjectName::Ip(address));
    }
    // The limits of RFC 1035; `*` for a wildcard certificate.
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(SubjectName::Dns(name))
    } else {
        Err(DevCertError::BadName(name.to_owned()))
    }
}

/// Makes the certificate and the key, in this order, as PEM.
fn generate(names: &[SubjectName<'_>]) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    // Peers accept a curve by its name only, not by its parameters.
    group.set_asn1_flag(Asn1Flag::NAMED_CURVE);
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let cert = self_signed(&key, names)?;
    Ok((cert.to_pem()?, key.private_key_to_pem_pkcs8()?))
}

fn self_signed(key: &PKey<Private>, names: &[SubjectName<'_>]) -> Result<X509, ErrorStack> {
    const DAY_SECS: i64 = 24 * 60 * 60;
    const VERSION_3: i32 = 2;
    // RFC 5280 wants a positive serial of 20 bytes at most.
    const SERIAL_BITS: i32 = 127;

    let mut builder = X509Builder::new()?;
    builder.set_version(VERSION_3)?;
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::ONE, false)?;
    let serial = Asn1Integer::from_bn(&serial)?;
    builder.set_serial_number(&serial)?;

    // From yesterday, so that a clock somewhat behind accepts it too.
    let not_before_secs = unix_now_secs() - DAY_SECS;
    let not_before = Asn1Time::from_unix(not_before_secs)?;
    let not_after = Asn1Time::from_unix(not_before_secs + 365 * DAY_SECS)?;
    builder.set_not_before(&not_before)?;
    builder.set_not_after(&not_after)?;

    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, "localhost")?;
    let subject = subject.build();
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(key)?;

    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        match name {
            SubjectName::Dns(name) => alternatives.dns(name),
            SubjectName::Ip(address) => alternatives.ip(&address.to_string()),
        };
    }
    let alternatives = alternatives.build(&builder.x509v3_context(None, None))?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(
        KeyUsage::new().critical().digital_signature().key_cert_sign().build()?,
    )?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    builder.append_extension(alternatives)?;
    builder.append_extension(identifier)?;

    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

#[allow(
    clippy::disallowed_methods,
    reason = "a certificate is dated by the wall clock, and nothing waits on it"
)]
fn unix_now_secs() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX / 2)
}

/// Writes a file under a temporary name and links it into place.
fn write_new(dir: &Path, path: &Path, content: &[u8], mode: u32) -> Result<(), DevCertError> {
    let failed = |source| DevCertError::Write { path: path.to_path_buf(), source };
    // The temporary file is created with mode 0600, so a key is never open to others.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => DevCertError::Exists(path.to_path_buf()),
        _ => failed(error.error),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::stack::Stack;
    use openssl::x509::store::X509StoreBuilder;
    use openssl::x509::verify::X509VerifyParam;
    use openssl::x509::X509StoreContext;

    fn verifies(cert: &X509, set_name: impl Fn(&mut X509VerifyParam)) -> bool {
        let mut param = X509VerifyParam::new().unwrap();
        set_name(&mut param);
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(cert.clone()).unwrap();
        store.set_param(&param).unwrap();
        let chain = Stack::new().unwrap();
        let mut context = X509StoreContext::new().unwrap();
        context.init(&store.build(), cert, &chain, |context| context.verify_cert()).unwrap()
    }

    #[test]
    fn a_certificate_is_its_own_trust_root_for_its_names_only() {
        let dir = tempfile::tempdir().unwrap();
        let certs = write(dir.path(), &[]).unwrap();
        let cert = X509::from_pem(&fs::read(&certs.cert).unwrap()).unwrap();
        assert!(verifies(&cert, |param| param.set_host("localhost").unwrap()));
        assert!(verifies(&cert, |param| param.set_ip("127.0.0.1".parse().unwrap()).unwrap()));
        assert!(verifies(&cert, |param| param.set_ip("::1".parse().unwrap()).unwrap()));
        assert!(!verifies(&cert, |param| param.set_host("example.com").unwrap()));
    }

    #[test]
    fn the_key_fits_the_certificate_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let certs = write(dir.path(), &["db.internal"]).unwrap();
        let cert = X509::from_pem(&fs::read(&certs.cert).unwrap()).unwrap();
        let key = PKey::private_key_from_pem(&fs::read(&certs.key).unwrap()).unwrap();
        assert!(cert.public_key().unwrap().public_eq(&key));
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&certs.key), mode(&certs.cert)), (0o600, 0o644));
    }

    #[test]
    fn an_existing_pair_is_kept_and_half_a_pair_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let made = ensure(dir.path(), &[]).unwrap();
        let before = fs::read(&made.cert).unwrap();
        assert_eq!(ensure(dir.path(), &[]).unwrap(), made);
        assert!(matches!(write(dir.path(), &[]), Err(DevCertError::Exists(_))));
        assert_eq!(fs::read(&made.cert).unwrap(), before);

        fs::remove_file(&made.key).unwrap();
        let error = ensure(dir.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("cert.pem") && error.contains("key.pem"), "{error}");
        assert!(write(dir.path(), &[]).is_err());
        assert!(!made.key.exists(), "a failed write leaves no key behind");
    }

    #[test]
    fn a_name_that_is_no_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "a,DNS:evil", "two words", "a..b"] {
            assert!(matches!(write(dir.path(), &[name]), Err(DevCertError::BadName(_))), "{name}");
        }
    }
}

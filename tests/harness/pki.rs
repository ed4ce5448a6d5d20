//! Certificates for tests, of authorities of their own.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509Builder, X509Name, X509NameBuilder, X509};

/// Whoever signs.
pub struct Authority {
    cert: X509,
    key: PKey<Private>,
}

/// A certificate, its authority's behind it, and its key.
pub struct Pair {
    pub cert: Vec<u8>,
    pub key: PKey<Private>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let (key, name) = (key(), subject(name));
        let mut builder = blank(&key, &name, 1000);
        builder.set_issuer_name(&name).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Authority { cert: builder.build(), key }
    }

    pub fn pem(&self) -> Vec<u8> {
        self.cert.to_pem().unwrap()
    }

    /// A server's certificate for these names, an `=` before an address; it ends
    /// so many days from now.
    pub fn server(&self, common: &str, names: &[&str], days: i64) -> Pair {
        self.issue(common, names, days)
    }

    /// A client's certificate for this role.
    pub fn client(&self, role: &str) -> Pair {
        self.issue(role, &[], 1)
    }

    /// A client's certificate with these names too, those with `://` as URIs, unless `dns:` is
    /// before them; it ends so many days from now.
    pub fn client_named(&self, common: &str, names: &[&str], days: i64) -> Pair {
        self.issue(common, names, days)
    }

    fn issue(&self, common: &str, names: &[&str], days: i64) -> Pair {
        let key = key();
        let mut builder = blank(&key, &subject(common), days);
        builder.set_issuer_name(self.cert.subject_name()).unwrap();
        if !names.is_empty() {
            let mut alternatives = SubjectAlternativeName::new();
            for name in names {
                match name.strip_prefix('=') {
                    Some(address) => alternatives.ip(address),
                    None if name.starts_with("dns:") => alternatives.dns(&name[4..]),
                    None if name.contains("://") => alternatives.uri(name),
                    None => alternatives.dns(name),
                };
            }
            let context = builder.x509v3_context(Some(&self.cert), None);
            let alternatives = alternatives.build(&context).unwrap();
            builder.append_extension(alternatives).unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let mut cert = builder.build().to_pem().unwrap();
        cert.extend(self.pem());
        Pair { cert, key }
    }
}

impl Pair {
    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    pub fn locked_key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"locked").unwrap()
    }
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn subject(common: &str) -> X509Name {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, common).unwrap();
    subject.build()
}

/// From ten days ago.
fn blank(key: &PKey<Private>, name: &X509Name, days: i64) -> X509Builder {
    const DAY_SECS: i64 = 86_400;
    #[allow(clippy::disallowed_methods)] // A certificate is dated by the wall clock.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = now.as_secs() as i64;
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::ONE, false).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now - 10 * DAY_SECS).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + days * DAY_SECS).unwrap()).unwrap();
    builder.set_subject_name(name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}

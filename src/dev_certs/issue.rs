//! Makes keys and certificates.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509Builder, X509NameBuilder, X509};

use super::error::DevCertError;

const DAY_SECS: i64 = 24 * 60 * 60;
/// How long a certificate is good for.
const DAYS: i64 = 365;

/// A certificate and its key.
pub(super) struct CertAndKey {
    pub(super) cert: X509,
    pub(super) key: PKey<Private>,
}

/// What a certificate is for.
pub(super) enum CertPurpose<'a> {
    /// A server of these names.
    Server(&'a [SubjectName<'a>]),
    /// A client of this name.
    Client(&'a str),
    /// Signing the others.
    Authority,
}

pub(super) enum SubjectName<'a> {
    /// A host name.
    Dns(&'a str),
    /// An address.
    Ip(IpAddr),
}

pub(super) fn parse_name(name: &str) -> Result<SubjectName<'_>, DevCertError> {
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

impl CertAndKey {
    /// Makes a key, and a certificate for it that `issuer` signs; without one it signs
    /// itself.
    ///
    /// A server's certificate that signs itself is a leaf: TLS libraries take it as the
    /// trust anchor of itself, and some refuse an authority in its place.
    pub(super) fn issue(
        purpose: &CertPurpose<'_>,
        issuer: Option<&CertAndKey>,
    ) -> Result<CertAndKey, ErrorStack> {
        // From yesterday, so that a clock somewhat behind accepts it too.
        CertAndKey::issue_from(unix_now_secs() - DAY_SECS, purpose, issuer)
    }

    /// The same, good from this time on.
    pub(super) fn issue_from(
        not_before_secs: i64,
        purpose: &CertPurpose<'_>,
        issuer: Option<&CertAndKey>,
    ) -> Result<CertAndKey, ErrorStack> {
        let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        // Peers accept a curve by its name only, not by its parameters.
        group.set_asn1_flag(Asn1Flag::NAMED_CURVE);
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let cert = certificate(&key, not_before_secs, purpose, issuer)?;
        Ok(CertAndKey { cert, key })
    }

    /// Both as PEM: the certificate, then the key.
    pub(super) fn to_pem(&self) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
        Ok((self.cert.to_pem()?, self.key.private_key_to_pem_pkcs8()?))
    }
}

fn certificate(
    key: &PKey<Private>,
    not_before_secs: i64,
    purpose: &CertPurpose<'_>,
    issuer: Option<&CertAndKey>,
) -> Result<X509, ErrorStack> {
    const VERSION_3: i32 = 2;
    // RFC 5280 wants a positive serial of 20 bytes at most.
    const SERIAL_BITS: i32 = 127;

    let mut builder = X509Builder::new()?;
    builder.set_version(VERSION_3)?;
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::ONE, false)?;
    let serial = Asn1Integer::from_bn(&serial)?;
    builder.set_serial_number(&serial)?;
    let not_before = Asn1Time::from_unix(not_before_secs)?;
    let not_after = Asn1Time::from_unix(not_before_secs + DAYS * DAY_SECS)?;
    builder.set_not_before(&not_before)?;
    builder.set_not_after(&not_after)?;

    let mut subject = X509NameBuilder::new()?;
    let name = match purpose {
        CertPurpose::Server(_) => "localhost",
        CertPurpose::Client(name) => name,
        CertPurpose::Authority => "connection-pool-manager development CA",
    };
    subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    let subject = subject.build();
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.cert.subject_name()))?;
    builder.set_pubkey(key)?;
    extend(&mut builder, purpose, issuer)?;
    builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256())?;
    Ok(builder.build())
}

fn extend(
    builder: &mut X509Builder,
    purpose: &CertPurpose<'_>,
    issuer: Option<&CertAndKey>,
) -> Result<(), ErrorStack> {
    let (mut basic, mut usage) = (BasicConstraints::new(), KeyUsage::new());
    match purpose {
        CertPurpose::Authority => {
            basic.critical().ca().pathlen(0);
            usage.critical().key_cert_sign();
        }
        CertPurpose::Server(_) | CertPurpose::Client(_) => {
            basic.critical();
            usage.critical().digital_signature();
        }
    }
    builder.append_extension(basic.build()?)?;
    builder.append_extension(usage.build()?)?;
    match purpose {
        CertPurpose::Authority => {}
        CertPurpose::Server(names) => {
            builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
            let mut alternatives = SubjectAlternativeName::new();
            for name in *names {
                match name {
                    SubjectName::Dns(name) => alternatives.dns(name),
                    SubjectName::Ip(address) => alternatives.ip(&address.to_string()),
                };
            }
            let alternatives = alternatives.build(&builder.x509v3_context(None, None))?;
            builder.append_extension(alternatives)?;
        }
        CertPurpose::Client(_) => {
            builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
        }
    }
    let own = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(own)?;
    if let Some(issuer) = issuer {
        let context = builder.x509v3_context(Some(&issuer.cert), None);
        let of_issuer = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        builder.append_extension(of_issuer)?;
    }
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "a certificate is dated by the wall clock, and nothing waits on it"
)]
fn unix_now_secs() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX / 2)
}

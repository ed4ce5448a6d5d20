//! The certificate with which the service calls itself where every client needs one.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::ExtendedKeyUsage;
use openssl::x509::{X509Builder, X509NameBuilder, X509};

use crate::random;

/// A certificate that signs itself, and its key. Both are in memory only.
#[derive(Clone)]
pub struct OwnClient {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// Makes one. Its name is random, so that no identity can have it.
pub(super) fn make() -> Result<OwnClient, ErrorStack> {
    const VERSION_3: i32 = 2;
    let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    group.set_asn1_flag(Asn1Flag::NAMED_CURVE);
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let name = u128::from_be_bytes(random::bytes()?);
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, &format!("own probe {name:032x}"))?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;

    let mut builder = X509Builder::new()?;
    builder.set_version(VERSION_3)?;
    let serial = Asn1Integer::from_bn(&serial)?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(&key)?;
    // It ends with the process.
    let (from, to) = (Asn1Time::from_unix(0)?, Asn1Time::from_str("99991231235959Z")?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(OwnClient { certificate: builder.build(), key })
}

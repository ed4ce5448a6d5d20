//! What tells DSNs apart without keeping them: keyed digests.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::config::dsn::Dsn;
use crate::error::Error;

/// What tells one DSN from another without keeping it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// What tells a tenant's DSN from others.
#[derive(Clone, Copy)]
pub struct Identity {
    /// All of it.
    pub dsn: Fingerprint,
    /// All but its password.
    pub but_password: Fingerprint,
}

/// Makes fingerprints that mean nothing outside of this process.
pub(super) struct Digests {
    key: [u8; 32],
}

impl Digests {
    /// With a key of its own.
    ///
    /// # Errors
    /// If OpenSSL has no random bytes.
    pub(super) fn new() -> Result<Digests, ErrorStack> {
        let mut key = [0; 32];
        openssl::rand::rand_bytes(&mut key)?;
        Ok(Digests { key })
    }

    /// Equal for equal DSNs.
    ///
    /// # Errors
    /// If OpenSSL fails.
    pub(super) fn fingerprint(&self, dsn: &Dsn) -> Result<Fingerprint, Error> {
        let digest = || {
            let key = PKey::hmac(&self.key)?;
            let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
            let mut digest = [0; 32];
            signer.update(dsn.canonical().as_bytes())?;
            signer.sign(&mut digest)?;
            Ok::<_, ErrorStack>(Fingerprint(digest))
        };
        digest().map_err(|_| Error::Internal("the DSN digest failed"))
    }

    /// # Errors
    /// As above.
    pub(super) fn identity(&self, dsn: &Dsn) -> Result<Identity, Error> {
        let without = Dsn { password: None, ..dsn.clone() };
        Ok(Identity { dsn: self.fingerprint(dsn)?, but_password: self.fingerprint(&without)? })
    }
}

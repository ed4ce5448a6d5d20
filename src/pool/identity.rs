//! What tells DSNs apart without keeping them: keyed digests.

use openssl::error::ErrorStack;
use openssl::sha::Sha256;

use crate::config::dsn::Dsn;
use crate::random;

/// What tells one DSN from another without keeping it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// What tells a tenant's DSN from others. The `application_name` is in none of it: one
/// tenant may have several applications.
#[derive(Clone, Copy)]
pub struct Identity {
    /// All of it.
    pub dsn: Fingerprint,
    /// All but its password.
    pub but_password: Fingerprint,
    /// All but its servers: hosts, addresses and ports.
    pub but_servers: Fingerprint,
    /// All but both.
    pub but_both: Fingerprint,
}

/// In what two DSNs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// In nothing.
    None,
    /// In the password only.
    Password,
    /// In the servers only.
    Servers,
    /// In both of these, and in nothing else.
    Both,
    /// In something else.
    More,
}

impl Identity {
    /// In what another DSN differs.
    pub fn against(&self, other: &Identity) -> Difference {
        if self.dsn == other.dsn {
            Difference::None
        } else if self.but_password == other.but_password {
            Difference::Password
        } else if self.but_servers == other.but_servers {
            Difference::Servers
        } else if self.but_both == other.but_both {
            Difference::Both
        } else {
            Difference::More
        }
    }
}

/// Makes fingerprints that mean nothing outside of this process: HMAC-SHA-256 (RFC 2104) under a
/// key of its own. Every one-shot makes one. OpenSSL's own HMAC looks up the algorithm and prepares
/// the key each time, which takes 10 times as long.
pub(super) struct Digests {
    /// After the key, xored with the inner padding.
    inner: Sha256,
    /// After the key, xored with the outer padding.
    outer: Sha256,
}

/// Bytes of SHA-256's block. A key is not longer.
const BLOCK: usize = 64;

impl Digests {
    /// With a key of its own.
    ///
    /// # Errors
    /// If OpenSSL has no random bytes.
    pub(super) fn new() -> Result<Digests, ErrorStack> {
        Ok(Digests::with(&random::bytes()?))
    }

    fn with(key: &[u8; 32]) -> Digests {
        let after = |padding: u8| {
            let mut block = [padding; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut digest = Sha256::new();
            digest.update(&block);
            digest
        };
        Digests { inner: after(0x36), outer: after(0x5c) }
    }

    fn digest(&self, text: &[u8]) -> [u8; 32] {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        inner.update(text);
        outer.update(&inner.finish());
        outer.finish()
    }

    /// Equal for DSNs of one pool.
    pub(super) fn fingerprint(&self, dsn: &Dsn) -> Fingerprint {
        Fingerprint(self.digest(dsn.pool_canonical().as_bytes()))
    }

    /// The identity of a DSN whose fingerprint is known.
    pub(super) fn identity(&self, dsn: &Dsn, whole: Fingerprint) -> Identity {
        let mut without = Dsn { password: None, ..dsn.clone() };
        let but_password = self.fingerprint(&without);
        without.hosts = Vec::new();
        let but_both = self.fingerprint(&without);
        without.password.clone_from(&dsn.password);
        let but_servers = self.fingerprint(&without);
        Identity { dsn: whole, but_password, but_servers, but_both }
    }
}

#[cfg(test)]
mod tests {
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::sign::Signer;

    use super::*;

    #[test]
    fn the_digest_is_the_hmac_that_openssl_makes() {
        for length in [0, 1, 55, 64, 300, 5000] {
            let (key, text) = (random::bytes::<32>().unwrap(), vec![b'x'; length]);
            let key_of_openssl = PKey::hmac(&key).unwrap();
            let mut signer = Signer::new(MessageDigest::sha256(), &key_of_openssl).unwrap();
            signer.update(&text).unwrap();
            assert_eq!(
                signer.sign_to_vec().unwrap(),
                Digests::with(&key).digest(&text),
                "{length}"
            );
        }
    }

    #[test]
    fn dsns_of_one_pool_differ_in_nothing_and_others_in_what_they_do() {
        let digests = Digests::new().unwrap();
        let identity = |text: &str| {
            let dsn = Dsn::parse(text).unwrap();
            digests.identity(&dsn, digests.fingerprint(&dsn))
        };
        let base = identity("host=h user=u password=p application_name=a");
        for (other, difference) in [
            ("postgres://u:p@h/u", Difference::None),
            ("host=h user=u password=p application_name=b", Difference::None),
            ("host=h user=u password=q application_name=b", Difference::Password),
            ("host=h user=u", Difference::Password),
            ("host=g user=u password=p", Difference::Servers),
            ("host=h,g port=1,2 user=u password=p", Difference::Servers),
            ("host=h hostaddr=::1 user=u password=p", Difference::Servers),
            ("host=g user=u password=q", Difference::Both),
            ("host=g user=u password=p dbname=d", Difference::More),
            ("host=h user=u password=p sslmode=require", Difference::More),
            ("host=g user=v dbname=u password=p", Difference::More),
        ] {
            let other = identity(other);
            assert_eq!(base.against(&other), difference);
            assert_eq!(other.against(&base), difference);
        }
        let dsn = Dsn::parse("host=h user=u password=p").unwrap();
        assert!(base.dsn != Digests::new().unwrap().fingerprint(&dsn));
    }
}

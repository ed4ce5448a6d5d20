//! Tokens, known by their digests.

use std::fmt;
use std::hint::black_box;

/// The SHA-256 digest of a token.
#[derive(Clone, Copy)]
pub struct TokenDigest(pub [u8; 32]);

/// A token of an identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccessToken {
    pub sha256: TokenDigest,
    /// From then on it proves nothing, in seconds since 1970; `None`: it never expires.
    pub expires: Option<i64>,
}

impl TokenDigest {
    /// The digest in 64 hexadecimal digits, as `sha256sum` prints it.
    pub fn from_hex(text: &str) -> Option<TokenDigest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(TokenDigest(digest))
    }

    /// True if both are equal. Takes the same time wherever they differ.
    pub fn is(&self, other: &TokenDigest) -> bool {
        let differences = self.0.iter().zip(&other.0);
        let differing = differences.fold(0, |bits, (one, two)| black_box(bits | (one ^ two)));
        differing == 0
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &TokenDigest) -> bool {
        self.is(other)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

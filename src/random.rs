//! The one place that draws random numbers: for keys, names and jitter.

use openssl::error::ErrorStack;

/// Random bytes that nobody can guess.
///
/// # Errors
/// If OpenSSL has none.
pub fn bytes<const N: usize>() -> Result<[u8; N], ErrorStack> {
    let mut bytes = [0; N];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(bytes)
}

/// A number from 0 to 1, for jitter. It is 0 if there are no random bytes, which is
/// safe: then there is no jitter.
pub fn chance() -> f64 {
    f64::from(u16::from_be_bytes(bytes().unwrap_or_default())) / 65_536.0
}

/// A number from -1 to 1, as a seed. It is 0 if there are no random bytes.
pub fn seed() -> f64 {
    f64::from(i32::from_be_bytes(bytes().unwrap_or_default())) / 2_147_483_648.0
}

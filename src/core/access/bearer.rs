//! The header with a bearer token.

/// The most characters of a token.
pub const TOKEN_MAX: usize = 4096;

/// The token of `Bearer TOKEN`. The case of the word is of no account, as in HTTP.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let is_token = (1..=TOKEN_MAX).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    (scheme.eq_ignore_ascii_case(b"Bearer ") && is_token).then_some(token)
}

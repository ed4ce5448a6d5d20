//! The form made of `keyword=value` pairs.

use super::error::DsnError;
use super::pair::Pair;

/// Reads `keyword=value` pairs as libpq's `conninfo_parse` does.
pub(super) fn pairs(text: &str) -> Result<Vec<Pair<'_>>, DsnError> {
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(PAIRS);
    let mut showable = true;
    let mut rest = behind_blanks(text);
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_blank(c)).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let after = behind_blanks(after).strip_prefix('=');
        let after = behind_blanks(after.ok_or_else(|| DsnError::text(NO_EQUALS))?);
        let quoted = after.strip_prefix('\'');
        let (value, after) = match quoted {
            Some(quoted) => quoted_value(quoted)?,
            None => plain_value(after),
        };
        // An unquoted password ends at its first blank, so what follows may
        // well be the rest of it.
        let next_showable = quoted.is_some() || key != "password";
        pairs.push(Pair { key: key.into(), value, showable });
        showable = next_showable;
        rest = behind_blanks(after);
    }
    Ok(pairs)
}

/// Room for most: each request with a DSN has it read.
const PAIRS: usize = 8;
const WORD_BYTES: usize = 16;

const NO_EQUALS: &str =
    "missing \"=\" after a key; a value with blanks needs quotes, as in password='two words'";

/// The value, and what follows its quote.
fn quoted_value(text: &str) -> Result<(String, &str), DsnError> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next() {
            None => return Err(DsnError::text("unterminated quoted value")),
            Some('\'') => return Ok((value, chars.as_str())),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

/// The value, and what follows it from its blank on.
fn plain_value(text: &str) -> (String, &str) {
    let mut value = String::with_capacity(WORD_BYTES);
    let mut chars = text.chars();
    loop {
        let rest = chars.as_str();
        match chars.next() {
            Some('\\') => value.extend(chars.next()),
            Some(c) if !is_blank(c) => value.push(c),
            _ => return (value, rest),
        }
    }
}

fn behind_blanks(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

/// C's `isspace`.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

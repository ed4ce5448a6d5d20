//! The form made of `keyword=value` pairs.

use super::error::DsnError;
use super::pair::Pair;
use std::iter::Peekable;
use std::str::Chars;

/// Reads `keyword=value` pairs as libpq's `conninfo_parse` does.
pub(super) fn pairs(text: &str) -> Result<Vec<Pair>, DsnError> {
    let mut pairs: Vec<Pair> = Vec::with_capacity(PAIRS);
    let mut showable = true;
    let mut chars = text.chars().peekable();
    loop {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::with_capacity(WORD_BYTES);
        while let Some(c) = chars.next_if(|c| *c != '=' && !is_blank(*c)) {
            key.push(c);
        }
        skip_blanks(&mut chars);
        if chars.next() != Some('=') {
            return Err(DsnError::text(NO_EQUALS));
        }
        skip_blanks(&mut chars);
        let quoted = chars.next_if_eq(&'\'').is_some();
        let value = if quoted { quoted_value(&mut chars)? } else { plain_value(&mut chars) };
        // An unquoted password ends at its first blank, so what follows may
        // well be the rest of it.
        let next_showable = quoted || key != "password";
        pairs.push(Pair { key, value, showable });
        showable = next_showable;
    }
}

/// Room for most: each request with a DSN has it read.
const PAIRS: usize = 8;
const WORD_BYTES: usize = 16;

const NO_EQUALS: &str =
    "missing \"=\" after a key; a value with blanks needs quotes, as in password='two words'";

fn quoted_value(chars: &mut Peekable<Chars<'_>>) -> Result<String, DsnError> {
    let mut value = String::new();
    loop {
        match chars.next() {
            None => return Err(DsnError::text("unterminated quoted value")),
            Some('\'') => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

fn plain_value(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::with_capacity(WORD_BYTES);
    while let Some(c) = chars.next_if(|c| !is_blank(*c)) {
        match c {
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    value
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| is_blank(*c)).is_some() {}
}

/// C's `isspace`.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

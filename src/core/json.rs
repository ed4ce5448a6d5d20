//! Texts of JSON.

use std::fmt::Write;

/// Appends a text as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // DEL and the line separators are legal, but some parsers reject them.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing into memory does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A text as a JSON string.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    out
}

/// Whether a word is a number of JSON that every reader keeps as it is: of 15 digits at most.
pub fn is_number(word: &str) -> bool {
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leads_with_zero = whole.len() > 1 && whole.starts_with('0');
    digits(whole) && digits(fraction) && !leads_with_zero && unsigned.len() <= 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_whatever_it_holds() {
        assert_eq!(string("plain ä"), "\"plain ä\"");
        assert_eq!(string("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(string("\n\0\u{7f}\u{2028}"), "\"\\u000a\\u0000\\u007f\\u2028\"");
    }

    #[test]
    fn only_what_json_takes_for_a_number_is_one() {
        for word in ["0", "7", "-1", "0.05", "1.234", "123456789012345"] {
            assert!(is_number(word), "{word}");
        }
        for word in ["", "-", "007", "1.", ".5", "1e5", "+1", "0x1", "NaN", "1.2.3", "1 "] {
            assert!(!is_number(word), "{word}");
        }
        assert!(!is_number("9007199254740993"), "a reader with doubles would change it");
    }
}

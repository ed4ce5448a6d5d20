//! Foreign text in a log line.

use std::fmt;

use super::text::cut;

/// The most characters of foreign text in a log line, after escaping. PostgreSQL's longest messages
/// fit; a server that answers with a kilobyte of control characters, each written as five, does not
/// fill the disk.
pub const QUOTED_MAX: usize = 300;

/// A text in quotes that can neither break nor colour its line nor make it long: unprintable
/// characters are escaped, and a text longer than [`QUOTED_MAX`] after that ends in `…`.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

/// The same for a text of our own that tells all that is wrong: twenty faults fit.
#[derive(Debug, Clone, Copy)]
pub struct QuotedFaults<'a>(pub &'a str);

const FAULTS_MAX: usize = 8000;

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.0, QUOTED_MAX)
    }
}

impl fmt::Display for QuotedFaults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.0, FAULTS_MAX)
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str, max: usize) -> fmt::Result {
    // A single quote needs no escape inside double quotes.
    let written = |c: char| if c == '\'' { 1 } else { c.escape_debug().count() };
    write!(f, "{:?}", cut(text, max, written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_written_as_debug_does() {
        for text in ["", "plain ä 语", "a\"b\\c", "it's", "\n\0\x1b[31m\u{202e}\u{7f}"] {
            assert_eq!(Quoted(text).to_string(), format!("{text:?}"));
        }
    }

    #[test]
    fn a_long_text_is_cut_after_it_was_escaped_and_never_within_an_escape() {
        for part in ["x", "\u{1}", "\n", "语", "a\u{1}"] {
            let said = Quoted(&part.repeat(1000)).to_string();
            let inside = said.trim_matches('"');
            assert!(inside.chars().count() <= QUOTED_MAX, "{said}");
            assert!(inside.chars().count() > QUOTED_MAX - 7, "{said}");
            let whole = inside.strip_suffix('…').expect("it was cut");
            let escaped = format!("{:?}", part.repeat(1000));
            assert!(escaped.trim_matches('"').starts_with(whole), "{said}");
            assert!(!whole.ends_with(['\\', '{', 'u']), "{said}");
        }
        let fits = "x".repeat(QUOTED_MAX);
        assert_eq!(Quoted(&fits).to_string(), format!("{fits:?}"));
    }
}

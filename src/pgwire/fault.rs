//! PostgreSQL's errors and notices, parsed.

use crate::core::text;
use crate::error::PgFault;

/// Errors travel in gRPC's trailers, several times over, and clients accept 8 KiB of those;
/// notices must not outgrow the results. So long texts are truncated.
const MESSAGE_BYTES: usize = 1024;
const DETAIL_BYTES: usize = 512;

/// A SQLSTATE has so many characters; a server may send more.
const SQLSTATE_CHARS: usize = 5;
/// PostgreSQL's longest severity, in whatever language, is shorter.
const SEVERITY_CHARS: usize = 32;

/// The most bytes of a text; a truncated text is marked.
fn cut(text: &str, bytes: usize) -> String {
    text::cut(text, bytes, char::len_utf8).into_owned()
}

/// At most five letters and digits: it appears in metadata, logs and trailers.
fn sqlstate(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).take(SQLSTATE_CHARS).collect()
}

fn severity(word: &str) -> String {
    word.chars().take(SEVERITY_CHARS).collect()
}

/// The fields of an ErrorResponse or NoticeResponse: each a letter and a text that ends
/// in zero.
pub fn fault_in(body: &[u8]) -> PgFault {
    let mut fault = PgFault::default();
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else { continue };
        let text = String::from_utf8_lossy(text);
        let own = || cut(&text, DETAIL_BYTES);
        match kind {
            // The second severity is not translated; servers before 9.6 do not send it.
            b'S' | b'V' => fault.severity = severity(&text),
            b'C' => fault.sqlstate = sqlstate(&text),
            b'M' => fault.message = cut(&text, MESSAGE_BYTES),
            b'D' => fault.detail = own(),
            b'H' => fault.hint = own(),
            b'P' => fault.position = text.parse().unwrap_or(0),
            b'W' => fault.context = own(),
            b's' => fault.schema = own(),
            b't' => fault.table = own(),
            b'c' => fault.column = own(),
            b'd' => fault.datatype = own(),
            b'n' => fault.constraint = own(),
            b'R' => fault.routine = own(),
            _ => {}
        }
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_longer_than_postgresql_has_it() {
        let long = "x".repeat(5000);
        let body = ["V", "C", "M", "D", "H"].map(|kind| format!("{kind}{long}\0")).concat();
        let fault = fault_in(body.as_bytes());
        assert_eq!((fault.severity.len(), fault.sqlstate.as_str()), (32, "xxxxx"));
        let lengths = [&fault.message, &fault.detail, &fault.hint].map(String::len);
        assert_eq!(lengths, [MESSAGE_BYTES, DETAIL_BYTES, DETAIL_BYTES]);
        assert!(fault.detail.ends_with('…'));
        assert_eq!(sqlstate("4\n2\u{202e}P01"), "42P01");
        assert_eq!(sqlstate("ä"), "");
    }

    #[test]
    fn all_fields_are_found_in_the_stream() {
        let body = b"SFEHLER\0VERROR\0C23503\0Mm\0Dd\0Hh\0P17\0Ww\0ss\0tt\0cc\0dd\0nn\0Rr\0F.c\0\0";
        let text = str::to_owned;
        let expected = PgFault {
            severity: text("ERROR"),
            sqlstate: text("23503"),
            message: text("m"),
            detail: text("d"),
            hint: text("h"),
            position: 17,
            context: text("w"),
            schema: text("s"),
            table: text("t"),
            column: text("c"),
            datatype: text("d"),
            constraint: text("n"),
            routine: text("r"),
        };
        assert_eq!(fault_in(body), expected);
    }
}

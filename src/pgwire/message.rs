//! The messages of a PostgreSQL server that the service uses.

use crate::core::text;
use crate::core::transaction::TransactionState;

/// One message, or a part of one; its texts and values are still in the buffer.
///
/// `Debug` shows how long it is and not what is in it: rows, texts and keys are secrets.
///
/// Source: "Message Formats" in PostgreSQL's documentation of its protocol, version 3.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// ParseComplete.
    Parsed,
    /// BindComplete.
    Bound,
    /// CloseComplete.
    Closed,
    /// ParameterDescription: the body.
    Parameters(&'a [u8]),
    /// RowDescription: the body.
    Columns(&'a [u8]),
    /// NoData: the statement has no result.
    NoColumns,
    /// DataRow: the body.
    Row(&'a [u8]),
    /// A DataRow of so many bytes, which were dropped while it was read.
    LongRow(usize),
    /// CommandComplete: the tag.
    Complete(&'a [u8]),
    /// EmptyQueryResponse.
    Empty,
    /// PortalSuspended: the limit of rows was reached.
    Suspended,
    /// CopyInResponse.
    CopyIn,
    /// CopyOutResponse.
    CopyOut,
    /// Some of the bytes of a CopyData.
    Data(&'a [u8]),
    /// CopyDone.
    DataEnd,
    /// ErrorResponse: the fields.
    Error(&'a [u8]),
    /// NoticeResponse: the fields.
    Notice(&'a [u8]),
    /// NotificationResponse: the body.
    Notification(&'a [u8]),
    /// ParameterStatus: the body.
    Setting(&'a [u8]),
    /// BackendKeyData: the body.
    Key(&'a [u8]),
    /// An Authentication message: the body.
    Authentication(&'a [u8]),
    /// NegotiateProtocolVersion.
    Version,
    /// ReadyForQuery.
    Ready(TransactionState),
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, length) = match self {
            Message::Parsed => ("Parsed", None),
            Message::Bound => ("Bound", None),
            Message::Closed => ("Closed", None),
            Message::Parameters(body) => ("Parameters", Some(body.len())),
            Message::Columns(body) => ("Columns", Some(body.len())),
            Message::NoColumns => ("NoColumns", None),
            Message::Row(body) => ("Row", Some(body.len())),
            Message::LongRow(bytes) => ("LongRow", Some(*bytes)),
            Message::Complete(tag) => ("Complete", Some(tag.len())),
            Message::Empty => ("Empty", None),
            Message::Suspended => ("Suspended", None),
            Message::CopyIn => ("CopyIn", None),
            Message::CopyOut => ("CopyOut", None),
            Message::Data(data) => ("Data", Some(data.len())),
            Message::DataEnd => ("DataEnd", None),
            Message::Error(fields) => ("Error", Some(fields.len())),
            Message::Notice(fields) => ("Notice", Some(fields.len())),
            Message::Notification(body) => ("Notification", Some(body.len())),
            Message::Setting(body) => ("Setting", Some(body.len())),
            Message::Key(body) => ("Key", Some(body.len())),
            Message::Authentication(body) => ("Authentication", Some(body.len())),
            Message::Version => ("Version", None),
            Message::Ready(state) => return f.debug_tuple("Ready").field(state).finish(),
        };
        match length {
            Some(length) => write!(f, "{name}({length} bytes)"),
            None => f.write_str(name),
        }
    }
}

/// An error: not a message of PostgreSQL's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Message<'a> {
    /// Reads a whole message of this kind.
    ///
    /// # Errors
    /// It is malformed or of an unknown type.
    #[inline]
    pub(super) fn read(kind: u8, body: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let bare = |message| if body.is_empty() { Ok(message) } else { Err(Malformed) };
        match kind {
            b'1' => bare(Message::Parsed),
            b'2' => bare(Message::Bound),
            b'3' => bare(Message::Closed),
            b't' => Ok(Message::Parameters(body)),
            b'T' => Ok(Message::Columns(body)),
            b'n' => bare(Message::NoColumns),
            b'D' => Ok(Message::Row(body)),
            b'C' => body.strip_suffix(b"\0").map(Message::Complete).ok_or(Malformed),
            b'I' => bare(Message::Empty),
            b's' => bare(Message::Suspended),
            b'G' => Ok(Message::CopyIn),
            b'H' => Ok(Message::CopyOut),
            b'd' => Ok(Message::Data(body)),
            b'c' => bare(Message::DataEnd),
            b'E' => Ok(Message::Error(body)),
            b'N' => Ok(Message::Notice(body)),
            b'A' => Ok(Message::Notification(body)),
            b'S' => Ok(Message::Setting(body)),
            b'K' => Ok(Message::Key(body)),
            b'R' => Ok(Message::Authentication(body)),
            b'v' => Ok(Message::Version),
            b'Z' => match body {
                [status] => TransactionState::from_ready_for_query(*status)
                    .map(Message::Ready)
                    .ok_or(Malformed),
                _ => Err(Malformed),
            },
            _ => Err(Malformed),
        }
    }
}

/// Reads the fields of a message's body one after the other.
#[derive(Clone, Copy)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub fn of(body: &'a [u8]) -> Fields<'a> {
        Fields(body)
    }

    /// The next `N` bytes.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// The next text, which ends in a zero byte; invalid UTF-8 is replaced.
    pub fn text(&mut self) -> Option<std::borrow::Cow<'a, str>> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..)?;
        Some(String::from_utf8_lossy(text))
    }

    /// True if nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One column of a RowDescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnField {
    pub name: String,
    /// OID of the table it comes from; 0 if it comes from none.
    pub table_oid: u32,
    pub type_oid: u32,
}

/// PostgreSQL's most columns of a result (MaxTupleAttributeNumber).
const COLUMNS_MAX: u16 = 1664;
/// A name of PostgreSQL has 63 bytes, unless it was built with longer ones.
const NAME_BYTES: usize = 256;

/// The columns of a RowDescription. `None`: it is malformed.
pub fn columns(body: &[u8]) -> Option<Vec<ColumnField>> {
    let mut fields = Fields::of(body);
    let count = fields.u16().filter(|count| *count <= COLUMNS_MAX)?;
    // Each takes 19 bytes and more: what was only claimed allocates nothing.
    let mut columns = Vec::with_capacity(usize::from(count).min(body.len() / 19));
    for _ in 0..count {
        let name = text::cut(&fields.text()?, NAME_BYTES, char::len_utf8).into_owned();
        let table_oid = fields.u32()?;
        let _number = fields.u16()?;
        let type_oid = fields.u32()?;
        let _size = fields.u16()?;
        let _modifier = fields.u32()?;
        let _format = fields.u16()?;
        columns.push(ColumnField { name, table_oid, type_oid });
    }
    fields.is_empty().then_some(columns)
}

/// The types of a ParameterDescription. `None`: it is malformed.
pub fn parameters(body: &[u8]) -> Option<Vec<u32>> {
    let mut fields = Fields::of(body);
    let count = fields.u16()?;
    let types: Option<Vec<u32>> = (0..count).map(|_| fields.u32()).collect();
    types.filter(|_| fields.is_empty())
}

/// The number of rows in a command tag; 0 if it has none.
pub fn rows_of(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_form() {
        let ready = Message::Ready(TransactionState::None);
        assert_eq!(Message::read(b'Z', b"I"), Ok(ready));
        assert_eq!(Message::read(b'C', b"SELECT 1\0"), Ok(Message::Complete(b"SELECT 1")));
        for (kind, body) in
            [(b'Z', &b""[..]), (b'Z', b"X"), (b'Z', b"II"), (b'C', b"SELECT"), (b'1', b"1")]
        {
            assert_eq!(Message::read(kind, body), Err(Malformed), "{kind} {body:?}");
        }
        // Those that a client sends, and those that nobody does.
        for kind in *b"BPQXF\0\xff0" {
            assert_eq!(Message::read(kind, b""), Err(Malformed), "{kind}");
        }
    }

    #[test]
    fn columns_and_parameters_are_read_to_their_ends() {
        let mut body = vec![0, 1];
        body.extend_from_slice(b"n\0");
        body.extend_from_slice(&7u32.to_be_bytes());
        body.extend_from_slice(&[0, 3]);
        body.extend_from_slice(&23u32.to_be_bytes());
        body.extend_from_slice(&[0, 4, 255, 255, 255, 255, 0, 0]);
        let column = ColumnField { name: "n".to_owned(), table_oid: 7, type_oid: 23 };
        assert_eq!(columns(&body), Some(vec![column]));
        for end in 0..body.len() {
            assert_eq!(columns(&body[..end]), None, "{end}");
        }
        body.push(0);
        assert_eq!(columns(&body), None);
        assert_eq!(columns(&[255, 255]), None);
        assert_eq!(parameters(&[0, 1, 0, 0, 0, 23]), Some(vec![23]));
        assert_eq!(parameters(&[0, 2, 0, 0, 0, 23]), None);
        assert_eq!(parameters(&[0, 0, 0]), None);
    }

    #[test]
    fn nothing_of_what_a_message_holds_is_shown() {
        let shown = format!("{:?} {:?}", Message::Row(b"secret"), Message::Key(b"12345678"));
        assert_eq!(shown, "Row(6 bytes) Key(8 bytes)");
    }

    #[test]
    fn a_tag_ends_with_the_number_of_rows() {
        for (tag, rows) in [("SELECT 3", 3), ("INSERT 0 12", 12), ("BEGIN", 0), ("", 0)] {
            assert_eq!(rows_of(tag), rows, "{tag}");
        }
    }
}

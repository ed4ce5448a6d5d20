//! The size limits of an error in a trailer and in a message.
//!
//! A status travels in the trailer of its call, and a client on gRPC's C core takes 8 KiB
//! of those: beyond that it ends most calls, and by 16 KiB every call, with
//! RESOURCE_EXHAUSTED and without a reason. The text is percent-encoded there, so that a
//! letter of Chinese takes 9 bytes, and the details may be base64. Both together stay below
//! 7 KiB, which leaves room for the headers that come with them.

use crate::core::text::cut;
use crate::error::PgFault;
use crate::proto::errors::PostgresError;

/// The room for each part of a status, in bytes.
pub(super) struct StatusRoom {
    /// The text, as gRPC encodes it.
    text: usize,
    /// All details together, before base64.
    details: usize,
    /// Each name of a table, column, constraint and so on.
    name: usize,
}

impl StatusRoom {
    /// In a trailer. Base64 makes 5.7 KiB of the details. PostgreSQL's names have 63 bytes,
    /// but a function may raise what it likes.
    pub(super) const TRAILER: StatusRoom = StatusRoom { text: 1024, details: 4352, name: 128 };

    /// In a message, where PostgreSQL's words have room as they are kept; what else there
    /// may be, such as the name of a column, is not to make it much larger.
    pub(super) const MESSAGE: StatusRoom =
        StatusRoom { text: 16 << 10, details: 64 << 10, name: 512 };

    /// The text of an error, cut to its room.
    pub(super) fn text(&self, text: &str) -> String {
        cut(text, self.text, percent_encoded).into_owned()
    }

    /// PostgreSQL's error, after `before` bytes of other details. The fields that identify it
    /// come first; the longer texts get the rest of the room.
    pub(super) fn postgres(&self, fault: &PgFault, before: u64) -> PostgresError {
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        let mut left = self.details.saturating_sub(before).saturating_sub(FRAME_BYTES);
        let mut take = |text: &str, most: usize| {
            let max = most.min(left.saturating_sub(FIELD_BYTES));
            let text = cut(text, max, char::len_utf8).into_owned();
            left = left.saturating_sub(text.len() + FIELD_BYTES);
            text
        };
        let all = usize::MAX;
        // The fields of a literal are evaluated in the order in which they are written.
        PostgresError {
            sqlstate: take(&fault.sqlstate, all),
            severity: take(&fault.severity, all),
            constraint: take(&fault.constraint, self.name),
            table: take(&fault.table, self.name),
            column: take(&fault.column, self.name),
            schema: take(&fault.schema, self.name),
            datatype: take(&fault.datatype, self.name),
            message: take(&fault.message, all),
            detail: take(&fault.detail, all),
            hint: take(&fault.hint, all),
            context: take(&fault.context, all),
            position: i32::try_from(fault.position).unwrap_or(0),
            ..PostgresError::default()
        }
    }
}

/// A value of ErrorInfo, cut to its room. The service's own values are shorter.
pub(super) fn value(text: &str) -> String {
    cut(text, VALUE_BYTES, char::len_utf8).into_owned()
}

/// The bytes of a character of a status text after gRPC's percent-encoding.
fn percent_encoded(c: char) -> usize {
    match c {
        '%' => 3,
        ' '..='~' => 1,
        _ => 3 * c.len_utf8(),
    }
}

const VALUE_BYTES: usize = 256;

/// The tag of a text field and its length.
const FIELD_BYTES: usize = 3;

/// The name of PostgresError as a detail, its tags and lengths, and its position.
const FRAME_BYTES: usize = 72;

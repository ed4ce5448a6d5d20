//! Queries of the service's own.

use crate::backend::conversation::{Conversation, Gone};
use crate::error::{Excess, PgFault};
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::Message;
use crate::pgwire::row::RawRow;

/// Why a query has no answer: PostgreSQL's error, or `None` if the connection is gone.
pub type NoAnswer = Option<Box<PgFault>>;

/// Makes a round trip that changes nothing.
pub fn sync(conversation: &mut Conversation) -> Result<(), Gone> {
    conversation.bounds.start_question();
    conversation.out.sync();
    conversation.send()?;
    conversation.skip()
}

/// Runs commands in one message, and passes the values of their rows to `row` as text.
///
/// # Errors
/// PostgreSQL's error, or `None` if the connection is gone.
pub fn simple(
    conversation: &mut Conversation,
    sql: &str,
    mut row: impl FnMut(&[Option<&[u8]>]),
) -> Result<(), NoAnswer> {
    conversation.bounds.start_question();
    conversation.out.query(sql).map_err(|_| None)?;
    conversation.send().map_err(|Gone| None)?;
    let mut failed = None;
    loop {
        match conversation.receive().map_err(|Gone| None)? {
            Message::Ready(_) => return failed.map_or(Ok(()), |fault| Err(Some(fault))),
            Message::Error(fields) => failed = Some(Box::new(fault_in(fields))),
            Message::Row(body) => {
                let columns = body.first_chunk().map_or(0, |count| u16::from_be_bytes(*count));
                let Some(raw) = RawRow::read(body, usize::from(columns)) else {
                    conversation.refuse(Excess::Garbage(b'D'));
                    return Err(None);
                };
                row(&raw.values().collect::<Vec<_>>());
            }
            Message::Columns(_) | Message::Complete(_) | Message::Empty => {}
            _ => {
                conversation.refuse(Excess::OutOfTurn("in the answer to a question"));
                return Err(None);
            }
        }
    }
}

/// Runs a query whose first value is yes (`on`, `t`) or no.
///
/// # Errors
/// As for `simple`.
pub fn ask(conversation: &mut Conversation, sql: &str) -> Result<bool, NoAnswer> {
    let mut is_so = false;
    simple(conversation, sql, |values| is_so = matches!(values, [Some(b"on" | b"t"), ..]))?;
    Ok(is_so)
}

//! Runs statements.

use std::sync::Arc;

use crate::backend::pg::body::PgBackend;
use crate::backend::pg::prepared::Prepared;
use crate::backend::pg::reply::{End, StatementReply};
use crate::backend::pg::resets::ResetBehind;
use crate::backend::session::{Done, Rows, RunError, Sent};
use crate::backend::statement::Statement;
use crate::clock;
use crate::core::transaction::TransactionState;
use crate::core::value::{Column, Value};
use crate::error::Excess;
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::{rows_of, Message};
use crate::pgwire::row::RawRow;

/// The protocol's row limit is a signed number, and one more row is requested to detect a
/// truncated result.
const LIMIT_MAX: u64 = i32::MAX as u64;

const TOO_LONG: &str = "sql is too long for one message of the protocol";

/// The row limit for PostgreSQL; `None` = all rows.
pub(super) fn limit_of(statement: &Statement, wanted: Option<u64>) -> Option<u64> {
    wanted.filter(|limit| *limit < LIMIT_MAX && statement.command.can_be_left)
}

/// True for a command without parameters and columns, which need not be described.
pub(super) fn is_command(Statement { sql, parameters, .. }: &Statement) -> bool {
    parameters.is_empty() && matches!(sql.as_str(), "BEGIN" | "COMMIT" | "ROLLBACK")
}

/// The error of a result that may not be in UTF-8.
pub(super) fn undecodable(column: &Column) -> RunError {
    RunError::Undecodable {
        column: column.name.clone(),
        why: "a statement has changed client_encoding, which must be UTF8".to_owned(),
        completed: true,
    }
}

/// The end of an answer, whose size the statement keeps.
fn ended(prepared: Option<&Prepared>, bytes: usize, end: End) -> End {
    if let Some(prepared) = prepared {
        prepared.has_answered(bytes);
    }
    end
}

impl PgBackend {
    /// Runs a statement, from the cache if it is there.
    pub(super) fn run_prepared(
        &mut self,
        statement: &Statement,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let sql = &statement.sql;
        if is_command(statement) {
            let prepared = Arc::new(Prepared::command(&self.closing));
            return self.read(&prepared, statement, rows);
        }
        let idle = self.conversation.facts.transaction == TransactionState::None;
        let settings = self.conversation.facts.settings;
        let Some(kept) = self.statements.get(sql, settings, clock::now()) else {
            return self.run_anew(statement, idle, rows);
        };
        let done = self.read(&kept, statement, rows);
        self.or_anew(done, statement, idle, rows)
    }

    pub(super) fn read(
        &mut self,
        prepared: &Arc<Prepared>,
        statement: &Statement,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let limit = limit_of(statement, rows.limit());
        let Statement { sql, parameters, command } = statement;
        (self.bound, self.outdated) = (false, false);
        self.conversation.bounds.start_statement();
        let (place, noticed) =
            (self.place_of_reset(statement, rows), self.conversation.notices.count());
        let understood = match prepared.is_command {
            true => {
                self.conversation.out.parse("", sql).map_err(|_| RunError::Unsupported(TOO_LONG))
            }
            false => Ok(()),
        };
        let last = (place, command.may_change_meanings);
        let written = understood.and_then(|()| self.write_alone(prepared, parameters, limit, last));
        if let Err(error) = written {
            self.conversation.out.clear();
            return Err(error);
        }
        if self.conversation.send().is_err() {
            return Err(self.lost(Sent::Whole));
        }
        let done = self.finish_statement(prepared, limit, rows);
        match self.may_run_alone(place, &done, rows) {
            true => self.run_alone(prepared, statement, noticed, rows),
            false => done,
        }
    }

    /// Reads the answer to a statement that was sent with this limit.
    pub(super) fn finish_statement(
        &mut self,
        prepared: &Prepared,
        limit: Option<u64>,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let was_foreign = self.conversation.facts.foreign_encoding;
        let end = self.answer(prepared, rows)?;
        let is_foreign = !was_foreign && self.conversation.facts.foreign_encoding;
        if let Some(column) = prepared.columns.first().filter(|_| is_foreign) {
            // It is unknown from which value on the encoding differed.
            return Err(undecodable(column));
        }
        self.done(end, limit)
    }

    /// The outcome of a statement that ran with this limit.
    pub(super) fn done(&mut self, end: End, limit: Option<u64>) -> Result<Done, RunError> {
        match (end, limit) {
            (End::Suspended, Some(limit)) => {
                // PostgreSQL sends no CommandComplete for a suspended portal.
                let command_tag = format!("SELECT {limit}");
                Ok(Done { rows_affected: limit, command_tag, cached: false })
            }
            (End::Complete(command_tag), _) => {
                Ok(Done { rows_affected: rows_of(&command_tag), command_tag, cached: false })
            }
            (End::Suspended, None) => {
                let excess = Excess::OutOfTurn("rows are left that were asked for");
                Err(self.garbled(excess, Sent::Whole))
            }
        }
    }

    /// Writes the messages that run a statement, except the Sync.
    pub(super) fn write_statement(
        &mut self,
        prepared: &Prepared,
        parameters: &[Value],
        limit: Option<u64>,
    ) -> Result<(), RunError> {
        let parameters = prepared.encode(parameters)?;
        let limit = limit.and_then(|limit| i32::try_from(limit + 1).ok()).unwrap_or(0);
        let out = &mut self.conversation.out;
        let written = out.bind(prepared.name(), &parameters, &prepared.texts);
        written.and_then(|()| out.execute(limit)).map_err(|_| {
            let rule = "the parameters do not fit into one message".to_owned();
            RunError::Parameter { index: 0, rule }
        })
    }

    /// Reads the answer to a statement that was sent alone, up to its ReadyForQuery.
    fn answer(&mut self, prepared: &Prepared, rows: &mut dyn Rows) -> Result<End, RunError> {
        let reply = match self.reset_place() {
            ResetBehind::Transaction => self.until_commit(prepared, rows),
            _ => self.until_end(Some(prepared), rows),
        };
        self.settle(reply?)
    }

    /// Reads the answer to a statement, up to its end.
    pub(super) fn until_end(
        &mut self,
        prepared: Option<&Prepared>,
        rows: &mut dyn Rows,
    ) -> Result<StatementReply, RunError> {
        let notices = self.conversation.notices.clone();
        let shapes = prepared.map_or(&[][..], |prepared| &prepared.shapes);
        let mut bytes = 0;
        loop {
            let excess = match self.conversation.receive() {
                Err(_) => return Err(self.lost(Sent::Whole)),
                Ok(Message::Row(body)) => match RawRow::read(body, shapes.len()) {
                    Some(row) => {
                        bytes += body.len();
                        rows.notices(&notices);
                        rows.row(shapes, &row);
                        continue;
                    }
                    None => Excess::Garbage(b'D'),
                },
                Ok(Message::LongRow(length)) => {
                    bytes += length;
                    rows.notices(&notices);
                    rows.too_long(length);
                    continue;
                }
                Ok(Message::Bound) => {
                    self.bound = true;
                    if let Some(prepared) = prepared {
                        rows.head(&prepared.columns);
                    }
                    continue;
                }
                Ok(Message::Closed | Message::Parsed) => continue,
                Ok(Message::Complete(tag)) => {
                    let tag = String::from_utf8_lossy(tag).into_owned();
                    return Ok(Ok(ended(prepared, bytes, End::Complete(tag))));
                }
                Ok(Message::Empty) => return Ok(Ok(End::Complete(String::new()))),
                Ok(Message::Suspended) => {
                    return Ok(Ok(ended(prepared, bytes, End::Suspended)));
                }
                Ok(Message::Error(fields)) => return Ok(Err(Box::new(fault_in(fields)))),
                Ok(Message::Ready(_)) => Excess::OutOfTurn("ready before a statement has ended"),
                Ok(_) => Excess::OutOfTurn("while a statement runs"),
            };
            return Err(self.garbled(excess, Sent::Whole));
        }
    }

    /// Reads the ReadyForQuery after a statement. An error may precede it, such as that of
    /// a deferred constraint.
    pub(super) fn settle(&mut self, reply: StatementReply) -> Result<End, RunError> {
        if self.reset_place() != ResetBehind::Sync {
            return self.settle_last(reply);
        }
        let reply = match (reply, self.conversation.receive()) {
            (_, Err(_)) => return Err(self.lost(Sent::Whole)),
            (reply, Ok(Message::Ready(_))) => return reply.map_err(|fault| self.faulted(fault)),
            (_, Ok(Message::Error(fields))) => Box::new(fault_in(fields)),
            (..) => {
                let excess = Excess::OutOfTurn("behind a statement");
                return Err(self.garbled(excess, Sent::Whole));
            }
        };
        match self.conversation.skip() {
            Ok(()) => Err(self.faulted(reply)),
            Err(_) => Err(self.lost(Sent::Whole)),
        }
    }
}

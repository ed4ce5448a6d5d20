//! What a backend is to everything above it: run statements, learn the truth
//! afterwards, reset.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::cancel::Canceller;
use crate::backend::copy::{Sink, Source};
use crate::backend::listen::Heard;
use crate::backend::notice::{Notice, Notices};
use crate::backend::stream::watch::Watch;
use crate::core::channels::Change;
use crate::core::value::{Column, Value};
use crate::error::{Excess, PgFault};
use crate::pgwire::row::RawRow;
use crate::pgwire::values::Shape;

/// One SQL command and its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text, with `$1`, `$2`, … for parameters.
    pub sql: String,
    /// The parameters. Secrets: their Debug shows no content.
    pub parameters: Vec<Value>,
}

impl Statement {
    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        size_of::<Statement>() + self.sql.capacity() + Value::memory_of(&self.parameters)
    }
}

/// Takes the rows of one statement as they come.
pub trait Rows {
    /// The columns, before any row.
    fn head(&mut self, columns: &[Column]);
    /// One row, and how each of its values is read.
    fn row(&mut self, shapes: &[Shape], row: &RawRow<'_>);
    /// In place of a row of so many bytes, which no answer could hold.
    fn too_long(&mut self, bytes: usize);
    /// How many rows are of any use; `None` = all of them.
    fn limit(&self) -> Option<u64> {
        None
    }
    /// Looks for notices that came since the last row.
    fn notices(&mut self, _fresh: &Notices) {}
}

/// What a call is going to run, one statement after the other.
#[derive(Debug, Clone, Copy)]
pub struct Coming<'a> {
    /// In this order.
    pub statements: &'a [Statement],
    /// Between a BEGIN and a COMMIT.
    pub atomic: bool,
    /// How many rows of each are of any use; `None` = all of them.
    pub max_rows: Option<u64>,
    /// The session is given back afterwards.
    pub ends: bool,
}

/// How a statement ended that did not fail.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Rows touched, out of the command tag.
    pub rows_affected: u64,
    /// PostgreSQL's command tag; empty for an empty statement.
    pub command_tag: String,
    /// It had been prepared before.
    pub cached: bool,
}

/// What one statement gave.
#[derive(Debug, Clone, Default)]
pub struct StatementResult {
    /// Its columns; empty for commands without a result.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
    /// Rows touched, out of the command tag.
    pub rows_affected: u64,
    /// PostgreSQL's command tag; empty for an empty statement.
    pub command_tag: String,
    /// `max_rows` cut the result.
    pub truncated: bool,
    /// The statement had been prepared before.
    pub cached: bool,
}

impl StatementResult {
    /// A rough upper estimate of its size in a protobuf message, in bytes.
    pub fn encoded_size(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::encoded_size).sum();
        let values: usize = self.rows.iter().flatten().map(Value::encoded_size).sum();
        columns + values + ROW_BYTES * self.rows.len() + RESULT_BYTES
    }
}

/// What is around the values of a row, and around a result with its tag.
pub const ROW_BYTES: usize = 8;
const RESULT_BYTES: usize = 64;

impl From<Done> for StatementResult {
    /// The result of a statement whose rows went elsewhere, or that has none.
    fn from(Done { rows_affected, command_tag, cached }: Done) -> StatementResult {
        StatementResult { rows_affected, command_tag, cached, ..StatementResult::default() }
    }
}

/// Why a statement gave no result.
#[derive(Debug)]
pub enum RunError {
    /// PostgreSQL refused or failed it; the session goes on.
    Fault(Box<PgFault>),
    /// PostgreSQL has understood it, but failed what the driver asked about types
    /// before it could be run; nothing ran, and the session goes on.
    Lookup(Box<PgFault>),
    /// The connection is gone.
    Lost {
        /// PostgreSQL's last words.
        fault: Option<Box<PgFault>>,
        /// How much of the statement PostgreSQL may have got.
        sent: Sent,
        /// What it sent too much of, if that is why.
        excess: Option<Excess>,
    },
    /// A parameter does not fit; nothing ran.
    Parameter {
        /// From 1, as in `$1`; 0 if the number of parameters is wrong.
        index: usize,
        /// The rule.
        rule: String,
    },
    /// A value could not be understood.
    Undecodable {
        /// The column.
        column: String,
        /// Why.
        why: String,
        /// The statement ran to its end all the same; otherwise it was
        /// cancelled, which undoes it.
        completed: bool,
    },
    /// The result passed `max_bytes`.
    TooLarge {
        /// The statement ran to its end all the same; otherwise it was
        /// cancelled, which undoes it.
        completed: bool,
    },
    /// The statement ran to its end, but a cancel had come by then, and the rest of its
    /// result was dropped; the operation knows why.
    Dropped,
    /// Not possible this way; nothing ran.
    Unsupported(&'static str),
    /// Cancelled before it was sent, or ended by PostgreSQL in another way than
    /// was asked; the operation knows why.
    Interrupted,
}

/// How much of a statement PostgreSQL may have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing that makes it run.
    Nothing,
    /// Too little for it to take effect: the data of a COPY without their end.
    Part,
    /// All of it.
    Whole,
}

/// A live backend. One of the two traits that tests may fake.
pub trait Backend: Send {
    /// Process id in PostgreSQL.
    fn pid(&self) -> i32;
    /// What its stream says; also breaks it off.
    fn watch(&self) -> &Arc<Watch>;
    /// How to cancel what it runs.
    fn canceller(&self) -> Option<Canceller>;
    /// True once the connection is known to be gone.
    fn is_closed(&mut self) -> bool;
    /// Looks at an idle connection without a round trip. False: it is gone, or something
    /// has come that nobody has asked for.
    fn is_quiet(&mut self) -> bool {
        !self.is_closed()
    }
    /// The same for a connection in somebody's hands, to whom notifications may come.
    fn is_there(&mut self) -> bool {
        !self.is_closed()
    }
    /// Tells what is going to be run, so that several things may travel in one write. It
    /// changes nothing of what `run` answers.
    fn expect(&mut self, _: Coming<'_>) {}
    /// Tells that the session is given back after the next statement.
    fn expect_end(&mut self) {}
    /// True if statements were sent whose answers `run` has not given yet.
    fn is_ahead(&self) -> bool {
        false
    }
    /// True if one of these was the COMMIT: what runs now may take effect without another
    /// word of ours.
    fn has_committed_ahead(&self) -> bool {
        false
    }
    /// Runs one statement and hands its rows over as they come. After an error
    /// the transaction state is the true one.
    ///
    /// # Errors
    /// See [`RunError`].
    fn run(&mut self, statement: &Statement, rows: &mut dyn Rows) -> Result<Done, RunError>;
    /// Runs COPY FROM STDIN with the data of `source`, to its end whatever that is.
    ///
    /// # Errors
    /// See [`RunError`]; `Interrupted` if the source aborted and PostgreSQL said
    /// nothing else.
    fn copy_in(&mut self, sql: &str, source: &mut dyn Source) -> Result<Done, RunError>;
    /// Runs COPY TO STDOUT and hands its data over as it comes.
    ///
    /// # Errors
    /// See [`RunError`].
    fn copy_out(&mut self, sql: &str, sink: &mut dyn Sink) -> Result<Done, RunError>;
    /// Listens to channels, and no longer to others.
    ///
    /// # Errors
    /// See [`RunError`]; then nothing has changed, or the connection is gone.
    fn listen(&mut self, change: &Change) -> Result<(), RunError>;
    /// Waits for a notification, for `limit` at most.
    ///
    /// # Errors
    /// If the connection is gone.
    fn hear(&mut self, limit: Duration) -> Result<Heard, RunError>;
    /// True if it must be checked before it is used again, however short its rest.
    fn is_doubtful(&self) -> bool {
        false
    }
    /// One round trip that changes nothing. False: it is gone, or its server is no
    /// longer what the DSN asks for.
    fn check(&mut self) -> bool;
    /// Rolls back and makes the session as new. False: it must be closed.
    fn reset(&mut self) -> bool;
    /// The notices since the last call.
    fn take_notices(&mut self) -> Vec<Notice>;
}

//! A statement, and what is told of a call before its statements are run.

use std::sync::Arc;
use std::time::Duration;

use crate::core::sql::command::SqlCommand;
use crate::core::value::Value;

/// One SQL command and its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text, with `$1`, `$2`, … for parameters.
    pub sql: String,
    /// The parameters. Secrets: their Debug shows no content.
    pub parameters: Vec<Value>,
    /// What the text says.
    pub command: SqlCommand,
}

impl Statement {
    /// Of a text, which is read here and nowhere else.
    pub fn new(sql: impl Into<String>, parameters: Vec<Value>) -> Statement {
        let sql = sql.into();
        Statement { command: SqlCommand::of(&sql), sql, parameters }
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        size_of::<Statement>() + self.sql.capacity() + Value::memory_of(&self.parameters)
    }
}

/// The statements that a call is about to run.
#[derive(Debug, Clone, Copy)]
pub struct Coming<'a> {
    /// In this order.
    pub statements: &'a [Statement],
    /// Between a BEGIN and a COMMIT.
    pub atomic: bool,
    /// How many rows of each are of any use; `None` = all of them.
    pub max_rows: Option<u64>,
    /// The most bytes of all results, by the same estimate as of [`Value::encoded_size`].
    pub max_bytes: usize,
    /// The session is given back after them.
    pub ends: bool,
    /// How long each of them may take.
    pub timeout: Duration,
    /// PostgreSQL need not answer each at once: one limit of that length then begins for all of
    /// them.
    pub together: bool,
    /// Requests of the same session that wait behind them.
    pub followers: &'a [Follower],
}

/// A request of a session that waits for the one before it.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Its statements: known again by their place in memory.
    pub statements: Arc<[Statement]>,
    /// How many rows of each are of any use; `None` = all of them.
    pub max_rows: Option<u64>,
}

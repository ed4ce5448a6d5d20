//! The result of one statement, kept whole.

use crate::backend::session::Done;
use crate::core::value::{Column, Value, RESULT_BYTES, ROW_BYTES};

/// The result of one statement.
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

impl From<Done> for StatementResult {
    /// The result of a statement whose rows went elsewhere, or that has none.
    fn from(Done { rows_affected, command_tag, cached }: Done) -> StatementResult {
        StatementResult { rows_affected, command_tag, cached, ..StatementResult::default() }
    }
}

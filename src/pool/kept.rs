//! A result that is kept whole, up to its limits.

use std::time::{Duration, Instant};

use crate::backend::raw_row::{decode, RawRow};
use crate::backend::session::{Done, Rows, RunError, StatementResult, ROW_BYTES};
use crate::backend::sqlstate;
use crate::backend::values::Shape;
use crate::clock;
use crate::core::value::{Column, Value};

/// What is left of a result after its limit is read and dropped up to so much,
/// which spares the transaction a cancel; beyond it the statement is cancelled.
const SKIP_BYTES: usize = 64 << 20;
const SKIP_TIME: Duration = Duration::from_secs(1);

/// How much of one result is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most bytes, by the estimate of [`Value::encoded_size`].
    pub(super) max_bytes: usize,
    /// Stop keeping after so many rows and say `truncated`.
    pub(super) max_rows: Option<u64>,
}

/// What of a result is kept, and what became too much.
pub(super) struct Kept<'a> {
    limits: Limits,
    /// Called at most once, when the rest of the result is too long to skip and
    /// the statement should be cancelled.
    excess: &'a dyn Fn(),
    result: StatementResult,
    bytes: usize,
    problem: Option<RunError>,
    skipped: usize,
    skipping_since: Option<Instant>,
    asked: bool,
}

impl<'a> Kept<'a> {
    pub(super) fn new(limits: Limits, excess: &'a dyn Fn()) -> Kept<'a> {
        Kept {
            limits,
            excess,
            result: StatementResult::default(),
            bytes: 0,
            problem: None,
            skipped: 0,
            skipping_since: None,
            asked: false,
        }
    }

    /// The result, now that the statement is over.
    pub(super) fn finish(self, done: Result<Done, RunError>) -> Result<StatementResult, RunError> {
        match (done, self.problem) {
            // Our own cancel of an excessive result is not PostgreSQL's fault.
            (Err(RunError::Fault(fault)), _)
                if self.asked && fault.sqlstate == sqlstate::QUERY_CANCELED =>
            {
                Err(RunError::TooLarge { completed: false })
            }
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
            (Ok(Done { rows_affected, command_tag, cached }), None) => {
                Ok(StatementResult { rows_affected, command_tag, cached, ..self.result })
            }
        }
    }

    fn skip(&mut self, row: &RawRow<'_>) {
        let now = clock::now();
        let since = *self.skipping_since.get_or_insert(now);
        self.skipped += row.bytes().len();
        if !self.asked && (self.skipped > SKIP_BYTES || now - since > SKIP_TIME) {
            self.asked = true;
            self.result.rows = Vec::new();
            // A cut by max_rows that had to be cancelled is no clean result.
            self.problem.get_or_insert(RunError::TooLarge { completed: true });
            (self.excess)();
        }
    }
}

impl Rows for Kept<'_> {
    fn head(&mut self, columns: Vec<Column>) {
        // A thousand results without a row can have a lot of columns.
        self.bytes += columns.iter().map(Column::encoded_size).sum::<usize>();
        if self.bytes > self.limits.max_bytes && !columns.is_empty() {
            self.problem = Some(RunError::TooLarge { completed: true });
        }
        self.result.columns = columns;
    }

    fn limit(&self) -> Option<u64> {
        self.limits.max_rows
    }

    fn row(&mut self, shapes: &[Shape], row: &RawRow<'_>) {
        let full = self.limits.max_rows == Some(self.result.rows.len() as u64);
        self.result.truncated |= full;
        // Decoded, a row of small elements takes many times its size. None that is
        // so much larger than the limit could fit.
        let oversized = row.bytes().len() / 2 > self.limits.max_bytes;
        if oversized && !full && self.problem.is_none() {
            self.result.rows = Vec::new();
            self.problem = Some(RunError::TooLarge { completed: true });
        }
        if full || self.problem.is_some() {
            return self.skip(row);
        }
        match decode(shapes, row) {
            Ok(values) => {
                self.bytes += values.iter().map(Value::encoded_size).sum::<usize>() + ROW_BYTES;
                if self.bytes > self.limits.max_bytes {
                    self.result.rows = Vec::new();
                    self.problem = Some(RunError::TooLarge { completed: true });
                } else {
                    self.result.rows.push(values);
                }
            }
            Err((index, why)) => {
                self.result.rows = Vec::new();
                self.problem = Some(undecodable(&self.result.columns, index, why));
            }
        }
    }
}

/// The error for a value that cannot be read.
pub(super) fn undecodable(columns: &[Column], index: usize, why: String) -> RunError {
    let column = columns.get(index).map_or_else(String::new, |column| column.name.clone());
    RunError::Undecodable { column, why, completed: true }
}

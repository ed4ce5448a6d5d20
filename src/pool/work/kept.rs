//! A result that is kept whole, up to its limits.

use std::time::{Duration, Instant};

use crate::backend::session::{Done, Rows, RunError};
use crate::backend::sqlstate;
use crate::backend::statement_result::StatementResult;
use crate::clock;
use crate::core::value::{Column, ROW_BYTES};
use crate::pgwire::row::{decode, RawRow};
use crate::pgwire::values::{Meter, Shape, Stop};

/// What is left of a result after its limit is read and dropped up to so much,
/// which spares the transaction a cancel; beyond it the statement is cancelled.
const SKIP_BYTES: usize = 64 << 20;
const SKIP_TIME: Duration = Duration::from_secs(1);

/// How much of one result is kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct ResultLimits {
    /// The most bytes, by the estimate of [`Value::encoded_size`].
    pub(in crate::pool) max_bytes: usize,
    /// Stop keeping after so many rows and say `truncated`.
    pub(in crate::pool) max_rows: Option<u64>,
}

/// What of a result is kept, and what became too much.
pub(in crate::pool) struct BufferedResult<'a> {
    limits: ResultLimits,
    /// Called at most once, when the rest of the result is too long to skip and
    /// the statement should be cancelled.
    excess: &'a dyn Fn(),
    is_wanted: &'a dyn Fn() -> bool,
    result: StatementResult,
    meter: Meter<'a>,
    problem: Option<RunError>,
    skipped: usize,
    skipping_since: Option<Instant>,
    asked: bool,
}

impl<'a> BufferedResult<'a> {
    /// Rows are decoded only as long as `is_wanted`.
    pub(in crate::pool) fn new(
        limits: ResultLimits,
        excess: &'a dyn Fn(),
        is_wanted: &'a dyn Fn() -> bool,
    ) -> BufferedResult<'a> {
        BufferedResult {
            limits,
            excess,
            is_wanted,
            result: StatementResult::default(),
            meter: Meter::new(limits.max_bytes, is_wanted),
            problem: None,
            skipped: 0,
            skipping_since: None,
            asked: false,
        }
    }

    /// The result, now that the statement is over.
    pub(in crate::pool) fn finish(
        self,
        done: Result<Done, RunError>,
    ) -> Result<StatementResult, RunError> {
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

    /// Nothing of the result is kept, and the rest of it is skipped.
    fn give_up(&mut self, problem: RunError) {
        self.result.rows = Vec::new();
        self.problem = Some(problem);
    }

    fn skip(&mut self, bytes: usize) {
        let now = clock::now();
        let since = *self.skipping_since.get_or_insert(now);
        self.skipped += bytes;
        if !self.asked && (self.skipped > SKIP_BYTES || now - since > SKIP_TIME) {
            self.asked = true;
            self.result.rows = Vec::new();
            // A cut by max_rows that had to be cancelled is no clean result.
            self.problem.get_or_insert(RunError::TooLarge { completed: true });
            (self.excess)();
        }
    }

    /// True once `max_rows` are kept: one more is cut off.
    fn is_full(&mut self) -> bool {
        let full = self.limits.max_rows == Some(self.result.rows.len() as u64);
        self.result.truncated |= full;
        full
    }
}

impl Rows for BufferedResult<'_> {
    fn head(&mut self, columns: &[Column]) {
        // What was kept is of a run that was undone.
        let fresh = BufferedResult::new(self.limits, self.excess, self.is_wanted);
        *self = BufferedResult { asked: self.asked, ..fresh };
        // A thousand results without a row can have a lot of columns.
        let size = columns.iter().map(Column::encoded_size).sum();
        if !columns.is_empty() && self.meter.add(size) == Err(Stop::TooLarge) {
            self.problem = Some(RunError::TooLarge { completed: true });
        }
        self.result.columns = columns.to_vec();
    }

    fn limit(&self) -> Option<u64> {
        self.limits.max_rows
    }

    fn is_wanted(&self) -> bool {
        (self.is_wanted)()
    }

    fn too_long(&mut self, bytes: usize) {
        if !self.is_full() && self.problem.is_none() {
            self.give_up(RunError::TooLarge { completed: true });
        }
        self.skip(bytes);
    }

    fn row(&mut self, shapes: &[Shape], row: &RawRow<'_>) {
        let full = self.is_full();
        // No row that is so much larger than the limit could fit.
        if row.bytes().len() / 2 > self.limits.max_bytes && !full {
            return self.too_long(row.bytes().len());
        }
        if full || self.problem.is_some() {
            return self.skip(row.bytes().len());
        }
        let values = decode(shapes, row, &mut self.meter);
        let framed = |values| match self.meter.add(ROW_BYTES) {
            Ok(()) => Ok(values),
            Err(stop) => Err((0, stop)),
        };
        match values.and_then(framed) {
            Ok(values) => self.result.rows.push(values),
            Err((_, Stop::TooLarge)) => self.give_up(RunError::TooLarge { completed: true }),
            Err((_, Stop::Unwanted)) => self.give_up(RunError::Dropped),
            Err((index, Stop::Malformed(error))) => {
                self.give_up(undecodable(&self.result.columns, index, error.to_string()));
            }
        }
    }
}

/// The error for a value that cannot be read.
pub(in crate::pool) fn undecodable(columns: &[Column], index: usize, why: String) -> RunError {
    let column = columns.get(index).map_or_else(String::new, |column| column.name.clone());
    RunError::Undecodable { column, why, completed: true }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A row of one array with so many NULLs.
    fn nulls(count: u32) -> Vec<u8> {
        let mut array: Vec<u8> =
            [1, 1, 23, count, 1].iter().flat_map(|n| n.to_be_bytes()).collect();
        array.resize(array.len() + 4 * count as usize, 0xff);
        let mut row = vec![0, 1];
        row.extend((array.len() as u32).to_be_bytes());
        row.extend(array);
        row
    }

    fn int_array() -> [Shape; 1] {
        [Shape::Array(Box::new(Shape::Scalar(23)))]
    }

    #[test]
    fn a_result_is_kept_up_to_its_last_byte() {
        let body = nulls(1000);
        let row = RawRow::read(&body, 1).expect("a row");
        let run = |max_bytes| {
            let mut kept =
                BufferedResult::new(ResultLimits { max_bytes, max_rows: None }, &|| (), &|| true);
            (0..3).for_each(|_| kept.row(&int_array(), &row));
            kept.finish(Ok(Done::default()))
        };
        let size: usize = run(usize::MAX)
            .expect("it fits")
            .rows
            .iter()
            .flatten()
            .map(|value| value.encoded_size() + ROW_BYTES)
            .sum();
        assert_eq!(run(size).expect("it fits").rows.len(), 3);
        assert!(matches!(run(size - 1), Err(RunError::TooLarge { completed: true })));
    }

    #[test]
    fn what_a_cancel_finds_undecoded_is_dropped_and_the_statement_is_not_called_undone() {
        let body = nulls(100_000);
        let row = RawRow::read(&body, 1).expect("a row");
        let looks = Cell::new(0);
        let is_wanted = || {
            looks.set(looks.get() + 1);
            looks.get() < 5
        };
        let limits = ResultLimits { max_bytes: usize::MAX, max_rows: None };
        let mut kept = BufferedResult::new(limits, &|| (), &is_wanted);
        (0..10).for_each(|_| kept.row(&int_array(), &row));
        assert_eq!(looks.get(), 5);
        assert!(kept.result.rows.is_empty());
        assert!(matches!(kept.finish(Ok(Done::default())), Err(RunError::Dropped)));
    }
}

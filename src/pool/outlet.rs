//! Rows that go to a reader as they come, at the reader's pace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::session::{Done, Notices, RawRow, Rows, RunError, StatementResult};
use crate::backend::sqlstate;
use crate::backend::values::Shape;
use crate::clock;
use crate::core::value::Column;
use crate::error::CancelCause;
use crate::pool::alarms::Alarm;
use crate::pool::operation::Operation;

/// Where streamed rows go. What it is given is kept only until its reader has
/// taken it.
pub trait Outlet: Rows + Send {
    /// True if no more should be given before `wait`.
    fn is_full(&self) -> bool;
    /// Waits until there is room, or the outlet was interrupted.
    ///
    /// # Errors
    /// If the reader has taken nothing for longer than it may.
    fn wait(&mut self) -> Result<(), Stalled>;
    /// Why no more is wanted, if it is the outlet's own decision. Then what comes
    /// is dropped.
    fn problem(&mut self) -> Option<RunError>;
    /// Ends `wait`, now and later, and drops what comes.
    fn interrupter(&self) -> Box<dyn Fn() + Send + Sync>;
}

/// The reader takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled;

/// An outlet for one statement. The time in which the reader is waited for does
/// not count against the statement's.
pub(super) struct Paced<'a> {
    outlet: &'a mut dyn Outlet,
    operation: &'a Arc<Operation>,
    left: Duration,
    running_since: Instant,
    _timeout: Option<Alarm>,
    problem: Option<RunError>,
    columns: Vec<Column>,
}

impl<'a> Paced<'a> {
    pub(super) fn new(
        outlet: &'a mut dyn Outlet,
        operation: &'a Arc<Operation>,
        timeout: Duration,
    ) -> Paced<'a> {
        Paced {
            outlet,
            operation,
            left: timeout,
            running_since: clock::now(),
            _timeout: Some(operation.timeout(timeout)),
            problem: None,
            columns: Vec::new(),
        }
    }

    /// What is told of the statement now that it is over.
    pub(super) fn finish(self, done: Result<Done, RunError>) -> Result<StatementResult, RunError> {
        match (done, self.problem) {
            // We cancelled it because of the problem, or it came to its end before.
            (Err(RunError::Fault(fault)), Some(problem))
                if fault.sqlstate == sqlstate::QUERY_CANCELED =>
            {
                Err(match problem {
                    RunError::TooLarge { .. } => RunError::TooLarge { completed: false },
                    RunError::Undecodable { column, why, .. } => {
                        RunError::Undecodable { column, why, completed: false }
                    }
                    other => other,
                })
            }
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
            (Ok(Done { rows_affected, command_tag, cached }), None) => {
                let columns = self.columns;
                Ok(StatementResult {
                    columns,
                    rows_affected,
                    command_tag,
                    cached,
                    ..Default::default()
                })
            }
        }
    }

    fn wait(&mut self) {
        self._timeout = None;
        let ran = clock::now().saturating_duration_since(self.running_since);
        self.left = self.left.saturating_sub(ran);
        if self.outlet.wait() == Err(Stalled) {
            self.operation.cancel(CancelCause::Stalled);
        }
        self.running_since = clock::now();
        self._timeout = Some(self.operation.timeout(self.left));
    }
}

impl Rows for Paced<'_> {
    fn head(&mut self, columns: Vec<Column>) {
        self.columns.clone_from(&columns);
        self.outlet.head(columns);
    }

    fn row(&mut self, shapes: &[Shape], row: &dyn RawRow) {
        if self.problem.is_some() {
            return;
        }
        self.outlet.row(shapes, row);
        self.problem = self.outlet.problem();
        if self.problem.is_some() {
            self.operation.cancel(CancelCause::Excess);
        } else if self.outlet.is_full() {
            self.wait();
        }
    }

    fn notices(&mut self, fresh: &Notices) {
        self.outlet.notices(fresh);
    }
}

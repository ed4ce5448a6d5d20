//! Results that go to a reader as they come, and data that comes from a writer,
//! each at the client's pace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::copy::{Piece, Sink, Source};
use crate::backend::notice::Notices;
use crate::backend::session::{Done, Rows, RunError};
use crate::backend::sqlstate;
use crate::backend::statement_result::StatementResult;
use crate::clock;
use crate::core::value::Column;
use crate::error::CancelCause;
use crate::pgwire::row::RawRow;
use crate::pgwire::values::Shape;
use crate::pool::memory::Room;
use crate::pool::work::operation::Limit;
use crate::pool::work::operation::Operation;

/// Ends a wait, now and later; does not block.
pub type Interrupt = Box<dyn Fn() + Send + Sync>;

/// Where a result goes. What it is given is kept only until its reader has taken
/// it.
pub trait RowSink: Send {
    /// Its statement has a backend. From now on what waits for its reader counts there.
    fn open(&mut self, room: Room);
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
    /// Ends `wait`, and drops what comes.
    fn interrupter(&self) -> Interrupt;
}

/// An outlet for rows.
pub trait RowOutlet: RowSink + Rows {}
impl<T: RowSink + Rows> RowOutlet for T {}

/// An outlet for the data of a COPY.
pub trait DataOutlet: RowSink + Sink {}
impl<T: RowSink + Sink> DataOutlet for T {}

/// Where the data of a COPY comes from.
pub trait DataSource: Send {
    /// The COPY has its backend. From now on data is read, and counts there.
    fn open(&mut self, room: Room);
    /// The next piece; waits for it.
    ///
    /// # Errors
    /// Why the COPY is to be cancelled; `None` if the inlet was interrupted.
    fn next(&mut self) -> Result<Piece, Option<CancelCause>>;
    /// Ends `next`.
    fn interrupter(&self) -> Interrupt;
}

/// The reader takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled;

/// A statement's time limit, which does not run while the client is waited for.
struct Pace<'a> {
    operation: &'a Arc<Operation>,
    left: Duration,
    running_since: Instant,
    timeout: Option<Limit>,
}

impl<'a> Pace<'a> {
    fn new(operation: &'a Arc<Operation>, limit: Duration) -> Pace<'a> {
        let timeout = Some(operation.timeout(limit));
        Pace { operation, left: limit, running_since: clock::now(), timeout }
    }

    fn pause<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        self.timeout = None;
        let ran = clock::now().saturating_duration_since(self.running_since);
        self.left = self.left.saturating_sub(ran);
        let result = wait();
        self.running_since = clock::now();
        self.timeout = Some(self.operation.timeout(self.left));
        result
    }
}

/// An outlet for one statement, within its time limit.
pub(super) struct Throttled<'a, O: ?Sized> {
    outlet: &'a mut O,
    pace: Pace<'a>,
    problem: Option<RunError>,
    columns: Vec<Column>,
}

impl<'a, O: RowSink + ?Sized> Throttled<'a, O> {
    pub(super) fn new(
        outlet: &'a mut O,
        operation: &'a Arc<Operation>,
        limit: Duration,
    ) -> Throttled<'a, O> {
        let pace = Pace::new(operation, limit);
        Throttled { outlet, pace, problem: None, columns: Vec::new() }
    }

    /// What is reported of the statement now that it is over.
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
            (Ok(done), None) => Ok(StatementResult { columns: self.columns, ..done.into() }),
        }
    }

    /// Gives the outlet something, if it still wants it, and waits for its reader
    /// if that is needed.
    fn give(&mut self, give: impl FnOnce(&mut O)) {
        if self.problem.is_some() {
            return;
        }
        give(self.outlet);
        self.problem = self.outlet.problem();
        if self.problem.is_some() {
            self.pace.operation.cancel(CancelCause::Excess);
        } else if self.outlet.is_full() {
            let outlet = &mut *self.outlet;
            if self.pace.pause(|| outlet.wait()) == Err(Stalled) {
                self.pace.operation.cancel(CancelCause::Stalled);
            }
        }
    }
}

impl Rows for Throttled<'_, dyn RowOutlet> {
    fn head(&mut self, columns: &[Column]) {
        self.columns = columns.to_vec();
        self.outlet.head(columns);
    }

    fn row(&mut self, shapes: &[Shape], row: &RawRow<'_>) {
        self.give(|outlet| outlet.row(shapes, row));
    }

    fn too_long(&mut self, bytes: usize) {
        self.give(|outlet| outlet.too_long(bytes));
    }

    fn may_begin_anew(&self) -> bool {
        false
    }

    fn notices(&mut self, fresh: &Notices) {
        Rows::notices(self.outlet, fresh);
    }
}

impl Sink for Throttled<'_, dyn DataOutlet> {
    fn data(&mut self, bytes: &[u8]) {
        self.give(|outlet| outlet.data(bytes));
    }

    fn notices(&mut self, fresh: &Notices) {
        Sink::notices(self.outlet, fresh);
    }
}

/// An inlet for one COPY, within its time limit.
pub(super) struct PacedInlet<'a> {
    inlet: &'a mut dyn DataSource,
    pace: Pace<'a>,
}

impl<'a> PacedInlet<'a> {
    pub(super) fn new(
        inlet: &'a mut dyn DataSource,
        operation: &'a Arc<Operation>,
        limit: Duration,
    ) -> PacedInlet<'a> {
        PacedInlet { inlet, pace: Pace::new(operation, limit) }
    }
}

impl Source for PacedInlet<'_> {
    fn next(&mut self) -> Piece {
        let inlet = &mut *self.inlet;
        match self.pace.pause(|| inlet.next()) {
            Ok(piece) => piece,
            Err(cause) => {
                if let Some(cause) = cause {
                    self.pace.operation.cancel(cause);
                }
                Piece::Abort
            }
        }
    }
}

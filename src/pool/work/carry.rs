//! Runs one statement on a backend, its data flowing as it is to.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::session::{Backend, RunError};
use crate::backend::statement::Statement;
use crate::backend::statement_result::StatementResult;
use crate::error::CancelCause;
use crate::pool::work::kept::{BufferedResult, ResultLimits};
use crate::pool::work::operation::{Limit, Operation};
use crate::pool::work::outlet::{PacedInlet, Throttled};
use crate::pool::work::task::Flow;

/// Runs a statement, its data flowing as it is to. Its time limit may have begun already.
pub(super) fn carry(
    backend: &mut dyn Backend,
    operation: &Arc<Operation>,
    statement: &Statement,
    limits: ResultLimits,
    (timeout, clock): (Duration, Option<&Limit>),
    flow: &mut Flow,
) -> Result<StatementResult, RunError> {
    match flow {
        Flow::Gathered => {
            let _timeout = clock.is_none().then(|| operation.timeout(timeout));
            let excess = || operation.cancel(CancelCause::Excess);
            let is_wanted = || operation.cause().is_none();
            let mut kept = BufferedResult::new(limits, &excess, &is_wanted);
            let done = backend.run(statement, &mut kept);
            kept.finish(done)
        }
        Flow::Rows(outlet) => {
            let mut paced = Throttled::new(&mut **outlet, operation, timeout);
            let done = backend.run(statement, &mut paced);
            paced.finish(done)
        }
        Flow::CopyOut(outlet) => {
            let mut paced = Throttled::new(&mut **outlet, operation, timeout);
            let done = backend.copy_out(statement, &mut paced);
            paced.finish(done)
        }
        Flow::CopyIn(inlet) => {
            let mut paced = PacedInlet::new(&mut **inlet, operation, timeout);
            backend.copy_in(statement, &mut paced).map(StatementResult::from)
        }
    }
}

/// A command of ours, without parameters or a result.
pub(super) fn plain(backend: &mut dyn Backend, sql: &str) -> Result<StatementResult, RunError> {
    let statement = Statement::new(sql, Vec::new());
    let mut kept =
        BufferedResult::new(ResultLimits { max_bytes: 0, max_rows: None }, &|| (), &|| true);
    let done = backend.run(&statement, &mut kept);
    kept.finish(done)
}

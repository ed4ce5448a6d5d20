//! The COMMIT of an atomic call.

use std::sync::Arc;
use std::time::Duration;

use super::Progress;
use crate::backend::session::{Backend, RunError};
use crate::backend::statement::Statement;
use crate::pool::work::kept::ResultLimits;
use crate::pool::work::operation::Operation;
use crate::pool::work::task::Flow;

impl Progress {
    /// True if the call goes on with a COMMIT that was held back, once all that was sent is
    /// answered.
    pub(in crate::pool::work) fn holds_commit_back(&self) -> bool {
        self.together && !self.commits_ahead && !self.all_ran
    }

    /// Sends that COMMIT, whose time limit begins. Does not block. False: nothing was sent, as it
    /// cannot be, or as somebody wants the call to end.
    pub(in crate::pool::work) fn begins_commit(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        timeout: Duration,
        ends: bool,
    ) -> bool {
        // From now on the limit of the statements does not pass.
        self.clock = None;
        if !self.wrapped || operation.is_overdue() || operation.cause().is_some() {
            return false;
        }
        let sent = backend.begin_commit(ends);
        if sent {
            (self.together, self.clock) = (false, Some(operation.timeout(timeout)));
        }
        sent
    }

    /// Runs it, or reads its answer.
    pub(super) fn commit(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        timeout: Duration,
        ends: bool,
    ) -> Result<(), RunError> {
        self.is_through(operation)?;
        if ends {
            backend.expect_end();
        }
        let commit = Statement::new("COMMIT", Vec::new());
        let limits = ResultLimits { max_bytes: 0, max_rows: None };
        self.one(backend, operation, &commit, limits, timeout, &mut Flow::Gathered)?;
        self.wrapped = false;
        Ok(())
    }
}

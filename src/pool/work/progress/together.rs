//! When an atomic call is run once more: the common time limit of its statements has passed, or
//! one of them was outdated.

use super::Progress;
use crate::backend::session::{Backend, RunError};
use crate::error::Outcome;
use crate::pool::work::operation::Operation;

impl Progress {
    /// True if a statement that was sent together with those before it has failed when their
    /// common limit had passed: the cancel that was sent then may be why, and its own time was
    /// not over. Nothing of them remains.
    pub(in crate::pool::work) fn had_less_time(
        &mut self,
        error: &RunError,
        operation: &Operation,
    ) -> bool {
        // From now on it does not pass.
        self.clock = None;
        let failed = matches!(error, RunError::Fault(_)) && self.at != Some(0);
        let undone = self.wrapped && self.work().outcome == Outcome::NotApplied;
        self.together && failed && undone && operation.is_overdue()
    }

    /// True if a statement of a transaction of ours was outdated, and failed before it ran. Nothing
    /// of the call remains.
    pub(in crate::pool::work) fn was_outdated(&mut self, backend: &dyn Backend) -> bool {
        // From now on its time limit does not pass.
        self.clock = None;
        let undone = matches!(self.work().outcome, Outcome::NotApplied | Outcome::NotStarted);
        self.wrapped && undone && backend.was_outdated()
    }

    /// All statements have ended. The cancel that was sent when their common limit had passed must
    /// not hit a COMMIT that comes now.
    pub(super) fn is_through(&mut self, operation: &Operation) -> Result<(), RunError> {
        if self.commits_ahead || !self.together {
            return Ok(());
        }
        (self.clock, self.together) = (None, false);
        match operation.is_overdue() && !(operation.cancel_arrives() && operation.goes_on()) {
            true => Err(RunError::Interrupted),
            false => Ok(()),
        }
    }
}

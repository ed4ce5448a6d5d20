//! Statements that were prepared, and fail before they run: they are not there any more, or their
//! result has other columns.

use crate::backend::pg::body::PgBackend;
use crate::backend::sqlstate;
use crate::error::PgFault;

impl PgBackend {
    /// True if a cached statement failed before it ran, because it does not exist.
    pub(super) fn is_absent(&self, fault: &PgFault) -> bool {
        fault.sqlstate == sqlstate::NO_SUCH_STATEMENT && !self.bound
    }

    /// True if a cached statement failed before it ran, because its result now has other
    /// columns. A user's statement inside a function fails alike.
    pub(super) fn is_stale(&self, fault: &PgFault) -> bool {
        let stale = fault.sqlstate == "0A000" && fault.routine == "RevalidateCachedQuery";
        stale && !self.bound
    }

    /// A cached statement has failed so. If it did before it ran, the others of its transaction
    /// are probably outdated too: all are prepared anew. False: it is outdated in no way.
    pub(super) fn notes_outdated(&mut self, fault: &PgFault) -> bool {
        let absent = self.is_absent(fault);
        self.outdated = absent || self.is_stale(fault);
        if absent {
            // So are the steps of the reset.
            self.resets.forget();
        }
        if self.outdated {
            // Those that are there are closed.
            self.statements.clear();
        }
        self.outdated
    }
}

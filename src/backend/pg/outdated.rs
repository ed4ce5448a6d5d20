//! Statements that were prepared, and fail before they run: they are not there any more, or their
//! result has other columns.

use crate::backend::pg::body::PgBackend;
use crate::backend::session::{Done, Rows, RunError};
use crate::backend::sqlstate;
use crate::backend::statement::Statement;
use crate::clock;
use crate::error::PgFault;

/// How often a statement is prepared, while another session changes its table again and again.
const TRIES: usize = 4;

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

    /// The outcome of a statement from the cache, which is prepared and run anew if it failed
    /// before it ran; `idle`: it ran outside a transaction.
    pub(super) fn or_anew(
        &mut self,
        done: Result<Done, RunError>,
        statement: &Statement,
        idle: bool,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let sql = &statement.sql;
        match done {
            Ok(done) => return Ok(Done { cached: true, ..done }),
            // PostgreSQL noticed before it ran that its result has other columns now.
            // Inside a transaction it cannot be repeated: the error has failed the
            // transaction.
            Err(RunError::Fault(fault)) if idle && self.is_stale(&fault) => {
                self.statements.forget(sql);
                self.catch_up("")?;
            }
            Err(RunError::Fault(fault)) if self.notes_outdated(&fault) => {
                let absent = self.is_absent(&fault);
                self.catch_up("")?;
                if !idle {
                    return Err(if absent {
                        RunError::Lookup(fault)
                    } else {
                        RunError::Fault(fault)
                    });
                }
            }
            Err(error @ RunError::Parameter { .. }) => return Err(error),
            Err(error) => {
                // The cached statement may be the cause: the next run prepares it again.
                self.statements.forget(sql);
                return Err(error);
            }
        }
        self.run_anew(statement, idle, rows)
    }

    /// Runs a statement that is not in the cache; `idle`: outside a transaction. There its table
    /// may change before it runs, as nothing is locked in between.
    pub(super) fn run_anew(
        &mut self,
        statement: &Statement,
        idle: bool,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        for _ in 1..TRIES {
            match self.prepare_and_read(statement, rows) {
                Err(RunError::Fault(fault)) if idle && self.is_stale(&fault) => {
                    self.catch_up("")?
                }
                done => return done,
            }
        }
        self.prepare_and_read(statement, rows)
    }

    fn prepare_and_read(
        &mut self,
        statement: &Statement,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let sql = &statement.sql;
        let named = self.statements.keeps(statement);
        if named {
            self.statements.make_room();
        }
        let prepared = self.prepare(sql, named)?;
        self.statements.keep(statement, &prepared, prepared.memory(), clock::now());
        self.read(&prepared, statement, rows)
    }
}

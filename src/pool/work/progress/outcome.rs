//! What became of the statements, and the error that says so.

use super::Progress;
use crate::backend::session::{RunError, Sent};
use crate::backend::sqlstate;
use crate::core::transaction::TransactionState;
use crate::error::{CancelCause, Excess, Outcome, PgFault, RequestError, Work};
use crate::pool::work::operation::Settled;
use crate::pool::work::task::Request;

impl Progress {
    /// What became of the statements.
    pub(in crate::pool::work) fn work(&self) -> Work {
        Work {
            outcome: if !self.sent {
                Outcome::NotStarted
            } else if self.uncertain {
                Outcome::Unknown
            } else if self.applied {
                Outcome::Applied
            } else {
                Outcome::NotApplied
            },
            completed: self.completed,
            failed: self.at,
            transaction: self.after,
        }
    }

    /// `heard`: PostgreSQL has said why, behind the answers to all that it has run.
    fn lost_work(&self, sent: Sent, heard: bool) -> Work {
        let in_transaction = self.ahead || self.before.is_some_and(TransactionState::is_open);
        let may_have_committed = sent == Sent::Whole && (self.committing || self.commits_ahead);
        let outcome = match (sent, self.completed, in_transaction && !may_have_committed) {
            // PostgreSQL rolls an open transaction back when its client is gone.
            (_, _, true) if !self.applied => Outcome::NotApplied,
            (Sent::Nothing, 0, _) => Outcome::NotStarted,
            (Sent::Nothing | Sent::Part, _, _) => self.work().outcome,
            (Sent::Whole, _, _) => Outcome::Unknown,
        };
        // Of those that were sent together it may have run more than it has answered.
        let failed = self.at.filter(|_| heard || !self.together);
        Work { outcome, failed, ..self.work() }
    }

    /// The error as the caller gets it.
    pub(in crate::pool::work) fn explain(
        &self,
        error: RunError,
        settled: Settled,
        request: &Request,
        usable: bool,
    ) -> RequestError {
        let work = self.work();
        if self.rolled_back {
            return RequestError::RolledBack { work };
        }
        match error {
            RunError::Fault(fault) | RunError::Lookup(fault)
                if fault.sqlstate == sqlstate::QUERY_CANCELED && settled.cause.is_some() =>
            {
                self.interrupted(settled, request, usable)
            }
            RunError::Fault(fault) => RequestError::Sql { fault, work },
            RunError::Lookup(fault) => RequestError::Lookup { fault, work },
            RunError::Lost { fault, sent, excess } => {
                self.lost((fault, excess), sent, settled, request)
            }
            RunError::Parameter { index, rule } => RequestError::Parameter {
                statement: self.at.unwrap_or(0),
                parameter: index,
                rule,
                work,
            },
            RunError::Undecodable { column, why, .. } => {
                RequestError::Undecodable { column, why, work }
            }
            RunError::TooLarge { completed } => RequestError::ResultTooLarge {
                limit_bytes: request.max_bytes,
                work,
                cancelled: !completed,
            },
            RunError::Unsupported(what) => RequestError::Unsupported { what, work },
            RunError::Interrupted | RunError::Dropped => self.interrupted(settled, request, usable),
        }
    }

    fn interrupted(&self, settled: Settled, request: &Request, usable: bool) -> RequestError {
        match settled.cause {
            Some(cause) => self.cancelled(cause, self.work(), request, !usable),
            None => RequestError::Internal("an operation was interrupted for no reason"),
        }
    }

    fn cancelled(
        &self,
        cause: CancelCause,
        work: Work,
        request: &Request,
        lease_ended: bool,
    ) -> RequestError {
        match cause {
            CancelCause::Timeout => {
                RequestError::StatementTimeout { limit: request.timeout, work, lease_ended }
            }
            by => RequestError::Cancelled { by, work },
        }
    }

    fn lost(
        &self,
        (fault, excess): (Option<Box<PgFault>>, Option<Excess>),
        sent: Sent,
        settled: Settled,
        request: &Request,
    ) -> RequestError {
        let work = self.lost_work(sent, fault.is_some() || excess.is_some());
        match settled.cause {
            Some(cause) if fault.is_none() && excess.is_none() => {
                self.cancelled(cause, work, request, true)
            }
            _ => RequestError::BackendLost { work, fault, excess },
        }
    }
}

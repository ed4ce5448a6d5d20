//! How far the statements of one request have come, and what is to be said of
//! them when they go no further.

mod commit;
mod outcome;
mod together;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::session::{Backend, RunError, Sent};
use crate::backend::statement::{Coming, Statement};
use crate::backend::statement_result::StatementResult;
use crate::core::sql::command::SqlCommand;
use crate::core::transaction::TransactionState;
use crate::error::{CancelCause, PgFault};
use crate::pool::work::carry::{carry, plain};
use crate::pool::work::kept::ResultLimits;
use crate::pool::work::operation::{Limit, Operation};
use crate::pool::work::task::{Flow, Request};

/// How a request may be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct SendPlan {
    /// The backend is given back after it.
    pub(super) ends: bool,
    /// Statements may be sent before their turn.
    pub(super) ahead: bool,
    /// PostgreSQL need not answer each statement at once.
    pub(super) together: bool,
}

/// True for an error of a command's arguments, which PostgreSQL looks at before it does
/// anything.
fn was_screened(error: &RunError) -> bool {
    let early = ["0A", "25", "2B", "3D", "42", "55"];
    let class =
        |fault: &PgFault| fault.sqlstate.get(..2).is_some_and(|class| early.contains(&class));
    matches!(error, RunError::Fault(fault) if class(fault))
}

/// How far a request has come.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) results: Vec<StatementResult>,
    completed: usize,
    /// The tag of the last command that was completed.
    pub(super) command: Option<String>,
    /// The statement that was tried last.
    at: Option<usize>,
    /// All of the request's own have succeeded.
    all_ran: bool,
    /// Something was sent to PostgreSQL.
    sent: bool,
    /// Something has taken effect for good.
    applied: bool,
    /// A statement failed that may have committed a part of its work.
    uncertain: bool,
    /// BEGIN and COMMIT are ours.
    pub(super) wrapped: bool,
    /// Transaction state before the statement tried last.
    before: Option<TransactionState>,
    /// That statement tried to commit.
    committing: bool,
    /// Everything was sent before its first answer, and perhaps the COMMIT too.
    ahead: bool,
    commits_ahead: bool,
    /// Why the result of a statement cannot be given whose COMMIT was sent with it.
    unread: Option<RunError>,
    /// Those that were sent so, and not answered yet, have one time limit.
    together: bool,
    /// The time limit of the first statement, if it has begun: when that was sent, or with our
    /// BEGIN.
    clock: Option<Limit>,
    /// COMMIT was answered with ROLLBACK.
    rolled_back: bool,
    /// Transaction state at the end; `None` while the backend's is not known.
    pub(super) after: Option<TransactionState>,
}

impl Progress {
    /// Its only statement was sent, and its time limit has begun.
    pub(super) fn lone(clock: Limit) -> Progress {
        Progress { clock: Some(clock), ..Progress::default() }
    }

    /// An atomic call was sent, and the time limit of all its statements has begun. Perhaps its
    /// COMMIT was, too.
    pub(super) fn together(clock: Limit, commits_ahead: bool) -> Progress {
        let (ahead, together, clock) = (true, true, Some(clock));
        Progress { ahead, commits_ahead, together, clock, ..Progress::default() }
    }

    /// Runs all statements, as far as they go.
    pub(super) fn statements(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        request: &Request,
        flow: &mut Flow,
        plan: SendPlan,
    ) -> Result<(), RunError> {
        if !self.all_ran {
            self.until_commit(backend, operation, request, flow, plan)?;
        }
        if self.wrapped {
            self.commit(backend, operation, request.timeout, plan.ends)?;
        }
        self.unread.take().map_or(Ok(()), Err)
    }

    /// Runs all statements but a COMMIT of ours, as far as they go.
    pub(super) fn until_commit(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        request: &Request,
        flow: &mut Flow,
        plan: SendPlan,
    ) -> Result<(), RunError> {
        let ends = plan.ends;
        // Costs no round trip, and tells a backend that was lost while nothing ran from one
        // that may have got a statement.
        let begun = backend.is_ahead();
        if !begun && !backend.is_there() {
            self.before = Some(backend.watch().transaction());
            self.at = (!request.statements.is_empty()).then_some(0);
            let fault = backend.watch().last_words().map(Box::new);
            return Err(RunError::Lost { fault, sent: Sent::Nothing, excess: None });
        }
        if !begun && plan.ahead && matches!(flow, Flow::Gathered) {
            self.send_ahead(backend, operation, request, plan);
        }
        if request.atomic && backend.watch().transaction() == TransactionState::None {
            self.wrap(backend, operation, request.timeout)?;
        }
        let mut left = request.max_bytes;
        for (i, statement) in request.statements.iter().enumerate() {
            self.at = Some(i);
            // What was sent has an answer that is to be known.
            if operation.cause().is_some() && !backend.is_ahead() {
                return Err(RunError::Interrupted);
            }
            if ends && !self.wrapped && i + 1 == request.statements.len() {
                backend.expect_end();
            }
            let limits = ResultLimits { max_bytes: left, max_rows: request.max_rows };
            let result = self.one(backend, operation, statement, limits, request.timeout, flow);
            let result = match result {
                Err(error) if self.commits_ahead && backend.is_ahead() => {
                    // It has run, and what is behind it runs.
                    self.unread.get_or_insert(error);
                    continue;
                }
                Err(error) => {
                    if self.ahead && backend.is_ahead() {
                        // What was sent behind it is for nothing.
                        operation.cancel(CancelCause::Excess);
                    }
                    return Err(error);
                }
                Ok(result) => result,
            };
            left = left.saturating_sub(result.encoded_size());
            self.results.push(result);
            self.completed += 1;
            self.is_still_wrapped(backend)?;
        }
        (self.at, self.all_ran) = (None, true);
        Ok(())
    }

    /// Sends what may be sent before its turn.
    fn send_ahead(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        request: &Request,
        SendPlan { ends, together, .. }: SendPlan,
    ) {
        let Request { statements, atomic, timeout, max_rows, max_bytes } = request;
        let (atomic, timeout, max_rows, max_bytes) = (*atomic, *timeout, *max_rows, *max_bytes);
        // PostgreSQL may have to wait for a lock to understand a statement.
        let _timeout = operation.timeout(timeout);
        let followers = &[];
        let coming =
            Coming { statements, atomic, max_rows, max_bytes, ends, timeout, together, followers };
        backend.expect(coming);
        self.ahead = backend.is_ahead();
        self.commits_ahead = backend.has_committed_ahead();
        self.together = backend.is_together();
    }

    fn is_still_wrapped(&mut self, backend: &dyn Backend) -> Result<(), RunError> {
        if !self.wrapped || backend.watch().transaction() != TransactionState::None {
            return Ok(());
        }
        // None that we know can do this; if one does, going on would apply the rest piece by piece.
        self.wrapped = false;
        Err(RunError::Unsupported("a statement ended the transaction that atomic had begun"))
    }

    /// Begins the transaction that makes a request atomic.
    fn wrap(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        timeout: Duration,
    ) -> Result<(), RunError> {
        // It has begun if they were sent before.
        let clock = self.clock.take().unwrap_or_else(|| match self.together {
            true => operation.timeout_together(timeout),
            false => operation.timeout(timeout),
        });
        plain(backend, "BEGIN").map_err(|error| match error {
            // Nothing of the caller's was sent.
            RunError::Lost { fault, excess, .. } if !self.ahead => {
                RunError::Lost { fault, sent: Sent::Nothing, excess }
            }
            other => other,
        })?;
        self.wrapped = true;
        // The answer to a BEGIN that was sent ahead may come with that of the first
        // statement.
        self.clock = self.ahead.then_some(clock);
        Ok(())
    }

    fn one(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        statement: &Statement,
        limits: ResultLimits,
        timeout: Duration,
        flow: &mut Flow,
    ) -> Result<StatementResult, RunError> {
        self.committing = statement.command.may_commit();
        self.before = Some(backend.watch().transaction());
        let clock = self.clock.take();
        let result = carry(backend, operation, statement, limits, (timeout, clock.as_ref()), flow);
        self.clock = clock.filter(|_| self.together);
        self.note(&statement.command, &result, backend.watch().transaction());
        let result = result?;
        self.command = Some(result.command_tag.clone());
        let asked = statement.command.goes_back();
        let was_open = self.before.is_some_and(TransactionState::is_open);
        if was_open && !asked && result.command_tag == "ROLLBACK" {
            self.rolled_back = true;
            // Nothing of the transaction remains; PostgreSQL has ended it.
            self.wrapped = false;
            return Err(RunError::Interrupted);
        }
        Ok(result)
    }

    /// Notes whether the statement was sent, and whether it has taken effect for
    /// good: outside a transaction at once, inside with its COMMIT.
    fn note(
        &mut self,
        command: &SqlCommand,
        result: &Result<StatementResult, RunError>,
        after: TransactionState,
    ) {
        let tag = match result {
            Ok(result) => result.command_tag.as_str(),
            Err(
                RunError::TooLarge { completed: true }
                | RunError::Undecodable { completed: true, .. }
                | RunError::Dropped,
            ) => {
                // PostgreSQL ran it; only its result could not be given.
                self.completed += 1;
                ""
            }
            Err(
                RunError::Parameter { .. }
                | RunError::Lookup(_)
                | RunError::Unsupported(_)
                | RunError::Interrupted,
            ) => return,
            Err(
                error @ (RunError::Fault(_)
                | RunError::Lost { .. }
                | RunError::TooLarge { .. }
                | RunError::Undecodable { .. }),
            ) => {
                self.sent = true;
                // Outside a transaction these may commit on their way.
                let alone = self.before == Some(TransactionState::None);
                self.uncertain |= alone && command.leaves_a_part(was_screened(error));
                return;
            }
        };
        self.sent = true;
        // COMMIT AND CHAIN leaves a transaction open; COMMIT of a failed one
        // answers ROLLBACK.
        self.applied |= tag == "COMMIT" || (after == TransactionState::None && tag != "ROLLBACK");
    }
}

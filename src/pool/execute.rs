//! Runs the statements of one request on one session, and says truly what
//! became of them.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::keyword::first_keyword;
use crate::backend::session::{Backend, Limits, Notice, RunError, Statement, StatementResult};
use crate::backend::sqlstate;
use crate::core::ids::ConnectionId;
use crate::core::transaction::TransactionState;
use crate::error::{CancelCause, Error, Outcome, PgFault, Work};
use crate::pool::caller::Caller;
use crate::pool::job::{Job, Reply, Session};
use crate::pool::leases::Leases;
use crate::pool::operation::{Operation, Settled, Tools};
use crate::pool::registry::{Registry, Target};
use crate::pool::tenant::Tenant;

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// In this order.
    pub statements: Vec<Statement>,
    /// All or nothing.
    pub atomic: bool,
    /// For each statement.
    pub timeout: Duration,
    /// Rows kept of each result.
    pub max_rows: Option<u64>,
    /// Bytes of all results together.
    pub max_bytes: usize,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Executed {
    /// One for each statement.
    pub results: Vec<StatementResult>,
    /// Of the session afterwards.
    pub transaction: TransactionState,
    /// Notices on the way.
    pub notices: Vec<Notice>,
    /// The lease ended with this call.
    pub lease_ended: bool,
    /// Whether something has taken effect already.
    pub work: Work,
}

/// Runs `request` on a lease, on a worker, and answers `reply`.
pub fn on_lease(
    leases: &Arc<Leases>,
    tools: &Tools,
    id: ConnectionId,
    request: Request,
    release_after: bool,
    caller: &Arc<Caller>,
    reply: Reply<Executed>,
) {
    let operation = Operation::new(tools.clone());
    let (session, _) = match leases.begin(&id, &operation) {
        Ok(begun) => begun,
        Err(error) => return drop(reply.send(Err(error))),
    };
    caller.run(&operation);
    let mut held = Held { session: Some(session), leases: Arc::clone(leases), id };
    tools.workers.run(move || {
        let Some(session) = held.session.as_mut() else {
            return;
        };
        let (mut answer, usable) = run(session, &operation, &request);
        let state = session.taken.backend.watch().transaction();
        let kept = held.give_back(state, usable);
        if kept && release_after {
            // It can have ended by itself in between; ended it is.
            let _ = held.leases.release(&held.id, false);
        }
        if let Ok(executed) = &mut answer {
            executed.lease_ended = release_after || !kept;
        }
        reply.send(answer);
    });
}

/// A lease's session during an operation. A panic loses it, and says so.
struct Held {
    session: Option<Session>,
    leases: Arc<Leases>,
    id: ConnectionId,
}

impl Held {
    fn give_back(&mut self, state: TransactionState, usable: bool) -> bool {
        match self.session.take() {
            Some(session) if usable => self.leases.end(&self.id, session, state),
            Some(session) => {
                self.leases.lost(&self.id, session);
                false
            }
            None => false,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.leases.lost(&self.id, session);
        }
    }
}

/// Runs `request` on any backend of the tenant and answers `reply`.
pub fn one_shot(
    registry: &Arc<Registry>,
    tools: &Tools,
    target: &Target,
    request: Request,
    wait: Duration,
    caller: &Arc<Caller>,
    reply: Reply<Executed>,
) {
    let operation = Operation::new(tools.clone());
    let who = Arc::clone(caller);
    let job = Job::new(caller, move |session| {
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return drop(reply.send(Err(error))),
        };
        who.run(&operation);
        let (answer, usable) = run(&mut session, &operation, &request);
        let state = session.taken.backend.watch().transaction();
        let answer = match answer {
            Ok(executed) if state.is_open() => Err(Error::LeftOpen { work: executed.work }),
            other => other,
        };
        reply.send(answer);
        let tenant = Arc::clone(session.tenant());
        if usable {
            tenant.reset(session);
        } else {
            Tenant::discard(session, "lost");
        }
    });
    registry.admit(target, job, wait);
}

/// Runs all statements. The second value tells whether the backend may be used
/// again.
fn run(
    session: &mut Session,
    operation: &Arc<Operation>,
    request: &Request,
) -> (Result<Executed, Error>, bool) {
    let tenant = Arc::clone(session.tenant());
    let backend = &mut *session.taken.backend;
    let started = crate::clock::now();
    backend.take_notices();
    let mut progress = Progress::default();
    let bound = operation.bind(backend.watch(), backend.canceller());
    let outcome = if bound {
        progress.statements(backend, operation, request)
    } else {
        Err(RunError::Interrupted)
    };
    let settled = operation.settle();
    let mut usable = settled.reusable && !backend.is_closed();
    if progress.wrapped && outcome.is_err() && usable {
        usable = tenant.bounded(backend, |backend| {
            plain(backend, "ROLLBACK").is_ok()
                && backend.watch().transaction() == TransactionState::None
        });
    }
    let transaction = backend.watch().transaction();
    let answer = match outcome {
        Ok(()) => Ok(Executed {
            results: std::mem::take(&mut progress.results),
            transaction,
            notices: backend.take_notices(),
            lease_ended: false,
            work: progress.work(),
        }),
        Err(error) => Err(progress.explain(error, settled, request, usable)),
    };
    let took = crate::clock::now().saturating_duration_since(started);
    let name = answer.as_ref().map_or_else(Error::as_str, |_| "ok");
    let metrics = &tenant.context().tools.metrics;
    metrics.operated("execute", name, tenant.id(), took);
    (answer, usable)
}

/// How far a request has come.
#[derive(Default)]
struct Progress {
    results: Vec<StatementResult>,
    completed: usize,
    /// The statement that was tried last.
    at: Option<usize>,
    /// A statement has taken effect outside any transaction.
    applied: bool,
    /// BEGIN and COMMIT are ours.
    wrapped: bool,
    /// Transaction state before the statement tried last.
    before: Option<TransactionState>,
    /// That statement tried to commit.
    committing: bool,
    /// COMMIT was answered with ROLLBACK.
    rolled_back: bool,
}

impl Progress {
    fn statements(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        request: &Request,
    ) -> Result<(), RunError> {
        if request.atomic && backend.watch().transaction() == TransactionState::None {
            let _timeout = operation.timeout(request.timeout);
            plain(backend, "BEGIN")?;
            self.wrapped = true;
        }
        let mut left = request.max_bytes;
        for (i, statement) in request.statements.iter().enumerate() {
            if operation.cause().is_some() {
                return Err(RunError::Interrupted);
            }
            let limits = Limits { max_bytes: left, max_rows: request.max_rows };
            self.at = Some(i);
            let result = self.one(backend, operation, statement, limits, request.timeout)?;
            let bytes = result.rows.iter().flatten();
            let bytes: usize = bytes.map(crate::core::value::Value::encoded_size).sum();
            left = left.saturating_sub(bytes + 8 * result.rows.len());
            self.results.push(result);
            self.completed += 1;
        }
        self.at = None;
        if self.wrapped {
            let commit = Statement { sql: "COMMIT".to_owned(), parameters: Vec::new() };
            let limits = Limits { max_bytes: 0, max_rows: None };
            self.one(backend, operation, &commit, limits, request.timeout)?;
            self.wrapped = false;
        }
        Ok(())
    }

    fn one(
        &mut self,
        backend: &mut dyn Backend,
        operation: &Arc<Operation>,
        statement: &Statement,
        limits: Limits,
        timeout: Duration,
    ) -> Result<StatementResult, RunError> {
        let keyword = first_keyword(&statement.sql).to_ascii_uppercase();
        self.committing = matches!(keyword.as_str(), "COMMIT" | "END" | "PREPARE");
        self.before = Some(backend.watch().transaction());
        let alarm = operation.timeout(timeout);
        let result = backend.run(statement, limits, &|| operation.cancel(CancelCause::Excess));
        drop(alarm);
        let result = result?;
        if self.committing && result.command_tag == "ROLLBACK" {
            self.rolled_back = true;
            // Nothing of the transaction remains; PostgreSQL has ended it.
            self.wrapped = false;
            return Err(RunError::Interrupted);
        }
        self.applied |= backend.watch().transaction() == TransactionState::None;
        Ok(result)
    }

    fn work(&self) -> Work {
        Work {
            outcome: if self.at.is_none() && self.completed == 0 && !self.rolled_back {
                Outcome::NotStarted
            } else if self.applied {
                Outcome::Applied
            } else {
                Outcome::NotApplied
            },
            completed: self.completed,
            failed: self.at,
        }
    }

    fn lost_work(&self, sent: bool) -> Work {
        let in_transaction = self.before.is_some_and(TransactionState::is_open);
        let outcome = match (sent, self.completed, in_transaction && !self.committing) {
            // PostgreSQL rolls an open transaction back when its client is gone.
            (_, _, true) if !self.applied => Outcome::NotApplied,
            (false, 0, _) => Outcome::NotStarted,
            (false, _, _) => self.work().outcome,
            (true, _, _) => Outcome::Unknown,
        };
        Work { outcome, ..self.work() }
    }

    fn explain(&self, error: RunError, settled: Settled, request: &Request, usable: bool) -> Error {
        let work = self.work();
        if self.rolled_back {
            return Error::RolledBack { work };
        }
        match error {
            RunError::Fault(fault) if fault.sqlstate == sqlstate::QUERY_CANCELED => {
                match settled.cause {
                    Some(cause) => self.cancelled(cause, work, request, !usable),
                    None => Error::Sql { fault, work },
                }
            }
            RunError::Fault(fault) => Error::Sql { fault, work },
            RunError::Lost { fault, sent } => self.lost(fault, sent, settled, request),
            RunError::Parameter { index, rule } => {
                Error::Parameter { statement: self.at.unwrap_or(0), parameter: index, rule, work }
            }
            RunError::Undecodable { column, why } => Error::Undecodable { column, why, work },
            RunError::TooLarge => Error::ResultTooLarge {
                limit_bytes: request.max_bytes,
                work,
                cancelled: settled.cause == Some(CancelCause::Excess),
            },
            RunError::Unsupported(what) => Error::Unsupported { what, work },
            RunError::Interrupted => match settled.cause {
                Some(cause) => self.cancelled(cause, work, request, !usable),
                None => Error::Internal("an operation was interrupted for no reason"),
            },
        }
    }

    fn cancelled(
        &self,
        cause: CancelCause,
        work: Work,
        request: &Request,
        lease_ended: bool,
    ) -> Error {
        match cause {
            CancelCause::Timeout => {
                Error::StatementTimeout { limit: request.timeout, work, lease_ended }
            }
            by => Error::Cancelled { by, work },
        }
    }

    fn lost(
        &self,
        fault: Option<Box<PgFault>>,
        sent: bool,
        settled: Settled,
        request: &Request,
    ) -> Error {
        let work = self.lost_work(sent);
        match settled.cause {
            Some(cause) if fault.is_none() => self.cancelled(cause, work, request, true),
            _ => Error::BackendLost { work, fault },
        }
    }
}

fn plain(backend: &mut dyn Backend, sql: &str) -> Result<StatementResult, RunError> {
    let statement = Statement { sql: sql.to_owned(), parameters: Vec::new() };
    let limits = Limits { max_bytes: 0, max_rows: None };
    backend.run(&statement, limits, &|| ())
}

//! Runs the statements of one request on one backend, and says truly what
//! became of them.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::session::{Backend, RunError};
use crate::clock;
use crate::core::budget;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;
use crate::core::transaction::TransactionState;
use crate::error::RequestError;
use crate::logging;
use crate::metrics::RunPlace;
use crate::pool::account::Account;
use crate::pool::backends::Backends;
use crate::pool::checkout::Checkout;
use crate::pool::memory::Use;
use crate::pool::peers::Peer;
use crate::pool::work::begun::{cancel_in_a_flood, Begun};
use crate::pool::work::carry::plain;
use crate::pool::work::operation::Operation;
use crate::pool::work::progress::{Progress, SendPlan};
use crate::pool::work::task::{Executed, Flow, Request, Task};

/// How a request went on a backend.
pub(in crate::pool) struct RequestEnd {
    /// For its caller.
    pub(in crate::pool) answer: Result<Executed, RequestError>,
    /// The backend may be used again.
    pub(in crate::pool) usable: bool,
    /// The tag of the last command that was completed.
    pub(in crate::pool) command: Option<String>,
}

/// Runs all statements of a request that has begun. With `states`, an error says in which
/// transaction state it leaves the backend. With `ends`, the backend is given back afterwards, so
/// that its reset may be sent with the last statement.
pub(in crate::pool) fn run(
    checkout: &mut Checkout,
    operation: &Arc<Operation>,
    work: &mut Task,
    begun: Begun,
    (states, ends): (bool, bool),
    peer: &Peer,
) -> RequestEnd {
    let request = &work.request;
    if let Some(interrupt) = work.flow.interrupter() {
        operation.interrupts(interrupt);
    }
    let drops_rows = matches!(work.flow, Flow::Rows(_) | Flow::CopyOut(_));
    let backends = Arc::clone(&checkout.backends);
    let account = backends.account();
    open(&mut work.flow, account, peer);
    let backend = &mut *checkout.taken.backend;
    let ends = ends && backends.resets();
    let (first, mut progress) = begun.go_on(backend, operation, request, &mut work.flow, ends);
    let outcome = match first {
        Ok(()) => Ok(()),
        Err(error) => {
            let (flow, whose) = (&mut work.flow, (&*backends, operation));
            once_more(&mut progress, error, backend, whose, request, flow, ends)
        }
    };
    let settled = operation.settle();
    if settled.cancelled {
        backend.was_cancelled();
    }
    // A cancel that PostgreSQL had no time to see has dropped rows all the same.
    let outcome = match outcome {
        Ok(()) if drops_rows && settled.cause.is_some() => Err(RunError::Interrupted),
        other => other,
    };
    work.behind.sent.store(backend.in_flight(), Ordering::Relaxed);
    let mut usable = settled.reusable && !backend.is_closed();
    if progress.wrapped && outcome.is_err() && usable {
        usable = backends.bounded(backend, roll_back);
    }
    let transaction = backend.watch().transaction();
    progress.after = (usable && states).then_some(transaction);
    let answer = match outcome {
        Ok(()) => Ok(Executed {
            results: std::mem::take(&mut progress.results),
            transaction,
            notices: backend.take_notices(),
            lease_ended: false,
            work: progress.work(),
            held: budget::Held::default(),
        }),
        Err(error) => Err(progress.explain(error, settled, request, usable)),
    };
    RequestEnd { answer, usable, command: progress.command }
}

/// A request has failed so. If one of the statements that were sent together may have had less than
/// its time, or one was outdated, all are undone, and run again one after the other.
fn once_more(
    progress: &mut Progress,
    error: RunError,
    backend: &mut dyn Backend,
    (backends, operation): (&Backends, &Arc<Operation>),
    request: &Request,
    flow: &mut Flow,
    ends: bool,
) -> Result<(), RunError> {
    let outdated = progress.was_outdated(backend);
    let again = (outdated || progress.had_less_time(&error, operation))
        && operation.cancel_arrives()
        && backends.bounded(backend, roll_back)
        && operation.goes_on();
    if !again {
        // It would run once more, did nobody want it to end.
        let interrupted = outdated && operation.cause().is_some();
        return Err(if interrupted { RunError::Interrupted } else { error });
    }
    *progress = Progress::default();
    // Those of the run that was undone.
    backend.take_notices();
    cancel_in_a_flood(backend, operation);
    // One that is outdated is prepared at its turn, and locks its table until COMMIT.
    let plan = SendPlan { ends, ahead: !outdated, together: false };
    progress.statements(backend, operation, request, flow, plan)
}

/// Gives a flow the room that its data may take.
fn open(flow: &mut Flow, account: &Account, peer: &Peer) {
    match flow {
        Flow::Gathered => {}
        Flow::Rows(outlet) => outlet.open(account.room(Use::Answers, peer)),
        Flow::CopyOut(outlet) => outlet.open(account.room(Use::Answers, peer)),
        Flow::CopyIn(inlet) => inlet.open(account.room(Use::ReadAhead, peer)),
    }
}

/// Ends a transaction of ours whose statements have failed. True: none is open.
fn roll_back(backend: &mut dyn Backend) -> bool {
    // A COMMIT that failed has ended the transaction.
    (!backend.watch().transaction().is_open() && !backend.is_ahead()
        || plain(backend, "ROLLBACK").is_ok())
        && backend.watch().transaction() == TransactionState::None
}

/// Counts a request that ran SQL there, and tells of a slow one.
pub(in crate::pool) fn count(
    account: &Account,
    operation: &Operation,
    (work, place): (&Task, RunPlace),
    answer: &Result<Executed, RequestError>,
    started: Instant,
) {
    let took = clock::now().saturating_duration_since(started);
    let failure = answer.as_ref().err().map(RequestError::as_str);
    account.series().operated(work.flow.kind(), place, failure, took);
    let slow = account.context().live().slow_statement;
    // How long a stream takes is up to its client.
    if took >= slow && !slow.is_zero() && !work.flow.is_streamed() {
        account.series().slow();
        tell_slow(account, operation, answer, took);
    }
    let metrics = &account.context().tools.metrics;
    for result in answer.iter().flat_map(|executed| &executed.results) {
        metrics.statement(result.cached);
    }
}

/// Logs a slow request without its SQL: once a minute for a tenant, with the number between.
fn tell_slow(
    account: &Account,
    operation: &Operation,
    answer: &Result<Executed, RequestError>,
    took: Duration,
) {
    let outcome = answer.as_ref().map_or_else(RequestError::as_str, |_| "ok");
    let Some(repeated) = logging::admits_state("slow_statement", account.id(), "slow") else {
        return;
    };
    let results = answer.as_ref().map_or(&[][..], |executed| &executed.results);
    let rows: u64 = results.iter().map(|result| result.rows_affected).sum();
    let tag = results.last().map_or("", |result| result.command_tag.as_str());
    let (whose, statements, tag, took) =
        (operation.whose(), results.len(), Quoted(tag), Secs(took));
    log::warn!(
        "event=slow_statement{whose} took_s={took} outcome={outcome} statements={statements} \
         rows={rows} command={tag}{repeated}"
    );
}

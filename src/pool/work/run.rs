//! Runs the statements of one request on one backend, and says truly what
//! became of them.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::session::{Backend, Coming, RunError};
use crate::clock;
use crate::core::budget;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;
use crate::core::transaction::TransactionState;
use crate::error::{CancelCause, RequestError};
use crate::logging;
use crate::metrics::RunPlace;
use crate::pool::account::Account;
use crate::pool::backends::Backends;
use crate::pool::checkout::Checkout;
use crate::pool::memory::Use;
use crate::pool::peers::Peer;
use crate::pool::work::carry::plain;
use crate::pool::work::operation::{Limit, Operation};
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

/// A request that has a backend, and may have been sent there.
pub(in crate::pool) struct Begun {
    /// False: it was cancelled before.
    bound: bool,
    /// Its only statement was sent, and its time limit has begun.
    sent: Option<Limit>,
}

impl Begun {
    /// True if its answer can be awaited: all of it was sent.
    pub(in crate::pool) fn is_sent(&self) -> bool {
        self.sent.is_some()
    }
}

/// Binds a request to its backend, and sends it if that needs no wait: PostgreSQL works on it
/// while a worker is being woken. `ends` tells that the backend is given back after it. Does
/// not block.
pub(in crate::pool) fn begin(
    checkout: &mut Checkout,
    operation: &Arc<Operation>,
    work: &Task,
    ends: bool,
) -> Begun {
    let Request { statements, atomic, max_rows, timeout, .. } = &work.request;
    let (atomic, max_rows, timeout) = (*atomic, *max_rows, *timeout);
    let ends = ends && checkout.backends.resets();
    let backend = &mut *checkout.taken.backend;
    backend.take_notices();
    let mut bound = operation.bind(backend.watch(), backend.canceller());
    cancel_in_a_flood(backend, operation);
    if !bound && backend.has_sent(statements) {
        // It was sent before it was cancelled: now it is its turn.
        operation.cancel_again();
        bound = true;
    }
    if !bound || atomic || statements.len() != 1 || work.flow.is_streamed() {
        return Begun { bound, sent: None };
    }
    let clock = operation.timeout(timeout);
    let followers = &work.behind.followers;
    let together = false;
    let coming = Coming { statements, atomic, max_rows, ends, timeout, together, followers };
    let sent = backend.begin(coming);
    work.behind.sent.store(backend.in_flight().saturating_sub(1), Ordering::Relaxed);
    Begun { bound, sent: sent.then_some(clock) }
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
    let (bound, mut progress) = (begun.bound, Progress::begun(begun.sent));
    let outcome = match bound {
        true => {
            let ends = ends && backends.resets();
            all(&mut progress, (&backends, backend), operation, request, &mut work.flow, ends)
        }
        false => Err(RunError::Interrupted),
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

/// Runs all statements, as far as they go. If one of those that were sent together may have had
/// less than its time, all are undone, and run again one after the other.
fn all(
    progress: &mut Progress,
    (backends, backend): (&Backends, &mut dyn Backend),
    operation: &Arc<Operation>,
    request: &Request,
    flow: &mut Flow,
    ends: bool,
) -> Result<(), RunError> {
    let plan = SendPlan { ends, together: true };
    let first = progress.statements(backend, operation, request, flow, plan);
    let again = first.as_ref().is_err_and(|error| progress.had_less_time(error, operation))
        && operation.cancel_arrives()
        && backends.bounded(backend, roll_back)
        && operation.goes_on();
    if !again {
        return first;
    }
    *progress = Progress::default();
    // Those of the run that was undone.
    backend.take_notices();
    cancel_in_a_flood(backend, operation);
    progress.statements(backend, operation, request, flow, SendPlan { together: false, ..plan })
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

/// More notices than are kept cancel the operation.
fn cancel_in_a_flood(backend: &dyn Backend, operation: &Arc<Operation>) {
    let flooded = Arc::downgrade(operation);
    backend.watch().on_flood(move || {
        if let Some(operation) = flooded.upgrade() {
            operation.cancel(CancelCause::Notices);
        }
    });
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

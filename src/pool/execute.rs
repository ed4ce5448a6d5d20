//! Runs the statements of one request on one session, and says truly what
//! became of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::notice::Notice;
use crate::backend::session::{RunError, Statement, StatementResult};
use crate::clock;
use crate::config::lease::MAX_LIFETIME;
use crate::core::budget;
use crate::core::transaction::TransactionState;
use crate::error::{CancelCause, Error, Work};
use crate::metrics::{Kind, Place};
use crate::pool::caller::Caller;
use crate::pool::job::{Job, Reply, Session};
use crate::pool::memory::{Room, Use};
use crate::pool::operation::{Operation, Tools};
use crate::pool::outlet::{DataOutlet, Inlet, Interrupt, RowOutlet};
use crate::pool::peers::Peer;
use crate::pool::progress::{plain, Progress};
use crate::pool::registry::{Registry, Target};
use crate::pool::tenant::Tenant;

/// What a request holds besides its statements: its place, its reply, its caller.
pub(super) const REQUEST_BYTES: usize = 1 << 10;

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

impl Request {
    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        REQUEST_BYTES + self.statements.iter().map(Statement::memory).sum::<usize>()
    }
}

/// A request, and where its data goes or comes from.
pub struct Task {
    /// What to run; with a flow of its own, one statement without more.
    pub request: Request,
    /// How its data flows.
    pub flow: Flow,
    /// The memory of the request, if it was counted before it came here.
    pub counted: Option<budget::Held>,
}

impl Task {
    /// A request whose data flows so.
    pub fn new(request: Request, flow: Flow) -> Task {
        Task { request, flow, counted: None }
    }
}

/// How the data of a request flows.
pub enum Flow {
    /// All rows go into the answer.
    Gathered,
    /// Rows go there as they come.
    Rows(Box<dyn RowOutlet>),
    /// The data of a COPY goes there as it comes.
    CopyOut(Box<dyn DataOutlet>),
    /// The data of a COPY comes from there.
    CopyIn(Box<dyn Inlet>),
}

impl Flow {
    /// What it counts as.
    fn kind(&self) -> Kind {
        match self {
            Flow::Gathered => Kind::Execute,
            Flow::Rows(_) => Kind::Query,
            Flow::CopyOut(_) => Kind::CopyOut,
            Flow::CopyIn(_) => Kind::CopyIn,
        }
    }

    /// True if the client's pace says how long it takes.
    fn is_streamed(&self) -> bool {
        !matches!(self, Flow::Gathered)
    }

    fn interrupter(&self) -> Option<Interrupt> {
        match self {
            Flow::Gathered => None,
            Flow::Rows(outlet) => Some(outlet.interrupter()),
            Flow::CopyOut(outlet) => Some(outlet.interrupter()),
            Flow::CopyIn(inlet) => Some(inlet.interrupter()),
        }
    }
}

impl From<Request> for Task {
    fn from(request: Request) -> Task {
        Task::new(request, Flow::Gathered)
    }
}

/// What came of it.
#[derive(Debug)]
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
    /// The memory of its results, until their reader has taken them.
    pub held: budget::Held,
}

impl Executed {
    /// Its results count from now on. It is not refused for want of room, which would hide
    /// what became of the work: whoever does not take answers is refused the next.
    pub(super) fn count(&mut self, answers: &Room) {
        let bytes = self.results.iter().map(StatementResult::encoded_size).sum();
        self.held = answers.take_over(bytes);
    }
}

/// Runs `request` on any backend of the tenant and answers `reply`.
pub fn one_shot(
    registry: &Arc<Registry>,
    tools: &Tools,
    target: &Target,
    mut work: Task,
    wait: Duration,
    caller: &Arc<Caller>,
    reply: Reply<Executed>,
) {
    let operation = Operation::new(tools.clone());
    let who = Arc::clone(caller);
    let streamed = work.flow.is_streamed();
    let bytes = work.request.memory();
    let mut job = Job::new(caller, move |session| {
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let answers = session.tenant().room(Use::Answers, who.peer());
        if let Err(error) = answers.check() {
            drop(reply.send(Err(error)));
            return Arc::clone(session.tenant()).reset(session);
        }
        operation.belongs_to(session.tenant().id(), None);
        who.run(&operation);
        // A reader's pace is not bounded otherwise: a lease has a lifetime.
        let _life =
            streamed.then(|| operation.cancel_after(MAX_LIFETIME, CancelCause::MaxLifetime));
        let (started, tenant) = (clock::now(), Arc::clone(session.tenant()));
        let (answer, usable, _) = run(&mut session, &operation, &mut work, true, true, who.peer());
        let state = session.taken.backend.watch().transaction();
        let answer = match answer {
            Ok(executed) if state.is_open() => {
                Err(Error::LeftOpen { work: Work { transaction: None, ..executed.work } })
            }
            Ok(mut executed) => {
                executed.count(&answers);
                Ok(executed)
            }
            error => error,
        };
        count(&tenant, (&work, Place::OneShot), &answer, started);
        // Its end tells the reader that no more comes.
        drop(work);
        reply.send(answer);
        if usable {
            tenant.reset(session);
        } else {
            Tenant::discard(session, "lost");
        }
    });
    // Held for as long as a reader likes, it counts as a lease does.
    job.for_lease = streamed;
    job.bytes = bytes;
    registry.admit(target, job, wait);
}

/// Runs all statements; `stays` tells whether the session is there afterwards, for whoever
/// asks, and `ends` that it is given back. The second value tells whether the backend may be used
/// again, the third is the tag of the last command that was completed.
pub(super) fn run(
    session: &mut Session,
    operation: &Arc<Operation>,
    work: &mut Task,
    stays: bool,
    ends: bool,
    peer: &Peer,
) -> (Result<Executed, Error>, bool, Option<String>) {
    let request = &work.request;
    if let Some(interrupt) = work.flow.interrupter() {
        operation.interrupts(interrupt);
    }
    let drops_rows = matches!(work.flow, Flow::Rows(_) | Flow::CopyOut(_));
    let tenant = Arc::clone(session.tenant());
    match &mut work.flow {
        Flow::Gathered => {}
        Flow::Rows(outlet) => outlet.open(tenant.room(Use::Answers, peer)),
        Flow::CopyOut(outlet) => outlet.open(tenant.room(Use::Answers, peer)),
        Flow::CopyIn(inlet) => inlet.open(tenant.room(Use::ReadAhead, peer)),
    }
    let backend = &mut *session.taken.backend;
    backend.take_notices();
    let mut progress = Progress::default();
    let flooded = Arc::downgrade(operation);
    let bound = operation.bind(backend.watch(), backend.canceller());
    backend.watch().on_flood(move || {
        if let Some(operation) = flooded.upgrade() {
            operation.cancel(CancelCause::Notices);
        }
    });
    let outcome = if bound {
        let ends = ends && tenant.resets();
        progress.statements(backend, operation, request, &mut work.flow, ends)
    } else {
        Err(RunError::Interrupted)
    };
    let settled = operation.settle();
    // A cancel that PostgreSQL had no time to see has dropped rows all the same.
    let outcome = match outcome {
        Ok(()) if drops_rows && settled.cause.is_some() => Err(RunError::Interrupted),
        other => other,
    };
    let mut usable = settled.reusable && !backend.is_closed();
    if progress.wrapped && outcome.is_err() && usable {
        usable = tenant.bounded(backend, |backend| {
            // A COMMIT that failed has ended the transaction.
            (!backend.watch().transaction().is_open() && !backend.is_ahead()
                || plain(backend, "ROLLBACK").is_ok())
                && backend.watch().transaction() == TransactionState::None
        });
    }
    let transaction = backend.watch().transaction();
    progress.after = (usable && stays).then_some(transaction);
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
    (answer, usable, progress.command)
}

/// Counts a request that ran SQL there.
pub(super) fn count(
    tenant: &Tenant,
    (work, place): (&Task, Place),
    answer: &Result<Executed, Error>,
    started: Instant,
) {
    let took = clock::now().saturating_duration_since(started);
    let failure = answer.as_ref().err().map(Error::as_str);
    tenant.series().operated(work.flow.kind(), place, failure, took);
    let metrics = &tenant.context().tools.metrics;
    for result in answer.iter().flat_map(|executed| &executed.results) {
        metrics.statement(result.cached);
    }
}

//! What one request has run on a backend, and what comes of it.

use std::sync::atomic::AtomicUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::notice::Notice;
use crate::backend::statement::{Follower, Statement};
use crate::backend::statement_result::StatementResult;
use crate::core::budget;
use crate::core::transaction::TransactionState;
use crate::error::Work;
use crate::metrics::Kind;
use crate::pool::memory::Room;
use crate::pool::work::outlet::{DataOutlet, DataSource, Interrupt, RowOutlet};

/// What a request holds besides its statements: its place, its responder, its caller.
pub(in crate::pool) const REQUEST_BYTES: usize = 1 << 10;

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// In this order.
    pub statements: Arc<[Statement]>,
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
    /// Those behind it, if it is a stream's.
    pub behind: Behind,
}

/// The requests of a stream that wait behind one.
#[derive(Default)]
pub struct Behind {
    /// Those that may be sent with it.
    pub followers: Vec<Follower>,
    /// How many have been sent.
    pub sent: Arc<AtomicUsize>,
}

impl Task {
    /// A request whose data flows so.
    pub fn new(request: Request, flow: Flow) -> Task {
        Task { request, flow, counted: None, behind: Behind::default() }
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
    CopyIn(Box<dyn DataSource>),
}

impl Flow {
    /// What it counts as.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Flow::Gathered => Kind::Execute,
            Flow::Rows(_) => Kind::Query,
            Flow::CopyOut(_) => Kind::CopyOut,
            Flow::CopyIn(_) => Kind::CopyIn,
        }
    }

    /// True if the client's pace says how long it takes.
    pub(in crate::pool) fn is_streamed(&self) -> bool {
        !matches!(self, Flow::Gathered)
    }

    pub(super) fn interrupter(&self) -> Option<Interrupt> {
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
    /// Of the backend afterwards.
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
    /// what became of the work: a client that does not read answers is refused the next.
    pub(in crate::pool) fn count(&mut self, answers: &Room) {
        let bytes = self.results.iter().map(StatementResult::encoded_size).sum();
        self.held = answers.take_over(bytes);
    }
}

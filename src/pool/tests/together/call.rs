//! A call on a backend that is made of nothing, and what happens to it.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use super::super::fakes::good;
use super::super::world::{wait_for, world, World};
use crate::backend::cancel::Canceller;
use crate::backend::copy::{Sink, Source};
use crate::backend::listen::Heard;
use crate::backend::notice::Notice;
use crate::backend::session::{self, Backend, Done, Rows, RunError};
use crate::backend::statement::{Coming, Statement};
use crate::backend::stream::watch::Watch;
use crate::clock;
use crate::core::channels::Change;
use crate::core::transaction::TransactionState;
use crate::core::value::Column;
use crate::error::PgFault;
use crate::lock::Leaf;
use crate::pgwire::facts::CancelKey;
use crate::pgwire::row::RawRow;
use crate::pgwire::values::Shape;
use crate::pool::caller::Caller;
use crate::pool::work::begun::{begin, AfterAnswers};
use crate::pool::work::operation::Operation;
use crate::pool::work::run::{run, RequestEnd};
use crate::pool::work::task::{Request, Task};

/// Longer than a cancel may take.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// What a statement comes to: an error, or nothing.
pub(super) type Answer = Option<&'static str>;

/// What is asked for it: of the run with this number, this statement.
type Answers = Box<dyn Fn(&Call, (usize, &str), &dyn Rows) -> Answer + Send>;

/// The error of one whose connection is gone.
pub(super) const LOST: &str = "lost";

/// It succeeds, and returns a value that cannot be read.
pub(super) const MALFORMED: &str = "malformed";

/// A call on a backend that is made of nothing.
pub(super) struct Call {
    pub(super) world: World,
    pub(super) operation: Arc<Operation>,
    /// Where its cancels are taken, and where they go.
    listener: TcpListener,
    address: SocketAddr,
    /// What has run, and how often cancels were sent and arrived.
    seen: Leaf<Vec<String>>,
    /// It is sent before a worker waits for it.
    early: bool,
    /// How it went on then.
    pub(super) next: Leaf<Option<AfterAnswers>>,
}

/// Whether a call is sent before a worker waits for it.
pub(super) const EARLY: [bool; 2] = [false, true];

impl Call {
    pub(super) fn new(early: bool) -> Arc<Call> {
        Call::of(early, |listener| listener.local_addr().expect("an address"))
    }

    /// Nobody takes its cancels.
    pub(super) fn deaf(early: bool) -> Arc<Call> {
        Call::of(early, |_| {
            let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            gone.local_addr().expect("an address")
        })
    }

    fn of(early: bool, address: impl FnOnce(&TcpListener) -> SocketAddr) -> Arc<Call> {
        let world = world(1, good());
        let operation = Operation::new(world.context.tools.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = address(&listener);
        let (seen, next) = (Leaf::default(), Leaf::default());
        Arc::new(Call { world, operation, listener, address, seen, early, next })
    }

    /// The time of what was sent passes.
    pub(super) fn passes(&self) {
        self.world.context.tools.alarms.run_due(clock::now() + LIMIT, 100);
    }

    /// The cancel is sent, and is seen to arrive.
    pub(super) fn is_cancelled(&self) {
        self.passes();
        let mut taken = None;
        wait_for(|| {
            taken = self.listener.accept().ok();
            taken.is_some()
        });
        let (mut stream, _) = taken.expect("a cancel");
        stream.read_exact(&mut [0; 16]).expect("a cancel");
        self.seen.lock().push("cancelled".to_owned());
    }

    /// Runs two statements, each of which comes to what is told of it. `commits`: their COMMIT is
    /// sent with them.
    pub(super) fn run(
        self: &Arc<Self>,
        commits: bool,
        answer: impl Fn(&Call, (usize, &str), &dyn Rows) -> Answer + Send + 'static,
    ) -> RequestEnd {
        let mut checkout = self.world.checkout();
        let key = CancelKey { pid: 7, secret: vec![0; 4] };
        checkout.taken.backend = Box::new(Sent {
            call: Arc::clone(self),
            watch: Arc::clone(checkout.taken.backend.watch()),
            canceller: Canceller::new(self.address, "h".to_owned(), key, None),
            answer: Box::new(answer),
            commits,
            together: Vec::new(),
            awaited: 0,
        });
        let statements = ["first", "second"].map(|sql| Statement::new(sql, Vec::new()));
        let request = Request {
            statements: Arc::new(statements),
            atomic: true,
            timeout: LIMIT,
            max_rows: None,
            max_bytes: 1 << 20,
        };
        let (mut task, caller) = (Task::from(request), Caller::nobody());
        let mut begun = begin(&mut checkout, &self.operation, &task, false);
        if begun.is_sent() {
            // Nothing of this waits.
            let next = begun.advance(&mut checkout, &self.operation, &mut task, false);
            *self.next.lock() = Some(next);
        }
        let end =
            run(&mut checkout, &self.operation, &mut task, begun, (true, false), caller.peer());
        checkout.discard("lost");
        end
    }

    /// What has happened.
    pub(super) fn seen(&self) -> String {
        assert!(self.listener.accept().is_err(), "another cancel");
        self.seen.lock().join(" ")
    }
}

/// A backend to which a call was sent before its turn.
struct Sent {
    call: Arc<Call>,
    watch: Arc<Watch>,
    canceller: Canceller,
    answer: Answers,
    commits: bool,
    /// For each time that it was sent.
    together: Vec<bool>,
    awaited: usize,
}

impl Backend for Sent {
    fn pid(&self) -> i32 {
        7
    }
    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
    fn canceller(&self) -> Option<Canceller> {
        Some(self.canceller.clone())
    }
    fn is_closed(&mut self) -> bool {
        self.watch.is_aborted()
    }
    fn expect(&mut self, coming: Coming<'_>) {
        let how = if coming.together { "together" } else { "apart" };
        self.call.seen.lock().push(how.to_owned());
        self.together.push(coming.together);
        self.awaited = coming.statements.len() + 1 + usize::from(self.commits);
    }
    fn begin(&mut self, coming: Coming<'_>) -> bool {
        if self.call.early {
            self.expect(coming);
        }
        self.call.early
    }
    fn begin_commit(&mut self, _: bool) -> bool {
        self.awaited = 1;
        true
    }
    fn is_ahead(&self) -> bool {
        self.awaited > 0
    }
    fn is_together(&self) -> bool {
        self.is_ahead() && self.together.last() == Some(&true)
    }
    fn has_committed_ahead(&self) -> bool {
        self.commits && self.is_ahead()
    }
    fn run(&mut self, statement: &Statement, rows: &mut dyn Rows) -> Result<Done, RunError> {
        let (sql, run) = (&*statement.sql, self.together.len());
        self.call.seen.lock().push(sql.to_owned());
        self.awaited = self.awaited.saturating_sub(1);
        let answer = (self.answer)(&self.call, (run, sql), rows);
        let (state, command_tag) = match sql {
            "COMMIT" | "ROLLBACK" => (TransactionState::None, sql.to_owned()),
            _ => (TransactionState::Open, sql.to_owned()),
        };
        if answer == Some(MALFORMED) {
            let column = Column {
                name: "n".to_owned(),
                type_oid: 23,
                type_name: "int4".to_owned(),
                table_oid: 0,
            };
            rows.head(&[column]);
            let row = RawRow::read(&[0, 1, 0, 0, 0, 1, 7], 1).expect("a row");
            rows.row(&[Shape::Scalar(23)], &row);
        }
        let Some(sqlstate) = answer.filter(|answer| *answer != MALFORMED) else {
            self.watch.stands_at(state);
            return Ok(Done { rows_affected: 0, command_tag, cached: true });
        };
        self.awaited = 0;
        if sqlstate == LOST {
            self.watch.abort_now();
            return Err(RunError::Lost { fault: None, sent: session::Sent::Whole, excess: None });
        }
        self.watch.stands_at(TransactionState::Failed);
        let fault = PgFault { sqlstate: sqlstate.to_owned(), ..PgFault::default() };
        Err(RunError::Fault(Box::new(fault)))
    }
    fn copy_in(&mut self, _: &Statement, _: &mut dyn Source) -> Result<Done, RunError> {
        Err(RunError::Unsupported("copy"))
    }
    fn copy_out(&mut self, _: &Statement, _: &mut dyn Sink) -> Result<Done, RunError> {
        Err(RunError::Unsupported("copy"))
    }
    fn listen(&mut self, _: &Change) -> Result<(), RunError> {
        Err(RunError::Unsupported("listen"))
    }
    fn hear(&mut self, _: Duration) -> Result<Heard, RunError> {
        Err(RunError::Unsupported("listen"))
    }
    fn check(&mut self) -> bool {
        true
    }
    fn reset(&mut self) -> bool {
        true
    }
    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }
}

//! A call whose statements were sent together, and whose time passes meanwhile.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use super::fakes::good;
use super::world::{wait_for, world, World};
use crate::backend::cancel::Canceller;
use crate::backend::copy::{Sink, Source};
use crate::backend::listen::Heard;
use crate::backend::notice::Notice;
use crate::backend::session::{self, Backend, Done, Rows, RunError};
use crate::backend::sqlstate::QUERY_CANCELED;
use crate::backend::statement::{Coming, Statement};
use crate::backend::stream::watch::Watch;
use crate::clock;
use crate::core::channels::Change;
use crate::core::transaction::TransactionState;
use crate::core::value::Column;
use crate::error::{CancelCause, Outcome, PgFault, RequestError};
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
const LIMIT: Duration = Duration::from_secs(60);

/// What a statement comes to: an error, or nothing.
type Answer = Option<&'static str>;

/// What is asked for it: of the run with this number, this statement.
type Answers = Box<dyn Fn(&Call, (usize, &str), &dyn Rows) -> Answer + Send>;

/// The error of one whose connection is gone.
const LOST: &str = "lost";

/// It succeeds, and returns a value that cannot be read.
const MALFORMED: &str = "malformed";

/// A call on a backend that is made of nothing.
struct Call {
    world: World,
    operation: Arc<Operation>,
    /// Where its cancels are taken, and where they go.
    listener: TcpListener,
    address: SocketAddr,
    /// What has run, and how often cancels were sent and arrived.
    seen: Leaf<Vec<String>>,
    /// It is sent before a worker waits for it.
    early: bool,
    /// How it went on then.
    next: Leaf<Option<AfterAnswers>>,
}

/// Whether a call is sent before a worker waits for it.
const EARLY: [bool; 2] = [false, true];

impl Call {
    fn new(early: bool) -> Arc<Call> {
        Call::of(early, |listener| listener.local_addr().expect("an address"))
    }

    /// Nobody takes its cancels.
    fn deaf(early: bool) -> Arc<Call> {
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
    fn passes(&self) {
        self.world.context.tools.alarms.run_due(clock::now() + LIMIT, 100);
    }

    /// The cancel is sent, and is seen to arrive.
    fn is_cancelled(&self) {
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
    fn run(
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
    fn seen(&self) -> String {
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

/// It ended because its time was over: where, and whether its backend is still of use.
#[track_caller]
fn assert_timed_out(end: RequestEnd, (failed, usable): (Option<usize>, bool)) {
    assert_eq!(end.usable, usable);
    match end.answer {
        Err(RequestError::StatementTimeout { work, lease_ended, .. }) => {
            assert_eq!((work.outcome, work.failed), (Outcome::NotApplied, failed));
            assert_eq!(lease_ended, !usable);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn if_another_than_the_first_is_cut_short_all_are_undone_and_run_again_apart() {
    for early in EARLY {
        for (commits, cut) in [(true, "second"), (false, "second"), (true, "COMMIT")] {
            // The cancel may also be why it fails in another way.
            for sqlstate in [QUERY_CANCELED, "P0001"] {
                let call = Call::new(early);
                let end = call.run(commits, move |call, at, _| {
                    (at == (1, cut)).then(|| {
                        call.is_cancelled();
                        sqlstate
                    })
                });
                let executed = end.answer.expect("the second time it ends well");
                assert_eq!((executed.results.len(), executed.work.completed), (2, 2));
                let until = if cut == "COMMIT" { "second COMMIT" } else { "second" };
                assert_eq!(
                    call.seen(),
                    format!(
                        "together BEGIN first {until} cancelled ROLLBACK \
                     apart BEGIN first second COMMIT"
                    )
                );
                assert!(end.usable);
            }
        }
    }
}

#[test]
fn the_second_time_each_has_its_own_limit_and_there_is_no_third() {
    for early in EARLY {
        for cut in ["second", "COMMIT"] {
            let call = Call::new(early);
            let end = call.run(true, move |call, (_, sql), _| {
                (sql == cut).then(|| {
                    call.is_cancelled();
                    QUERY_CANCELED
                })
            });
            assert_timed_out(end, ((cut == "second").then_some(1), true));
            assert_eq!(call.seen().matches("cancelled").count(), 2);
            assert_eq!(call.seen().matches("BEGIN").count(), 2);
        }
    }
}

#[test]
fn the_first_has_had_its_time() {
    for early in EARLY {
        let call = Call::new(early);
        let end = call.run(true, |call, at, _| {
            (at == (1, "first")).then(|| {
                call.is_cancelled();
                QUERY_CANCELED
            })
        });
        assert_timed_out(end, (Some(0), true));
        assert_eq!(call.seen(), "together BEGIN first cancelled ROLLBACK");
    }
}

#[test]
fn whoever_cancels_after_it_is_the_cause_and_no_other_cancel_is_sent() {
    for early in EARLY {
        for cause in [CancelCause::Caller, CancelCause::Shutdown] {
            for when in ["second", "ROLLBACK"] {
                let call = Call::new(early);
                let end = call.run(true, move |call, (_, sql), _| {
                    let cut = sql == "second";
                    if cut {
                        call.is_cancelled();
                    }
                    if sql == when {
                        call.operation.cancel(cause);
                    }
                    cut.then_some(QUERY_CANCELED)
                });
                match end.answer {
                    Err(RequestError::Cancelled { by, work }) => {
                        assert_eq!((by, work.outcome), (cause, Outcome::NotApplied));
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(call.seen().matches("BEGIN").count(), 1);
                assert!(end.usable);
            }
        }
    }
}

#[test]
fn a_cancel_that_comes_too_late_changes_nothing() {
    for early in EARLY {
        for (commits, at) in [(true, "COMMIT"), (true, "second"), (false, "second")] {
            let call = Call::new(early);
            let end = call.run(commits, move |call, (_, sql), rows| {
                if sql == at {
                    call.is_cancelled();
                    assert!(rows.is_wanted());
                }
                if sql == "COMMIT" && !commits {
                    // What was to follow that cancel does not come.
                    let moment = clock::now() + LIMIT / 2;
                    call.world.context.tools.alarms.run_due(moment, 100);
                }
                None
            });
            assert!(end.answer.is_ok() && end.usable);
            let (seen, cancelled) = (call.seen(), format!("{at} cancelled"));
            assert_eq!(seen, "together BEGIN first second COMMIT".replace(at, &cancelled));
        }
    }
}

#[test]
fn a_cancel_that_is_not_seen_to_arrive_costs_the_backend() {
    for early in EARLY {
        // What it did not hit does not commit either, and what it did hit is not run again.
        for (commits, answer) in
            [(true, Some(QUERY_CANCELED)), (false, Some(QUERY_CANCELED)), (false, None)]
        {
            let call = Call::deaf(early);
            let end = call.run(commits, move |call, (_, sql), _| match sql {
                "second" => {
                    call.passes();
                    answer
                }
                _ => None,
            });
            assert_timed_out(end, (answer.map(|_| 1), false));
            assert_eq!(call.seen(), "together BEGIN first second");
        }
    }
}

#[test]
fn of_a_backend_that_does_not_obey_it_is_not_known_which_statement_ran() {
    for early in EARLY {
        let call = Call::new(early);
        let end = call.run(true, move |call, (_, sql), _| {
            (sql == "first").then(|| {
                call.is_cancelled();
                LOST
            })
        });
        match end.answer {
            Err(RequestError::StatementTimeout { work, lease_ended, .. }) => {
                assert_eq!((work.outcome, work.failed), (Outcome::Unknown, None));
                assert!(lease_ended && !end.usable);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_error_in_time_is_what_it_is() {
    for early in EARLY {
        for sqlstate in [QUERY_CANCELED, "P0001"] {
            let call = Call::new(early);
            let end = call.run(true, move |_, at, _| (at == (1, "second")).then_some(sqlstate));
            match end.answer {
                Err(RequestError::Sql { fault, .. }) => assert_eq!(fault.sqlstate, sqlstate),
                other => panic!("{other:?}"),
            }
            assert_eq!(call.seen(), "together BEGIN first second ROLLBACK");
        }
    }
}

/// What happens while the last statement runs.
type Happens = fn(&Call) -> Answer;

#[test]
fn a_commit_that_was_held_back_is_sent_without_a_worker_if_all_went_well_and_nobody_wants_an_end() {
    let nothing: Happens = |_| None;
    let cases: [(bool, Happens, AfterAnswers); 5] = [
        (true, nothing, AfterAnswers::Ends),
        (false, nothing, AfterAnswers::Awaits),
        (false, |_| Some("P0001"), AfterAnswers::Blocks),
        (
            false,
            |call| {
                call.is_cancelled();
                None
            },
            AfterAnswers::Blocks,
        ),
        (
            false,
            |call| {
                call.operation.cancel(CancelCause::Caller);
                call.is_cancelled();
                None
            },
            AfterAnswers::Blocks,
        ),
    ];
    for (n, (commits, happens, next)) in cases.into_iter().enumerate() {
        let call = Call::new(true);
        let _ = call.run(commits, move |call, (_, sql), _| match sql {
            "second" => happens(call),
            _ => None,
        });
        assert_eq!(*call.next.lock(), Some(next), "{n}");
    }
}

#[test]
fn a_commit_that_was_held_back_has_a_time_limit_of_its_own() {
    let call = Call::new(true);
    let end = call.run(false, |call, (_, sql), _| {
        (sql == "COMMIT").then(|| {
            call.is_cancelled();
            QUERY_CANCELED
        })
    });
    assert_timed_out(end, (None, true));
    assert_eq!(call.seen(), "together BEGIN first second COMMIT cancelled ROLLBACK");
}

#[test]
fn if_a_result_cannot_be_given_it_is_told_whether_the_commit_that_was_sent_with_it_has_succeeded() {
    for early in EARLY {
        for (fails, outcome) in [(false, Outcome::Applied), (true, Outcome::NotApplied)] {
            let call = Call::new(early);
            let end = call.run(true, move |_, (_, sql), _| match sql {
                "first" => Some(MALFORMED),
                "COMMIT" => fails.then_some("23503"),
                _ => None,
            });
            let work = match end.answer {
                Err(RequestError::Undecodable { work, .. }) if !fails => work,
                Err(RequestError::Sql { work, .. }) if fails => work,
                other => panic!("{other:?}"),
            };
            assert_eq!((work.outcome, work.completed, end.usable), (outcome, 2, true));
            let seen = call.seen();
            assert!(seen.starts_with("together BEGIN first second COMMIT"), "{seen}");
        }
    }
}

#[test]
fn a_call_whose_cancel_may_be_on_its_way_ends_on_a_thread_that_may_wait_for_it() {
    for passes in [false, true] {
        let call = Call::new(true);
        let end = call.run(true, move |call, (_, sql), _| {
            if sql == "COMMIT" {
                if passes {
                    call.is_cancelled();
                }
                assert_eq!(call.operation.ends_undisturbed(), !passes);
            }
            None
        });
        assert!(end.answer.is_ok() && end.usable);
        assert_eq!(*call.next.lock(), Some(AfterAnswers::Ends));
    }
}

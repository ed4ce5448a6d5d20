//! A call whose statements were sent together, and whose time passes meanwhile.

mod call;

use call::{Answer, Call, EARLY, LIMIT, LOST, MALFORMED};

use crate::backend::sqlstate::QUERY_CANCELED;
use crate::clock;
use crate::error::{CancelCause, Outcome, RequestError};
use crate::pool::work::begun::AfterAnswers;
use crate::pool::work::run::RequestEnd;

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

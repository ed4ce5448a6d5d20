//! The same causes, while what travels in one write is under way: a transaction with its
//! COMMIT, one whose COMMIT is held back, a COMMIT itself, one-shots with their resets, and
//! requests of a session.

mod calls;

use connection_pool_manager::proto::errors::work_outcome::Outcome;

use super::busy::{gave_way, reset_ran_out_of_time};
use super::cause::{gone, Cause};
use super::scene::Scene;
use super::touch::Failure;
use super::{
    assert_adds_up, assert_all_permits_work, assert_ledger, assert_sound, back, cancelled, code,
    lost, Cell, CANCEL, DONE, DOUBT, FORCED, UNDONE,
};
use calls::{stage, CONNECTIONS};

/// A forced release meets a transaction whose COMMIT has not been sent.
const FORCED_BEFORE: Cell = match cancelled(code::ABORTED, "released") {
    Err((code, reason, _, end)) => Err((code, reason, Some(Outcome::NOT_APPLIED), end)),
    Ok(()) => DONE,
};
/// A one-shot was lost with its statement in flight.
const ONCE: Cell = match lost(code::UNKNOWN, Outcome::UNKNOWN) {
    Err((code, reason, work, _)) => Err((code, reason, work, "")),
    Ok(()) => DONE,
};
/// Its caller has left.
const LEFT: Cell = Err((code::CANCELLED, "", None, ""));

/// It was not answered, as the stream has failed: all may have come of it.
const UNSAID: Cell = Err((code::FAILED_PRECONDITION, "LEASE_ENDED", None, "backend_lost"));

/// Every cause, every state, and each of three requests of a session: PostgreSQL has them, has
/// committed the first, whose answer is on its way, and runs the second.
#[rustfmt::skip]
const MATRIX: [(Cause, [Cell; 6], [Cell; 3]); 8] = [
    //                       with COMMIT  prepared  held back      committing  one-shot  prepared    first   second   third
    (Cause::Killed,          [DOUBT,      DOUBT,    UNDONE,        DOUBT,      ONCE,     ONCE],     [DONE,   DOUBT,   UNSAID]),
    (Cause::Frozen,          [FORCED,     FORCED,   FORCED_BEFORE, FORCED,     LEFT,     LEFT],     [DONE,   CANCEL,  UNSAID]),
    (Cause::Terminated,      [DOUBT,      DOUBT,    UNDONE,        DOUBT,      ONCE,     ONCE],     [DONE,   DOUBT,   UNSAID]),
    (Cause::Stopped,         [DOUBT,      DOUBT,    UNDONE,        DOUBT,      ONCE,     ONCE],     [DONE,   DOUBT,   UNSAID]),
    (Cause::Crashed,         [DOUBT,      DOUBT,    UNDONE,        DOUBT,      ONCE,     ONCE],     [DONE,   DOUBT,   UNSAID]),
    (Cause::Full,            [DONE,       DONE,     DONE,          DONE,       DONE,     DONE],     [DONE,   DONE,    DONE]),
    (Cause::PasswordChanged, [DONE,       DONE,     DONE,          DONE,       DONE,     DONE],     [DONE,   DONE,    DONE]),
    // The first one's answer is lost on its way.
    (Cause::Cut,             [DOUBT,      DOUBT,    UNDONE,        DOUBT,      ONCE,     ONCE],     [DOUBT,  UNSAID,  UNSAID]),
];

const STATES: [&str; 9] = [
    "with COMMIT",
    "prepared with COMMIT",
    "held back",
    "committing",
    "one-shot",
    "prepared one-shot",
    "first of a session",
    "second of a session",
    "third of a session",
];

/// What is in the ledger whatever happens, and what each state adds when done.
const BEFORE: [&str; 7] = [
    "answered",
    "before: midway",
    "before: prepared",
    "before: prepared one-shot",
    "before: prepared one-shot",
    "before: prepared one-shot",
    "midway 1",
];
const ADDS: [&[&str]; 9] = [
    &["ahead 1", "ahead 2", "ahead 3"],
    &["prepared 1", "prepared 2", "prepared 3"],
    &["held 1", "held 2"],
    &["committing"],
    &["one-shot"],
    &["prepared one-shot"],
    &["midway 1"],
    &["midway 2"],
    &["midway 3"],
];

#[test]
fn killed_backends_under_what_travels_together() {
    run(Cause::Killed);
}

#[test]
fn frozen_backends_under_what_travels_together() {
    run(Cause::Frozen);
}

#[test]
fn terminated_backends_under_what_travels_together() {
    run(Cause::Terminated);
}

#[test]
fn a_restart_under_what_travels_together() {
    run(Cause::Stopped);
}

#[test]
fn a_crash_under_what_travels_together() {
    run(Cause::Crashed);
}

#[test]
fn a_full_database_under_what_travels_together() {
    run(Cause::Full);
}

#[test]
fn a_changed_password_under_what_travels_together() {
    run(Cause::PasswordChanged);
}

#[test]
fn a_network_that_breaks_under_what_travels_together() {
    run(Cause::Cut);
}

fn run(cause: Cause) {
    let (_, cells, requests) = MATRIX.into_iter().find(|(of, ..)| *of == cause).expect("a row");
    let cells: Vec<Cell> = cells.into_iter().chain(requests).collect();
    let mut scene = Scene::new(CONNECTIONS);
    let calls = stage(&scene);
    let (victims, resetting_since) = (calls.victims(), calls.resetting_since);
    let one_shots = calls.one_shots();

    let struck = cause.strike(&mut scene, &victims);
    let (heard, mut gatekeeper) = calls.heard(cause);
    if cause == Cause::Frozen {
        // Nobody waits for what has become of a one-shot whose caller has left. A backend
        // that thaws before it is given up obeys the cancel, and serves again.
        for pid in one_shots {
            scene.service.log().wait_for(&format!("pid={pid} reason=lost"));
        }
    }
    cause.mend(&mut scene, struck, &victims);
    gatekeeper.let_go();
    if !cause.spares_the_connected() {
        gone(&[victims.resetting]);
    }

    assert_eq!(heard.len(), STATES.len());
    for ((state, heard), cell) in STATES.iter().zip(&heard).zip(&cells) {
        let heard = heard.as_ref().map_err(Failure::in_short).copied();
        assert_eq!(heard, *cell, "{state}");
    }
    back(&scene);
    assert_ledger(&scene, cells.iter().zip(ADDS), &BEFORE);
    assert_adds_up(&scene);
    let serving = assert_all_permits_work(&scene);
    let survived = |pid: &&i32| serving.contains(pid) || gave_way(&scene.service, **pid);
    let left = victims.known().iter().filter(survived).count();
    let late = reset_ran_out_of_time(&scene.service, victims.resetting, resetting_since);
    let spared = if cause.spares_the_connected() { CONNECTIONS - usize::from(late) } else { 0 };
    assert_eq!(left, spared, "{:?} of {serving:?}", victims.known());
    assert_sound(scene);
}

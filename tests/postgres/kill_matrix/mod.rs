//! The kill matrix: what strikes, and what the holder of a lease hears in each
//! state in which it can strike. Nothing leaks, nobody is told a lie, the next
//! customer does not notice, and the service goes on by itself.

mod busy;
mod bystander;
mod cause;
mod pipelines;
mod scene;
mod together;
mod touch;

use std::collections::BTreeSet;

use crate::harness::{
    backends_on, code, eventually, millis, refused, request, tenant, tenant_on, Held,
};
use busy::{gave_way, reset_ran_out_of_time};
use bystander::Bystander;
use cause::{gone, Cause};
use connection_pool_manager::proto::connection_pool::{BreakerState, ConnectionRequest};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use scene::Scene;
use touch::{Failure, Heard};

/// Done as asked, or: gRPC's code, the reason, what became of the work, and how
/// the lease ended.
type Cell = Result<(), (i32, &'static str, Option<Outcome>, &'static str)>;

/// Done, and the lease goes on.
const DONE: Cell = Ok(());
/// It was lost while nothing ran.
const LOST: Cell = lost(code::UNAVAILABLE, Outcome::NOT_STARTED);
/// It was lost with a transaction open, which PostgreSQL then rolls back.
const UNDONE: Cell = lost(code::ABORTED, Outcome::NOT_APPLIED);
/// It was lost with a statement in flight.
const DOUBT: Cell = lost(code::UNKNOWN, Outcome::UNKNOWN);
/// The statement's time was over before anything ran, or in a transaction.
const LATE: Cell = late(Outcome::NOT_STARTED);
const UNDO_L: Cell = late(Outcome::NOT_APPLIED);
/// The caller has cancelled the statement, or forced the release.
const CANCEL: Cell = cancelled(code::CANCELLED, "backend_lost");
const FORCED: Cell = cancelled(code::ABORTED, "released");
/// There is no backend: PostgreSQL is away, is full, or refuses the password.
const AWAY: Cell = no_backend(code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
/// The same, after several tries of others.
const SHUT: Cell = no_backend(code::UNAVAILABLE, "BREAKER_OPEN");
const FULL: Cell = no_backend(code::RESOURCE_EXHAUSTED, "DATABASE_FULL");
const REJECT: Cell = no_backend(code::FAILED_PRECONDITION, "CONNECT_REJECTED");

/// What becomes of the backend that was at its reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    /// Nobody gets it any more.
    Closed,
    /// It serves again.
    Serves,
}
const CLOSED: Reset = Reset::Closed;
const SERVES: Reset = Reset::Serves;

/// Every cause, every state.
#[rustfmt::skip]
const MATRIX: [(Cause, [Cell; 6], Reset); 8] = [
    //                       idle  busy    transaction  delivering  pipelined  connecting   resetting
    (Cause::Killed,          [LOST, DOUBT,  UNDONE,      DOUBT,      DOUBT,     AWAY  ],    CLOSED),
    (Cause::Frozen,          [LATE, FORCED, UNDO_L,      CANCEL,     CANCEL,    AWAY  ],    CLOSED),
    (Cause::Terminated,      [LOST, DOUBT,  UNDONE,      DOUBT,      DOUBT,     DONE  ],    CLOSED),
    (Cause::Stopped,         [LOST, DOUBT,  UNDONE,      DOUBT,      DOUBT,     AWAY  ],    CLOSED),
    (Cause::Crashed,         [LOST, DOUBT,  UNDONE,      DOUBT,      DOUBT,     AWAY  ],    CLOSED),
    (Cause::Full,            [DONE, DONE,   DONE,        DONE,       DONE,      FULL  ],    SERVES),
    (Cause::PasswordChanged, [DONE, DONE,   DONE,        DONE,       DONE,      REJECT],    SERVES),
    (Cause::Cut,             [LOST, DOUBT,  UNDONE,      DOUBT,      DOUBT,     AWAY  ],    CLOSED),
];

const STATES: [&str; 6] = ["idle", "busy", "transaction", "delivering", "pipelined", "connecting"];

/// What is in the ledger whatever happens, and what each state adds when done.
const BEFORE: [&str; 5] =
    ["before: busy", "before: idle", "before: pipelined", "before: reset", "before: transaction"];
const ADDS: [&[&str]; 6] = [
    &["idle"],
    &["busy"],
    &["more", "transaction"],
    &[],
    &["pipelined 1", "pipelined 2", "pipelined 3"],
    &[],
];

const fn lost(code: i32, work: Outcome) -> Cell {
    Err((code, "BACKEND_LOST", Some(work), "backend_lost"))
}

const fn late(work: Outcome) -> Cell {
    Err((code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT", Some(work), "backend_lost"))
}

const fn cancelled(code: i32, end: &'static str) -> Cell {
    Err((code, "CANCELLED", Some(Outcome::UNKNOWN), end))
}

const fn no_backend(code: i32, reason: &'static str) -> Cell {
    Err((code, reason, None, ""))
}

#[test]
fn killed_backends_cost_their_leases_and_nothing_else() {
    run(Cause::Killed);
}

#[test]
fn frozen_backends_do_not_keep_their_callers_waiting_for_ever() {
    run(Cause::Frozen);
}

#[test]
fn terminated_backends_cost_their_leases_and_nothing_else() {
    run(Cause::Terminated);
}

#[test]
fn a_database_that_is_restarted_is_used_again_by_itself() {
    run(Cause::Stopped);
}

#[test]
fn a_database_that_crashes_is_used_again_by_itself() {
    run(Cause::Crashed);
}

#[test]
fn a_full_database_refuses_new_backends_and_the_leases_stay_usable() {
    run(Cause::Full);
}

#[test]
fn a_changed_password_refuses_new_backends_and_the_leases_stay_usable() {
    run(Cause::PasswordChanged);
}

#[test]
fn a_network_that_breaks_costs_the_leases_and_nothing_else() {
    run(Cause::Cut);
}

fn run(cause: Cause) {
    let (_, cells, reset) = MATRIX.into_iter().find(|(of, ..)| *of == cause).expect("a row");
    let mut scene = Scene::new(scene::CONNECTIONS);
    let other = if cause.takes_all_down() { tenant() } else { tenant_on(&scene.postgres) };
    let bystander = Bystander::start(&scene.service, other.pool_of(bystander::CONNECTIONS));
    let leases = scene.stage();
    let victims = leases.victims();
    let (pids, resetting) = (victims.known(), victims.resetting);
    let resetting_since = leases.resetting_since;

    let struck = cause.strike(&mut scene, &victims);
    let mut touched = leases.touch(cause);
    bystander.works();
    cause.mend(&mut scene, struck, &victims);
    touched.gatekeeper.let_go();
    if reset == CLOSED {
        gone(&[resetting]);
        scene.service.log().wait_for(&format!("pid={resetting} reason=reset_failed"));
    }

    let heard = [
        touched.idle,
        touched.busy,
        touched.transaction,
        touched.delivering,
        touched.pipelined,
        touched.connecting,
    ];
    assert_heard(&heard, &cells);
    back(&scene);
    assert_ledger(&scene, cells.iter().zip(ADDS), &BEFORE);
    assert_adds_up(&scene);
    let serving = assert_all_permits_work(&scene);
    let survived = |pid: &i32| serving.contains(pid) || gave_way(&scene.service, *pid);
    let late = reset_ran_out_of_time(&scene.service, resetting, resetting_since);
    let serves = reset == SERVES && !late;
    assert_eq!(survived(&resetting), serves, "{resetting} of {serving:?}");
    let left: Vec<_> = pids.iter().filter(|pid| survived(pid)).collect();
    let spared = if cause.spares_the_connected() { 6 - usize::from(late) } else { 0 };
    assert_eq!(left.len(), spared, "{left:?}");
    bystander.works();
    bystander.end(&scene.service);
    assert_sound(scene);
}

#[track_caller]
fn assert_heard(heard: &[Heard; 6], cells: &[Cell; 6]) {
    let heard = heard.each_ref().map(|heard| heard.as_ref().map_err(Failure::in_short).copied());
    for ((state, heard), cell) in STATES.iter().zip(heard).zip(cells) {
        // Who wants a backend tries again for a while, and takes one that comes back.
        // Which comes first is a matter of time.
        let lucky = *state == "connecting" && (heard == DONE || (*cell == AWAY && heard == SHUT));
        assert!(heard == *cell || lucky, "{state}: {heard:?}, not {cell:?}");
    }
}

/// What was away is used again by itself.
fn back(scene: &Scene) {
    let client = scene.service.client();
    eventually("the breaker is closed", || {
        let stats = client.stats(&scene.tenant.name).unwrap();
        stats.breaker_state.unwrap() == BreakerState::BREAKER_STATE_CLOSED
    });
}

/// What was said to be done is there, and beside it what was there before, once each; nothing is
/// there that was said not to be done.
#[track_caller]
fn assert_ledger<'a>(
    scene: &Scene,
    states: impl Iterator<Item = (&'a Cell, &'static [&'static str])>,
    before: &[&'static str],
) {
    let ledger = scene.ledger();
    let mut wanted = before.to_vec();
    for (cell, adds) in states {
        match cell {
            Ok(()) => wanted.extend(adds.iter().filter(|entry| !before.contains(entry))),
            Err((_, _, Some(Outcome::NOT_STARTED | Outcome::NOT_APPLIED), _)) => {
                assert!(!adds.iter().any(|entry| ledger.contains(&entry.to_string())), "{adds:?}");
            }
            Err(_) => {}
        }
    }
    wanted.sort_unstable();
    assert_eq!(ledger, wanted);
}

/// No permit, no lease and no backend is missing or left over.
#[track_caller]
fn assert_adds_up(scene: &Scene) {
    let name = &scene.tenant.name;
    // Idle connections may be closed at any time, so both are counted anew each time.
    eventually("PostgreSQL has as many backends", || {
        let total = scene.service.wait_quiet(name).total_connections;
        backends_on(&scene.postgres, name) == total as usize
    });
}

/// Every permit is there and brings a backend that works. Returns their processes.
#[track_caller]
fn assert_all_permits_work(scene: &Scene) -> BTreeSet<i32> {
    let tenant = &scene.tenant;
    let leases: Vec<Held> = (0..scene.connections).map(|_| scene.service.lease(tenant)).collect();
    let hasty = ConnectionRequest { wait_timeout: millis(0), ..request(tenant) };
    let one_more = refused(leases[0].client.acquire_with(&hasty));
    assert_eq!(one_more.reason, "WAIT_TIMEOUT", "{one_more}");
    for lease in &leases {
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
        lease.release();
    }
    assert_adds_up(scene);
    let pids: BTreeSet<i32> = leases.iter().map(|lease| lease.pid).collect();
    assert_eq!(pids.len(), scene.connections);
    pids
}

/// The service is well, has had no trouble of its own, and ends in order.
#[track_caller]
fn assert_sound(scene: Scene) {
    let service = scene.service;
    assert_eq!(service.get("/health"), (200, "OK".to_owned()));
    let log = service.log().clone();
    assert_eq!(service.stop().code(), Some(0));
    let draining = log.wait_for("event=draining");
    let log = log.text();
    // At a server that was full, the service's own work may have one for a moment.
    let idle = draining.contains("connections_in_use=0 ") || log.contains(" reason=gave_way");
    assert!(draining.contains(" leases=0 ") && idle, "{draining}");
    let bad = |line: &&str| {
        // On a busy machine the service's call to itself may take too long.
        let busy = line.contains("event=grpc_unreachable") && line.contains("timed out");
        (line.contains(" ERROR ") && !busy) || line.contains("event=panic")
    };
    let bad: Vec<&str> = log.lines().filter(bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

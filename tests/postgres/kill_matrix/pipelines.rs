//! The same causes, while what travels in one write is under way: a transaction with its
//! COMMIT, one whose COMMIT is held back, a COMMIT itself, and one-shots with their resets.

use std::time::SystemTime;

use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::{ExecuteRequest, ExecuteResponse};

use super::busy::{gave_way, reset_ran_out_of_time, wall_clock};
use super::cause::{gone, Cause};
use super::scene::{Gatekeeper, Scene, Victims, GATE};
use super::touch::{unary, Failure, Heard};
use super::{
    assert_adds_up, assert_all_permits_work, assert_sound, back, cancelled, code, lost, Cell, DONE,
    DOUBT, FORCED, UNDONE,
};
use crate::harness::sql::{on_lease, one_shot};
use crate::harness::{answer, eventually, execute_later, millis, Held, Later};

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

/// Every cause, every state.
#[rustfmt::skip]
const MATRIX: [(Cause, [Cell; 4]); 8] = [
    //                       with COMMIT  held back      committing  one-shot
    (Cause::Killed,          [DOUBT,      UNDONE,        DOUBT,      ONCE]),
    (Cause::Frozen,          [FORCED,     FORCED_BEFORE, FORCED,     LEFT]),
    (Cause::Terminated,      [DOUBT,      UNDONE,        DOUBT,      ONCE]),
    (Cause::Stopped,         [DOUBT,      UNDONE,        DOUBT,      ONCE]),
    (Cause::Crashed,         [DOUBT,      UNDONE,        DOUBT,      ONCE]),
    (Cause::Full,            [DONE,       DONE,          DONE,       DONE]),
    (Cause::PasswordChanged, [DONE,       DONE,          DONE,       DONE]),
    (Cause::Cut,             [DOUBT,      UNDONE,        DOUBT,      ONCE]),
];

const STATES: [&str; 4] = ["with COMMIT", "held back", "committing", "one-shot"];

/// What is in the ledger whatever happens, and what each state adds when done.
const BEFORE: [&str; 1] = ["answered"];
const ADDS: [&[&str]; 4] =
    [&["ahead 1", "ahead 2", "ahead 3"], &["held 1", "held 2"], &["committing"], &["one-shot"]];

/// The permits, all of which are in use.
const CONNECTIONS: usize = 5;

/// Entries here are committed only when the gatekeeper lets go.
const CHECKED: &str = "\
    create function wait() returns trigger language plpgsql as \
        $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$; \
    create table checked (entry text); grant all on checked to public; \
    create constraint trigger wait after insert on checked deferrable initially deferred \
        for each row execute function wait()";

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

/// Who waits for answers.
struct Calls {
    gatekeeper: Gatekeeper,
    on_leases: [(Held, Later<ExecuteResponse>); 3],
    one_shot: (i32, Later<ExecuteResponse>),
    /// The backend of a one-shot that is answered, and whose reset waits.
    resetting: i32,
    /// A moment before that one-shot was sent.
    resetting_since: SystemTime,
}

fn later(lease: &Held, statements: &[&str]) -> Later<ExecuteResponse> {
    let request = on_lease(lease, statements);
    let timeout = millis(3_600_000);
    execute_later(&lease.client, &ExecuteRequest { atomic: true, timeout, ..request })
}

fn stage(scene: &Scene) -> Calls {
    let (service, tenant) = (&scene.service, &scene.tenant);
    scene.sql(CHECKED);
    let mut gatekeeper = Gatekeeper::of(scene);
    let leases: Vec<Held> = (0..CONNECTIONS).map(|_| service.lease(tenant)).collect();
    let [ahead, held, committing, plain, own] = &leases[..] else { panic!("too few leases") };
    // A session that has had a temporary table looks for more of them at each reset, and
    // also when it ends: it waits for the gatekeeper then.
    own.run(&["create temp table own (n int)"]);
    own.release();
    let client = service.client();
    let rests =
        |at_rest: i32| client.stats(&tenant.name).expect("stats").idle_connections == at_rest;
    eventually("it is reset", || rests(1));
    gatekeeper.shut();
    gatekeeper.hold_temporary_tables();

    let entry = |name: &str| format!("insert into ledger values ('{name}')");
    let enter = |name: &str| format!("insert into ledger select '{name}' from {GATE}");
    let resetting_since = wall_clock();
    client.execute(&one_shot(tenant, &[&entry("answered")])).expect("it is done");
    gatekeeper.has_waiting(own.pid);
    plain.release();
    eventually("it is reset", || rests(1));
    let once = one_shot(tenant, &[&enter("one-shot")]);
    let once = ExecuteRequest { timeout: millis(3_600_000), ..once };
    let running = execute_later(&client, &once);
    gatekeeper.has_waiting(plain.pid);

    let on_ahead = later(ahead, &[&entry("ahead 1"), &enter("ahead 2"), &entry("ahead 3")]);
    let on_held = later(held, &[&entry("held 1"), &enter("held 2"), "select 1"]);
    let checked = "insert into checked values ('committing')";
    let on_committing = later(committing, &[&entry("committing"), checked]);
    for lease in [ahead, held, committing] {
        gatekeeper.has_waiting(lease.pid);
    }

    let (one_shot, resetting) = ((plain.pid, running), own.pid);
    let mut leases = leases.into_iter();
    let mut next = || leases.next().expect("a lease");
    Calls {
        gatekeeper,
        on_leases: [(next(), on_ahead), (next(), on_held), (next(), on_committing)],
        one_shot,
        resetting,
        resetting_since,
    }
}

impl Calls {
    fn victims(&self) -> Victims {
        let mut leased: Vec<i32> = self.on_leases.iter().map(|(lease, _)| lease.pid).collect();
        leased.push(self.one_shot.0);
        Victims { leased, resetting: self.resetting, opening: None }
    }

    /// What all callers hear. The gatekeeper has let go, unless some are frozen: they
    /// would go on when they thaw.
    fn heard(self, cause: Cause) -> ([Heard; 4], Gatekeeper) {
        let Calls { mut gatekeeper, on_leases, one_shot: (_, mut running), .. } = self;
        if cause == Cause::Frozen {
            for (lease, _) in &on_leases {
                lease.client.release_with(&lease.id, true).expect("it is being cancelled");
            }
            running.cancel();
        } else {
            gatekeeper.let_go();
        }
        let [ahead, held, committing] = on_leases.map(|(lease, call)| unary(&lease, call));
        let once = answer(running).map(drop);
        let once = once.map_err(|error| Failure { error, end: String::new() });
        ([ahead, held, committing, once], gatekeeper)
    }
}

fn run(cause: Cause) {
    let (_, cells) = MATRIX.into_iter().find(|(of, _)| *of == cause).expect("a row");
    let mut scene = Scene::new(CONNECTIONS);
    let calls = stage(&scene);
    let (victims, resetting_since) = (calls.victims(), calls.resetting_since);

    let once = calls.one_shot.0;

    let struck = cause.strike(&mut scene, &victims);
    let (heard, mut gatekeeper) = calls.heard(cause);
    if cause == Cause::Frozen {
        // Nobody waits for what has become of a one-shot whose caller has left. A backend
        // that thaws before it is given up obeys the cancel, and serves again.
        scene.service.log().wait_for(&format!("pid={once} reason=lost"));
    }
    cause.mend(&mut scene, struck, &victims);
    gatekeeper.let_go();
    if !cause.spares_the_connected() {
        gone(&[victims.resetting]);
    }

    let heard = heard.each_ref().map(|heard| heard.as_ref().map_err(Failure::in_short).copied());
    for ((state, heard), cell) in STATES.iter().zip(heard).zip(&cells) {
        assert_eq!(heard, *cell, "{state}");
    }
    back(&scene);
    let done = cells.iter().zip(ADDS).filter(|(cell, _)| **cell == DONE);
    let mut wanted: Vec<&str> = done.flat_map(|(_, adds)| adds).copied().collect();
    wanted.extend(BEFORE);
    wanted.sort_unstable();
    assert_eq!(scene.ledger(), wanted);
    assert_adds_up(&scene);
    let serving = assert_all_permits_work(&scene);
    let survived = |pid: &&i32| serving.contains(pid) || gave_way(&scene.service, **pid);
    let left = victims.known().iter().filter(survived).count();
    let late = reset_ran_out_of_time(&scene.service, victims.resetting, resetting_since);
    let spared = if cause.spares_the_connected() { CONNECTIONS - usize::from(late) } else { 0 };
    assert_eq!(left, spared, "{:?} of {serving:?}", victims.known());
    assert_sound(scene);
}

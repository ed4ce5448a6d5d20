//! The calls that are under way, and what their callers hear.

use std::time::SystemTime;

use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::{statement, Client};
use connection_pool_manager::proto::sql::{
    ExecuteRequest, ExecuteResponse, SessionOpened, Statement,
};

use super::super::busy::wall_clock;
use super::super::cause::Cause;
use super::super::scene::{Gatekeeper, Scene, Victims, GATE, GATE_LOCK};
use super::super::together::{self, enter, FREE, LONG};
use super::super::touch::{each, unary, Failure, Heard};
use crate::harness::proxy::Mute;
use crate::harness::sql::{ask, on_lease, one_shot};
use crate::harness::{answer, eventually, execute_later, millis, request, Held, Later};

/// The permits, all of which are in use.
pub const CONNECTIONS: usize = 8;

/// Entries here are committed only when the gatekeeper lets go.
const CHECKED: &str = "\
    create function wait() returns trigger language plpgsql as \
        $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$; \
    create table checked (entry text); grant all on checked to public; \
    create constraint trigger wait after insert on checked deferrable initially deferred \
        for each row execute function wait()";

/// The lock that the first request of a session waits for.
const FIRST: i64 = 3;

/// What the bytes of two writes may differ by from those of one with the same content, as TLS
/// adds to each and a reset has a number of its own. To prepare a statement takes more.
const LEEWAY: usize = 64;

/// Who waits for answers.
pub struct Calls {
    gatekeeper: Gatekeeper,
    on_leases: [(Held, Later<ExecuteResponse>); 4],
    one_shots: [(i32, Later<ExecuteResponse>); 2],
    session: (Session, SessionOpened),
    /// Keeps the answer to its first request.
    mute: Mute,
    /// The backend of a one-shot that is answered, and whose reset waits.
    resetting: i32,
    /// A moment before that one-shot was sent.
    pub resetting_since: SystemTime,
}

fn plain(sql: &[&str]) -> Vec<Statement> {
    sql.iter().map(|sql| statement(sql)).collect()
}

fn later(lease: &Held, statements: Vec<Statement>) -> Later<ExecuteResponse> {
    let request = ExecuteRequest { statements, atomic: true, ..on_lease(lease, &[]) };
    execute_later(&lease.client, &ExecuteRequest { timeout: millis(3_600_000), ..request })
}

pub fn stage(scene: &Scene) -> Calls {
    let (service, tenant) = (&scene.service, &scene.tenant);
    scene.sql(CHECKED);
    let mut gatekeeper = Gatekeeper::of(scene);
    let leases: Vec<Held> = (1..CONNECTIONS).map(|_| service.lease(tenant)).collect();
    let mut leases = leases.into_iter();
    let mut next = || leases.next().expect("a lease");
    let (own, once, fast) = (next(), next(), next());
    let (ahead, prepared, held, committing) = (next(), next(), next(), next());
    let mut session = service.client().open_session(request(tenant)).expect("a session");
    gatekeeper.shut();
    let on_fast = prepared_one_shot(scene, &mut gatekeeper, &fast);
    let on_prepared = prepared_atomic(scene, &mut gatekeeper, &prepared);
    let mute = midway(scene, &mut gatekeeper, &mut session);
    // A session that has had a temporary table looks for more of them at each reset, and
    // also when it ends: it waits for the gatekeeper then.
    own.run(&["create temp table own (n int)"]);
    rest(scene, &own);
    gatekeeper.hold_temporary_tables();

    let entry = |name: &str| format!("insert into ledger values ('{name}')");
    let waits = |name: &str| format!("insert into ledger select '{name}' from {GATE}");
    let resetting_since = wall_clock();
    own.client.execute(&one_shot(tenant, &[&entry("answered")])).expect("it is done");
    gatekeeper.has_waiting(own.pid);
    rest(scene, &once);
    let on_once = run_once(scene, &own.client, statement(&waits("one-shot")));
    gatekeeper.has_waiting(once.pid);

    let on_ahead = later(&ahead, plain(&[&entry("ahead 1"), &waits("ahead 2"), &entry("ahead 3")]));
    let on_held = later(&held, plain(&[&entry("held 1"), &waits("held 2"), "select 1"]));
    let checked = "insert into checked values ('committing')";
    let on_committing = later(&committing, plain(&[&entry("committing"), checked]));
    for lease in [&ahead, &held, &committing] {
        gatekeeper.has_waiting(lease.pid);
    }
    Calls {
        gatekeeper,
        on_leases: [
            (ahead, on_ahead),
            (prepared, on_prepared),
            (held, on_held),
            (committing, on_committing),
        ],
        one_shots: [(once.pid, on_once), (fast.pid, on_fast)],
        session,
        mute,
        resetting: own.pid,
        resetting_since,
    }
}

/// Gives a lease back, and waits for its reset. Then it is the only one at rest.
fn rest(scene: &Scene, lease: &Held) {
    lease.release();
    let rests = || lease.client.stats(&scene.tenant.name).expect("stats").idle_connections;
    eventually("it is reset", || rests() == 1);
}

fn run_once(scene: &Scene, client: &Client, statement: Statement) -> Later<ExecuteResponse> {
    let (statements, timeout) = (vec![statement], millis(3_600_000));
    let once = ExecuteRequest { statements, timeout, ..one_shot(&scene.tenant, &[]) };
    execute_later(client, &once)
}

/// A one-shot whose statement is prepared. It waits, and its reset was sent with it.
fn prepared_one_shot(
    scene: &Scene,
    gatekeeper: &mut Gatekeeper,
    lease: &Held,
) -> Later<ExecuteResponse> {
    let port = gatekeeper.client_port(lease.pid);
    let bytes_of = |act: &dyn Fn()| {
        let before = scene.way.sent_from(port);
        act();
        scene.way.sent_from(port) - before
    };
    let enter = |lock| enter("prepared one-shot", lock, 1);
    let before = || together::enter("before: prepared one-shot", FREE, 1);
    // The statement, and the steps of the reset, are kept prepared from now on.
    ask(lease, before());
    rest(scene, lease);
    let again = scene.service.lease(&scene.tenant);
    assert_eq!(again.pid, lease.pid);
    ask(&again, before());
    let alone = bytes_of(&|| drop(ask(&again, before())));
    let reset = bytes_of(&|| rest(scene, &again));
    let since = scene.way.sent_from(port);
    let running = run_once(scene, &lease.client, enter(GATE_LOCK));
    gatekeeper.has_waiting_for(lease.pid, GATE_LOCK);
    let sent = scene.way.sent_from(port) - since;
    assert!(sent.abs_diff(alone + reset) < LEEWAY, "{sent} is not {alone} with {reset}");
    running
}

/// An atomic call of statements that are prepared. The second waits, and the third was sent.
fn prepared_atomic(
    scene: &Scene,
    gatekeeper: &mut Gatekeeper,
    lease: &Held,
) -> Later<ExecuteResponse> {
    ask(lease, enter("before: prepared", FREE, 1));
    let port = gatekeeper.client_port(lease.pid);
    let since = scene.way.sent_from(port);
    let statements = vec![
        enter("prepared 1", FREE, 1),
        enter("prepared 2", GATE_LOCK, 1),
        enter("prepared 3", FREE, LONG),
    ];
    let running = later(lease, statements);
    gatekeeper.has_waiting_for(lease.pid, GATE_LOCK);
    eventually("all is sent", || scene.way.sent_from(port) > since + LONG);
    running
}

/// PostgreSQL has three requests, has committed the first, and runs the second, before the
/// service hears of it.
fn midway(
    scene: &Scene,
    gatekeeper: &mut Gatekeeper,
    session: &mut (Session, SessionOpened),
) -> Mute {
    let pid = session.1.lease.backend_pid;
    gatekeeper.lock(FIRST);
    together::send(scene, gatekeeper, session, "midway", [FIRST, GATE_LOCK, FREE]);
    let mute = scene.way.mute_from(gatekeeper.client_port(pid));
    gatekeeper.unlock(FIRST);
    gatekeeper.has_waiting_for(pid, GATE_LOCK);
    assert!(scene.ledger().contains(&"midway 1".to_owned()));
    mute
}

impl Calls {
    pub fn victims(&self) -> Victims {
        let mut leased: Vec<i32> = self.on_leases.iter().map(|(lease, _)| lease.pid).collect();
        leased.extend(self.one_shots());
        leased.push(self.session.1.lease.backend_pid);
        Victims { leased, resetting: self.resetting, opening: None }
    }

    /// The backends of the one-shots that run.
    pub fn one_shots(&self) -> [i32; 2] {
        self.one_shots.each_ref().map(|(pid, _)| *pid)
    }

    /// What all callers hear, in the order of the states. The gatekeeper has let go, unless
    /// some are frozen: they would go on when they thaw.
    pub fn heard(self, cause: Cause) -> (Vec<Heard>, Gatekeeper) {
        let Calls { mut gatekeeper, on_leases, mut one_shots, session, mute, .. } = self;
        let (mut session, _) = session;
        drop(mute);
        if cause == Cause::Frozen {
            for (lease, _) in &on_leases {
                lease.client.release_with(&lease.id, true).expect("it is being cancelled");
            }
            one_shots.iter_mut().for_each(|(_, running)| running.cancel());
            session.cancel(2).unwrap();
        } else {
            gatekeeper.let_go();
        }
        let mut heard: Vec<Heard> = Vec::new();
        heard.extend(on_leases.map(|(lease, call)| unary(&lease, call)));
        heard.extend(one_shots.map(|(_, running)| {
            let once = answer(running).map(drop);
            once.map_err(|error| Failure { error, end: String::new() })
        }));
        heard.extend(each(&mut session, 3, |rows| assert_eq!(rows, 0)));
        (heard, gatekeeper)
    }
}

//! The pool on fakes of its two seams, `Connect` and `Backend`: what no real
//! PostgreSQL can be made to do on demand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use futures_executor::block_on;

use crate::backend::cancel::Canceller;
use crate::backend::connect::Connect;
use crate::backend::session::{Backend, Done, Notice, Rows, RunError, Statement};
use crate::backend::transport::Watch;
use crate::clock;
use crate::config::{Config, PoolConfig};
use crate::core::gate::GateState;
use crate::core::ids::TenantId;
use crate::core::lease_table::{Terms, Via};
use crate::error::{ConnectError, Error};
use crate::pool::alarms::Bell;
use crate::pool::caller::Caller;
use crate::pool::context::Context;
use crate::pool::execute::{self, Request};
use crate::pool::grant::Ask;
use crate::pool::job::{Job, Reply, Session};
use crate::pool::leases::Leases;
use crate::pool::tenant::{Fingerprint, Tenant};

const WAIT: Duration = Duration::from_secs(60);

/// How many fakes live, and how many lived at once.
#[derive(Default)]
struct Census {
    begun: AtomicUsize,
    alive: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
}

#[derive(Clone)]
struct Fakes {
    census: Arc<Census>,
    behaviour: Behaviour,
    /// The n-th connect waits for the n-th of these, if there is one.
    holds: Vec<Receiver<()>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Good,
    RefusesConnects,
    PanicsInConnect,
    PanicsInRun,
    FailsReset,
}

impl Connect for Fakes {
    fn connect(&self, watch: &Arc<Watch>, _: Duration) -> Result<Box<dyn Backend>, ConnectError> {
        match self.behaviour {
            Behaviour::RefusesConnects => return Err(ConnectError::Settings("no".to_owned())),
            Behaviour::PanicsInConnect => panic!("injected in connect"),
            _ => {}
        }
        let number = self.census.begun.fetch_add(1, Ordering::SeqCst);
        if let Some(hold) = self.holds.get(number) {
            let _ = hold.recv();
        }
        let alive = self.census.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.census.most.fetch_max(alive, Ordering::SeqCst);
        self.census.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Fake { fakes: self.clone(), watch: Arc::clone(watch) }))
    }
}

struct Fake {
    fakes: Fakes,
    watch: Arc<Watch>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.fakes.census.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Fake {
    fn pid(&self) -> i32 {
        1
    }
    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
    fn canceller(&self) -> Option<Canceller> {
        None
    }
    fn is_closed(&mut self) -> bool {
        self.watch.is_aborted()
    }
    fn is_poisoned(&self) -> bool {
        false
    }
    fn run(&mut self, _: &Statement, _: &mut dyn Rows) -> Result<Done, RunError> {
        assert!(self.fakes.behaviour != Behaviour::PanicsInRun, "injected in run");
        Ok(Done::default())
    }
    fn check(&mut self) -> bool {
        true
    }
    fn reset(&mut self) -> bool {
        self.fakes.behaviour != Behaviour::FailsReset
    }
    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }
}

struct World {
    tenant: Arc<Tenant>,
    context: Arc<Context>,
    census: Arc<Census>,
}

fn world(max: usize, behaviour: Behaviour) -> World {
    world_of(max, max, behaviour)
}

fn world_of(min: usize, max: usize, behaviour: Behaviour) -> World {
    World::new(min, max, behaviour, Vec::new())
}

/// Looks until it holds.
fn wait_for(holds: impl Fn() -> bool) {
    let until = clock::now() + WAIT;
    while !holds() {
        assert!(clock::now() < until, "waited in vain");
        std::thread::yield_now();
    }
}

impl World {
    fn new(min: usize, max: usize, behaviour: Behaviour, holds: Vec<Receiver<()>>) -> World {
        let context = Context::new(Config::default());
        let census = Arc::<Census>::default();
        let fakes = Fakes { census: Arc::clone(&census), behaviour, holds };
        let settings =
            PoolConfig { max_connections: max, min_connections: min, ..PoolConfig::default() };
        let id = TenantId::parse("fake").expect("a good name");
        let fingerprint = Fingerprint([0; 32]);
        let tenant = Tenant::new(id, settings, fingerprint, Box::new(fakes), &context, Weak::new());
        World { tenant, context, census }
    }

    /// Asks for a session; what comes is sent to the channel.
    fn ask(&self, to: &Sender<Result<Session, Error>>) {
        let to = to.clone();
        let job = Job::new(&Caller::nobody(), move |session| {
            // A test that is over no longer listens.
            let _ = to.send(session);
        });
        assert!(self.tenant.admit(job, WAIT).is_ok());
    }

    fn session(&self) -> Session {
        let (to, from) = unbounded();
        self.ask(&to);
        from.recv().expect("answered").expect("a session")
    }

    /// Waits until the keeper's work for the tenant is done.
    fn upkeep_done(&self) {
        wait_for(|| !self.tenant.upkeep.load(Ordering::SeqCst));
        self.settled();
    }

    /// Waits until every permit is back.
    fn settled(&self) {
        assert!(self.context.outstanding.wait_for_none(clock::now() + WAIT));
        assert_eq!(self.tenant.figures().used, 0);
    }
}

fn ask() -> Ask {
    let terms = Terms { ttl: WAIT, idle_in_transaction: WAIT, max_lifetime: WAIT };
    Ask { terms, holder: String::new(), peer: String::new() }
}

fn got(from: &Receiver<Result<Session, Error>>) -> Result<Session, Error> {
    from.recv_timeout(WAIT).expect("answered")
}

#[test]
fn open_backends_never_exceed_the_permits_and_everybody_is_served_once() {
    let world = world(4, Behaviour::Good);
    let (to, from) = unbounded();
    for round in 0..900 {
        world.ask(&to);
        // The keeper meddles, and every third session is thrown away.
        world.tenant.maintain(clock::now());
        while let Ok(session) = from.try_recv() {
            let session = session.expect("a session");
            if round % 3 == 0 {
                Tenant::discard(session, "test");
            } else {
                Tenant::settle(session);
            }
        }
    }
    drop(to);
    while let Ok(session) = from.recv() {
        Tenant::settle(session.expect("a session"));
    }
    world.settled();
    assert!(world.census.most.load(Ordering::SeqCst) <= 4);
    let figures = world.tenant.figures();
    assert_eq!((figures.acquired, figures.waiting), (900, 0));
    assert_eq!(figures.open, world.census.alive.load(Ordering::SeqCst));
    assert_eq!(figures.idle, figures.open);
}

#[test]
fn cold_callers_are_served_in_the_order_of_their_arrival_however_long_their_connects_take() {
    let holds: Vec<_> = (0..8).map(|_| bounded::<()>(1)).collect();
    let world =
        World::new(8, 8, Behaviour::Good, holds.iter().map(|hold| hold.1.clone()).collect());
    let (to, from) = unbounded();
    for n in 0..8 {
        let to = to.clone();
        let job = Job::new(&Caller::nobody(), move |session| {
            let _ = to.send((n, session));
        });
        assert!(world.tenant.admit(job, WAIT).is_ok());
    }
    // The first opens the tenant; then the others connect at once, and the last
    // to begin is the first to be done.
    let mut sessions = Vec::new();
    for (n, connect) in [0, 7, 6, 5, 4, 3, 2, 1].into_iter().enumerate() {
        let begun = || world.census.begun.load(Ordering::SeqCst);
        wait_for(|| begun() == if n == 0 { 1 } else { 8 });
        holds[connect].0.send(()).expect("the connect waits");
        let (served, session) = from.recv_timeout(WAIT).expect("answered");
        assert_eq!(served, n);
        sessions.push(session);
    }
}

#[test]
fn a_clean_backend_is_used_again_and_a_doubtful_one_is_closed() {
    let good = world(1, Behaviour::Good);
    Tenant::settle(good.session());
    drop(good.session());
    good.settled();
    // The second session was dropped without a reset.
    assert_eq!(good.census.opened.load(Ordering::SeqCst), 1);
    assert_eq!(good.census.alive.load(Ordering::SeqCst), 0);

    let bad = world(1, Behaviour::FailsReset);
    Tenant::settle(bad.session());
    bad.settled();
    assert_eq!(bad.census.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn idle_backends_go_above_the_minimum_and_old_ones_are_replaced() {
    let world = world_of(2, 4, Behaviour::Good);
    let sessions: Vec<Session> = (0..4).map(|_| world.session()).collect();
    sessions.into_iter().for_each(Tenant::settle);
    world.settled();
    let minutes = |n: u64| clock::now() + Duration::from_secs(60 * n);
    world.tenant.maintain(minutes(4));
    world.upkeep_done();
    assert_eq!(world.census.alive.load(Ordering::SeqCst), 4);
    world.tenant.maintain(minutes(6));
    world.upkeep_done();
    assert_eq!(world.census.alive.load(Ordering::SeqCst), 2);
    // Past their lifetime even the minimum goes; another round opens it anew.
    *crate::pool::tenant::lock(&world.tenant.last_used) = minutes(31);
    world.tenant.maintain(minutes(31));
    world.upkeep_done();
    world.tenant.maintain(clock::now());
    world.upkeep_done();
    assert_eq!(world.census.alive.load(Ordering::SeqCst), 2);
    assert_eq!(world.census.opened.load(Ordering::SeqCst), 6);
}

#[test]
fn a_tenant_that_nobody_uses_is_closed_with_its_backends() {
    let world = world(2, Behaviour::Good);
    Tenant::settle(world.session());
    world.settled();
    let later = |n: u64| clock::now() + Duration::from_secs(n);
    world.tenant.maintain(later(599));
    world.upkeep_done();
    assert_eq!(world.tenant.figures().state, GateState::Active);
    world.tenant.maintain(later(601));
    world.settled();
    assert_eq!(world.tenant.figures().state, GateState::Closed);
    assert_eq!(world.census.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_first_connect_that_fails_answers_everybody_and_closes_the_gate() {
    let world = world(2, Behaviour::RefusesConnects);
    let (to, from) = unbounded();
    for _ in 0..5 {
        let to = to.clone();
        let job = Job::new(&Caller::nobody(), move |session| {
            let _ = to.send(session);
        });
        // Late ones may find the gate closed already.
        if let Err(back) = world.tenant.admit(job, WAIT) {
            (back.deliver)(Err(Error::Draining));
        }
    }
    for _ in 0..5 {
        assert!(got(&from).is_err());
    }
    world.settled();
    assert_eq!(world.tenant.figures().state, GateState::Closed);
}

#[test]
fn a_panic_in_connect_costs_no_permit_and_leaves_nobody_waiting() {
    let world = world(1, Behaviour::PanicsInConnect);
    let (reply, answer) = Reply::<()>::new();
    let job = Job::new(&Caller::nobody(), move |_| drop(reply.send(Ok(()))));
    assert!(world.tenant.admit(job, WAIT).is_ok());
    // The job was lost in the panic; its reply answered for itself.
    assert!(matches!(block_on(answer), Ok(Err(Error::Internal(_)))));
    world.settled();
    assert_eq!(world.tenant.figures().state, GateState::Closed);
}

#[test]
fn a_panic_while_sql_runs_costs_one_backend_and_no_permit_and_ends_the_lease() {
    let world = world(1, Behaviour::PanicsInRun);
    let tools = &world.context.tools;
    let config = &world.context.config;
    let leases = Leases::new(&config.limits, Bell::default(), tools.metrics.clone());
    let grant = leases.grant(world.session(), ask()).expect("granted");
    grant.undelivered.delivered();
    let request = Request {
        statements: vec![Statement { sql: "select 1".to_owned(), parameters: Vec::new() }],
        atomic: false,
        timeout: WAIT,
        max_rows: None,
        max_bytes: 1,
    };
    let (reply, answer) = Reply::new();
    let caller = Caller::nobody();
    let lease = (grant.id.clone(), Via::Call);
    execute::on_lease(&leases, tools, lease, request.into(), false, &caller, reply);
    assert!(matches!(block_on(answer), Ok(Err(Error::Internal(_)))));
    world.settled();
    assert_eq!(world.census.alive.load(Ordering::SeqCst), 0);
    assert_eq!(leases.count(), 0);
    assert!(matches!(
        leases.renew(&grant.id, None),
        Err(Error::LeaseEnded(tombstone)) if tombstone.reason.as_str() == "backend_lost"
    ));
    // The permit serves the next.
    drop(world.session());
}

#[test]
fn a_grant_that_is_dropped_before_delivery_ends_its_lease() {
    let world = world(1, Behaviour::Good);
    let limits = &world.context.config.limits;
    let metrics = world.context.tools.metrics.clone();
    let leases = Leases::new(limits, Bell::default(), metrics);
    drop(leases.grant(world.session(), ask()).expect("granted"));
    world.settled();
    assert_eq!(leases.count(), 0);
}

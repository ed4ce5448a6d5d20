//! Several threads do everything at once with one tenant and its leases, each as
//! a seed says. Their order is the system's; what holds at the end, holds in all.

mod actor;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use super::fakes::{Call, Fate, Script};
use super::world::{wait_for, World, WAIT};
use crate::clock;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::gate::GateState;
use crate::core::ids::ConnectionId;
use crate::core::lease_table::EndReason;
use crate::core::testing::Xorshift;
use crate::lock::Leaf;
use crate::pool::leases::Leases;
use actor::Actor;

const THREADS: u64 = 4;
const STEPS: u32 = 120;

/// What the actors share.
struct Scene {
    world: World,
    leases: Arc<Leases>,
    /// Of the tenant at its birth; it is never resized to more.
    settings: TenantPoolConfig,
    /// The leases that somebody has heard of. Anybody may use them.
    heard: Leaf<Vec<ConnectionId>>,
    counts: Arc<Counts>,
}

/// What is counted of the requests for a backend.
#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    answered: AtomicUsize,
    /// Those that got a backend in which somebody else's SQL had run.
    dirty: AtomicUsize,
}

/// Fakes that do as they should most of the time, and always give others the
/// chance to come in between.
fn moody(seed: u64) -> Script {
    let random = Leaf::new(Xorshift::new(seed));
    Arc::new(move |call| {
        let chance = random.lock().below(20 * 80);
        (0..chance / 80).for_each(|_| std::thread::yield_now());
        match chance % 80 {
            _ if call == Call::Close => Fate::Good,
            0..=1 => Fate::Fails,
            2 => Fate::Breaks,
            3 => Fate::Panics,
            4..=6 if call == Call::Connect => Fate::Refused,
            _ => Fate::Good,
        }
    })
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut random = Xorshift::new(seed);
        let max = 1 + random.below(4) as usize;
        let settings = TenantPoolConfig {
            max_connections: max,
            min_connections: random.below(max as u64 + 1) as usize,
            check_after_idle: std::time::Duration::from_micros(random.below(100)),
            ..TenantPoolConfig::default()
        };
        let mut config = ServerConfig::default();
        config.limits.waiters_per_tenant = random.below(8) as usize;
        let world = World::new(config, settings.clone(), moody(seed));
        Scene {
            leases: world.leases(),
            settings,
            world,
            heard: Leaf::default(),
            counts: Arc::default(),
        }
    }
}

/// What became of the requests of one schedule.
#[derive(Default)]
struct Outcome {
    served: u64,
    ran: usize,
}

fn run(seed: u64) -> Outcome {
    let scene = Scene::new(seed);
    let together = Barrier::new(THREADS as usize);
    let actors: Vec<Actor<'_>> = std::thread::scope(|scope| {
        let start = |thread| {
            let mut actor = Actor::new(&scene, Xorshift::new(seed * THREADS + thread));
            let together = &together;
            scope.spawn(move || {
                together.wait();
                (0..STEPS).for_each(|_| actor.step());
                actor
            })
        };
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("no actor panics")).collect()
    });
    match seed % 2 {
        0 => scene.world.tenant.drain(),
        _ => scene.world.tenant.close_all(),
    }
    let ran = actors.into_iter().map(Actor::hear_all).sum();
    let count = |number: &AtomicUsize| number.load(Ordering::SeqCst);
    let alarms = &scene.world.context.tools.alarms;
    wait_for(|| {
        // Those who try again after a pause.
        alarms.run_due(clock::now() + WAIT, 1);
        count(&scene.counts.answered) == count(&scene.counts.asked)
    });
    assert_eq!(count(&scene.counts.dirty), 0);
    scene.leases.end_all(EndReason::Shutdown);
    scene.world.upkeep_done();

    let (census, figures) = (&scene.world.census, scene.world.tenant.figures());
    let most = scene.settings.max_connections;
    assert!(census.most() <= most, "{} lived at once", census.most());
    assert_eq!((figures.waiting, scene.leases.count()), (0, 0));
    assert_eq!((figures.open, figures.idle), (census.alive(), census.alive()));
    // A pool that was closed on the way has none left by itself.
    assert!(figures.state != GateState::Closed || figures.open == 0);
    scene.world.tenant.close_all();
    scene.world.settled();
    assert_eq!((census.alive(), scene.world.tenant.figures().open), (0, 0));
    // The last jobs may still be on their way out of their workers.
    wait_for(|| scene.world.context.memory.total().used() == 0);
    assert_eq!(scene.world.tenant.account.memory().used(), 0);
    Outcome { served: figures.acquired, ran }
}

#[test]
fn whatever_threads_do_at_once_every_request_is_answered_and_every_backend_is_accounted_for() {
    let mut all = Outcome::default();
    for seed in 1..=100 {
        let _story = Story(seed);
        let outcome = run(seed);
        all = Outcome { served: all.served + outcome.served, ran: all.ran + outcome.ran };
    }
    // Otherwise the schedules go past what they should meet. How much they meet is
    // the machine's.
    assert!(all.served > 0 && all.ran > 0, "{} served, {} ran", all.served, all.ran);
}

/// Tells which seed failed.
struct Story(u64);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run({}) failed", self.0);
        }
    }
}

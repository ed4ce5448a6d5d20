//! What is said of a tenant whose logins fail while its checks find nothing out.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

use crossbeam_channel::unbounded;

use super::fakes::{Call, Fate};
use super::healing::{later, round};
use super::world::{got, wait_for, world_of, World};
use crate::core::health::Level;
use crate::pool::checkout::Checkout;

const FATES: [Fate; 4] = [Fate::Good, Fate::Fails, Fate::Starved, Fate::Full];

/// A tenant whose connects meet a fate that can be changed.
struct Scene {
    world: World,
    now: Arc<AtomicU8>,
    time: u64,
}

impl Scene {
    fn new() -> Scene {
        let now = Arc::<AtomicU8>::default();
        let is = Arc::clone(&now);
        let script = move |call| match call {
            Call::Connect => FATES[usize::from(is.load(Ordering::SeqCst))],
            _ => Fate::Good,
        };
        let world = world_of(0, 3, Arc::new(script));
        Scene { world, now, time: 0 }
    }

    fn meets(&self, fate: Fate) {
        let n = FATES.iter().position(|one| *one == fate).expect("it is one of them");
        self.now.store(n as u8, Ordering::SeqCst);
    }

    /// A request is refused.
    fn is_refused(&self) {
        self.meets(Fate::Fails);
        let (to, from) = unbounded();
        self.world.ask(&to);
        assert!(got(&from).is_err());
    }

    /// How well it is after each of so many rounds.
    fn rounds(&mut self, count: usize) -> Vec<Level> {
        let one = |_| {
            self.time += 40;
            round(&self.world, later(self.time));
            self.world.tenant.backends().level()
        };
        (0..count).map(one).collect()
    }

    fn is_starving(&self) -> bool {
        !self.world.context.servers.starving().is_empty()
    }
}

#[test]
fn a_login_that_is_refused_to_requests_counts_although_checks_find_nothing_out() {
    let mut scene = Scene::new();
    Checkout::discard(scene.world.checkout(), "lost");
    scene.is_refused();
    scene.meets(Fate::Starved);
    assert_eq!(scene.rounds(3), [Level::Degraded, Level::Degraded, Level::Unhealthy]);
    // Until one is let in.
    scene.meets(Fate::Good);
    Checkout::settle(scene.world.checkout());
    scene.world.settled();
    assert_eq!(scene.rounds(2), [Level::Degraded, Level::Healthy]);
}

#[test]
fn a_login_that_is_refused_while_others_work_makes_it_degraded_for_a_while() {
    let mut scene = Scene::new();
    let (held, other) = (scene.world.checkout(), scene.world.checkout());
    scene.is_refused();
    Checkout::settle(other);
    wait_for(|| {
        let figures = scene.world.tenant.figures();
        (figures.idle, figures.used) == (1, 1)
    });
    assert_eq!(scene.rounds(3), [Level::Degraded, Level::Degraded, Level::Healthy]);
    drop(held);
}

#[test]
fn a_tenant_without_a_connection_whose_checks_find_no_room_is_starving() {
    let mut scene = Scene::new();
    let held = scene.world.checkout();
    scene.meets(Fate::Full);
    assert_eq!((scene.rounds(4).pop(), scene.is_starving()), (Some(Level::Healthy), false));
    Checkout::discard(held, "lost");
    scene.rounds(2);
    assert!(!scene.is_starving(), "others may have changed places");
    scene.rounds(1);
    assert!(scene.is_starving());
    scene.meets(Fate::Good);
    scene.rounds(1);
    assert!(!scene.is_starving());
}

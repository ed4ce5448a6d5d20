//! Where the system has no thread left.

use crossbeam_channel::{bounded, unbounded, Sender};

use super::fakes::good;
use super::world::{got, wait_for, world, World};
use crate::clock;
use crate::core::gate::GateState;
use crate::error::{ConnectError, RequestError};
use crate::pool::checkout::Checkout;

/// No thread can be had, and those that are there are busy until this is dropped.
struct Starved<'a>(&'a World, Option<Sender<()>>);

impl Drop for Starved<'_> {
    fn drop(&mut self) {
        self.0.context.tools.workers.starve(false);
        self.1 = None;
    }
}

fn starve(world: &World) -> Starved<'_> {
    let workers = &world.context.tools.workers;
    workers.starve(true);
    let (release, held) = bounded::<()>(0);
    let mut busy = 0;
    wait_for(|| {
        let held = held.clone();
        busy += usize::from(workers.run(move || {
            let _ = held.recv();
        }));
        busy == workers.alive()
    });
    Starved(world, Some(release))
}

/// Does the reaper's work until it holds.
#[track_caller]
fn reap_until(world: &World, mut holds: impl FnMut() -> bool) {
    wait_for(|| {
        world.context.tools.alarms.run_due(clock::now(), 1);
        holds()
    });
}

fn is_starved(answer: &Result<Checkout, RequestError>) -> bool {
    matches!(answer, Err(RequestError::Connect { cause: ConnectError::Starved(_), .. }))
}

#[test]
fn whoever_asks_is_told_and_every_permit_comes_back() {
    let world = world(2, good());
    Checkout::settle(world.checkout());
    world.settled();
    let starved = starve(&world);
    let (to, from) = unbounded();
    for _ in 0..5 {
        world.ask(&to);
    }
    reap_until(&world, || from.len() == 5);
    assert!(from.try_iter().all(|answer| is_starved(&answer)));
    reap_until(&world, || world.tenant.figures().used == 0);
    drop(starved);
    world.ask(&to);
    assert!(got(&from).is_ok());
    world.settled();
}

#[test]
fn a_tenant_that_is_new_is_given_up_and_all_who_wait_are_answered() {
    let world = world(2, good());
    let starved = starve(&world);
    let (to, from) = unbounded();
    for _ in 0..5 {
        world.ask(&to);
    }
    reap_until(&world, || from.len() == 5);
    assert!(from.try_iter().all(|answer| is_starved(&answer)));
    assert_eq!(world.tenant.figures().state, GateState::Closed);
    drop(starved);
    world.settled();
}

#[test]
fn a_session_that_cannot_be_reset_is_closed_and_the_next_may_open_another() {
    let world = world(1, good());
    let checkout = world.checkout();
    let starved = starve(&world);
    Checkout::settle(checkout);
    reap_until(&world, || (world.census.alive(), world.tenant.figures().used) == (0, 0));
    drop(starved);
    drop(world.checkout());
    world.settled();
}

#[test]
fn checks_and_upkeep_that_cannot_run_are_tried_again() {
    let world = world(2, good());
    Checkout::settle(world.checkout());
    world.settled();
    let later = |seconds| clock::now() + std::time::Duration::from_secs(seconds);
    let starved = starve(&world);
    for round in 1..4 {
        let _ = world.tenant.maintain(later(31 * round));
        assert!(!world.tenant.backends().is_being_checked());
    }
    assert_eq!(world.tenant.figures().used, 0);
    drop(starved);
    let _ = world.tenant.maintain(later(200));
    world.upkeep_done();
    assert_eq!(world.census.alive(), 2, "the minimum is open");
}

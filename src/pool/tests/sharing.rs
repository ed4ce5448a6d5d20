//! Where a server has no room for one backend more.

use std::sync::atomic::Ordering;

use crossbeam_channel::unbounded;

use super::fakes::good;
use super::world::{got, wait_for, World};
use crate::clock;
use crate::config::{Limits, ServerConfig, TenantPoolConfig};
use crate::error::RequestError;
use crate::pool::checkout::Checkout;

/// A tenant that may have three backends, of a server that takes one, in a service where
/// one request may wait.
fn narrow() -> World {
    let limits = Limits { connections_per_server: Some(1), waiters: 1, ..Limits::default() };
    let settings =
        TenantPoolConfig { max_connections: 3, min_connections: 0, ..TenantPoolConfig::default() };
    World::new(ServerConfig { limits, ..ServerConfig::default() }, settings, good())
}

/// Does the reaper's work until it holds.
#[track_caller]
fn reap_until(world: &World, mut holds: impl FnMut() -> bool) {
    wait_for(|| {
        world.context.tools.alarms.run_due(clock::now(), 10);
        holds()
    });
}

fn waiting(world: &World) -> usize {
    world.context.servers.figures().iter().map(|server| server.waiting).sum()
}

#[test]
fn who_waits_for_room_counts_among_those_who_wait_and_gets_what_comes_back() {
    let world = narrow();
    let held = world.checkout();
    let (to, from) = unbounded();
    world.ask(&to);
    // It is counted before it is suspended.
    reap_until(&world, || world.tenant.account.numbers.suspended.load(Ordering::SeqCst) == 1);
    assert_eq!(waiting(&world), 1);
    let (other, told) = unbounded();
    world.ask(&other);
    let full = got(&told);
    assert!(matches!(full, Err(RequestError::ServiceLimit { what: "waiting requests", .. })));
    assert!(from.is_empty());
    Checkout::settle(held);
    reap_until(&world, || !from.is_empty());
    let checkout = got(&from).expect("a backend");
    assert_eq!(world.census.opened(), 1);
    reap_until(&world, || waiting(&world) == 0);
    drop(checkout);
    world.settled();
    assert_eq!(world.context.servers.figures(), []);
}

#[test]
fn a_stop_answers_those_who_wait_for_room() {
    let world = narrow();
    let held = world.checkout();
    let (to, from) = unbounded();
    world.ask(&to);
    reap_until(&world, || waiting(&world) == 1);
    world.tenant.drain();
    assert!(matches!(got(&from), Err(RequestError::Draining)));
    drop(held);
    world.settled();
}

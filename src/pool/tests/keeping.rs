//! What the keeper does with backends that nobody uses.

use std::time::Duration;

use super::fakes::good;
use super::world::World;
use crate::clock;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::gate::GateState;
use crate::pool::checkout::Checkout;

/// A tenant whose backends nobody checks, so that only the keeper takes permits.
fn unchecked(min: usize, max: usize) -> World {
    let settings = TenantPoolConfig {
        max_connections: max,
        min_connections: min,
        health_interval: Duration::ZERO,
        ping_interval: Duration::ZERO,
        ..TenantPoolConfig::default()
    };
    World::new(ServerConfig::default(), settings, good())
}

#[test]
fn idle_backends_go_above_the_minimum_and_old_ones_are_replaced() {
    let world = unchecked(2, 4);
    let checkouts: Vec<Checkout> = (0..4).map(|_| world.checkout()).collect();
    checkouts.into_iter().for_each(Checkout::settle);
    world.settled();
    let minutes = |n: u64| clock::now() + Duration::from_secs(60 * n);
    world.tenant.maintain(minutes(4));
    world.upkeep_done();
    assert_eq!(world.census.alive(), 4);
    world.tenant.maintain(minutes(6));
    world.upkeep_done();
    assert_eq!(world.census.alive(), 2);
    // Past their lifetime even the minimum goes; another round opens it anew.
    *world.tenant.account.last_used.lock() = minutes(31);
    world.tenant.maintain(minutes(31));
    world.upkeep_done();
    world.tenant.maintain(clock::now());
    world.upkeep_done();
    assert_eq!(world.census.alive(), 2);
    assert_eq!(world.census.opened(), 6);
}

#[test]
fn a_tenant_that_nobody_uses_is_closed_with_its_backends() {
    let world = unchecked(2, 2);
    Checkout::settle(world.checkout());
    world.settled();
    let later = |n: u64| clock::now() + Duration::from_secs(n);
    world.tenant.maintain(later(599));
    world.upkeep_done();
    assert_eq!(world.tenant.figures().state, GateState::Active);
    let mut longer = ServerConfig::default();
    longer.limits.unused_tenant_age = Duration::from_secs(1000);
    world.context.put_in_force(longer, |_| false);
    world.tenant.maintain(later(601));
    world.upkeep_done();
    assert_eq!(world.tenant.figures().state, GateState::Active);
    world.tenant.maintain(later(1001));
    world.settled();
    assert_eq!(world.tenant.figures().state, GateState::Closed);
    assert_eq!(world.census.alive(), 0);
}

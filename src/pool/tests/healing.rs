//! How broken backends are found out, and how well a tenant is said to be.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};

use super::fakes::{good, only, Call, Fate, Script};
use super::world::{got, wait_for, world_of, World, WAIT};
use crate::clock;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::breaker::BreakerPhase;
use crate::core::health::Level;
use crate::pool::checkout::Checkout;
use crate::pool::snapshot::TenantSnapshot;

/// A world with so many backends at rest. No minimum is kept open: checks wait
/// while a pool is being filled, which may fail each time they are due.
fn resting(count: usize, script: Script) -> World {
    let world = world_of(0, count, script);
    let checkouts: Vec<Checkout> = (0..count).map(|_| world.checkout()).collect();
    checkouts.into_iter().for_each(Checkout::settle);
    world.settled();
    world
}

pub(super) fn later(seconds: u64) -> Instant {
    clock::now() + Duration::from_secs(seconds)
}

/// Has a round of checks run, and waits for its end.
pub(super) fn round(world: &World, at: Instant) {
    let ended = || !world.tenant.backends().is_being_checked();
    wait_for(ended);
    // While the pool is being filled, checks wait.
    wait_for(|| {
        let _ = world.tenant.maintain(at);
        world.tenant.backends().record.lock().began == at
    });
    wait_for(ended);
}

/// Loses a backend as a server that crashes loses it: without a word.
fn lose(checkout: Checkout) {
    checkout.taken.backend.watch().abort_now();
    Checkout::discard(checkout, "lost");
}

#[test]
fn one_backend_lost_without_a_word_has_all_others_looked_at_before_anybody_gets_them() {
    let broken = Arc::new(AtomicBool::new(false));
    let are_broken = Arc::clone(&broken);
    let script = move |call| match call {
        Call::Check if are_broken.load(Ordering::SeqCst) => Fate::Breaks,
        _ => Fate::Good,
    };
    let world = resting(8, Arc::new(script));
    broken.store(true, Ordering::SeqCst);
    lose(world.checkout());
    world.settled();
    assert_eq!((world.census.alive(), world.tenant.figures().open), (0, 0));
    assert_eq!(TenantSnapshot::of(&world.tenant, 0).check_failures, 7);
    // What is opened from now on is not in doubt.
    Checkout::settle(world.checkout());
    world.settled();
    assert_eq!(world.census.alive(), 1);
}

/// How often a backend at rest is asked, and how many were opened, when it is leased
/// after more, or less, than the time for which it is trusted.
fn asked(check_after_idle: Duration, fate: Fate) -> (usize, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let script = move |call| {
        if call != Call::Check {
            return Fate::Good;
        }
        count.fetch_add(1, Ordering::SeqCst);
        fate
    };
    let settings = TenantPoolConfig {
        max_connections: 1,
        min_connections: 0,
        check_after_idle,
        ..TenantPoolConfig::default()
    };
    let world = World::new(ServerConfig::default(), settings, Arc::new(script));
    for _ in 0..2 {
        Checkout::settle(world.checkout());
        world.settled();
    }
    assert_eq!(world.census.most(), 1);
    (asked.load(Ordering::SeqCst), world.census.opened())
}

#[test]
fn a_backend_that_was_silent_for_longer_is_asked_before_it_is_leased() {
    assert_eq!(asked(WAIT, Fate::Breaks), (0, 1));
    assert_eq!(asked(Duration::ZERO, Fate::Good), (1, 1));
    // Nobody gets it; who asked gets another.
    assert_eq!(asked(Duration::ZERO, Fate::Breaks), (1, 2));
}

#[test]
fn those_that_answer_stay() {
    let world = resting(8, good());
    lose(world.checkout());
    world.settled();
    assert_eq!((world.census.alive(), world.tenant.figures().idle), (7, 7));
    assert_eq!(world.census.opened(), 8);
}

#[test]
fn a_round_closes_what_does_not_answer_and_two_good_ones_make_it_healthy_again() {
    let fate = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&fate);
    let script = move |call| match (call, now.load(Ordering::SeqCst)) {
        (Call::Check, 1) => Fate::Breaks,
        (Call::Check | Call::Connect, 2) => Fate::Breaks,
        _ => Fate::Good,
    };
    let world = resting(3, Arc::new(script));
    assert_eq!(world.tenant.backends().level(), Level::Healthy);
    // What is at rest is lost, and another can be opened.
    fate.store(1, Ordering::SeqCst);
    round(&world, later(31));
    assert_eq!(world.tenant.backends().level(), Level::Degraded);
    fate.store(0, Ordering::SeqCst);
    round(&world, later(60));
    assert_eq!(world.tenant.backends().level(), Level::Degraded);
    round(&world, later(90));
    assert_eq!(world.tenant.backends().level(), Level::Healthy);
    // Nothing works, three times.
    fate.store(2, Ordering::SeqCst);
    for (n, level) in [(120, Level::Degraded), (150, Level::Degraded), (180, Level::Unhealthy)] {
        round(&world, later(n));
        assert_eq!(world.tenant.backends().level(), level, "after {n} s");
    }
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Closed);
    let row = TenantSnapshot::of(&world.tenant, 0);
    assert_eq!(row.last_error.map(|(error, _)| error).as_deref(), Some("no"));
    fate.store(0, Ordering::SeqCst);
    round(&world, later(210));
    round(&world, later(240));
    assert_eq!(world.tenant.backends().level(), Level::Healthy);
    world.settled();
}

#[test]
fn where_all_permits_are_out_no_check_runs_and_nothing_is_said() {
    let world = resting(2, good());
    let before = TenantSnapshot::of(&world.tenant, 0);
    let held = [world.checkout(), world.checkout()];
    round(&world, later(31));
    round(&world, later(200));
    let after = TenantSnapshot::of(&world.tenant, 0);
    assert_eq!((after.last_check, after.level), (before.last_check, Level::Healthy));
    drop(held);
}

#[test]
fn a_tenant_that_keeps_nothing_open_is_checked_by_opening_and_nothing_is_left() {
    let world = world_of(0, 2, good());
    drop(world.checkout());
    world.settled();
    world.tenant.backends().record.lock().worked_at = later(20);
    round(&world, later(31));
    assert_eq!(world.census.opened(), 1, "what worked just now is evidence enough");
    round(&world, later(95));
    world.settled();
    assert_eq!((world.census.opened(), world.census.alive()), (2, 0));
    assert_eq!(world.tenant.backends().level(), Level::Healthy);
}

#[test]
fn what_we_lack_ourselves_is_no_sickness_of_the_database_and_opens_no_breaker() {
    let lacking = Arc::new(AtomicBool::new(false));
    let lacks = Arc::clone(&lacking);
    let world = world_of(
        0,
        2,
        Arc::new(move |call| match call {
            Call::Connect if lacks.load(Ordering::SeqCst) => Fate::Starved,
            _ => Fate::Good,
        }),
    );
    drop(world.checkout());
    world.settled();
    lacking.store(true, Ordering::SeqCst);
    // More rounds than make it unhealthy, and more tries than open a breaker.
    for n in 1..8 {
        round(&world, later(50 * n));
    }
    world.settled();
    assert_eq!(
        (world.tenant.backends().level(), world.tenant.backends().breaker_phase()),
        (Level::Healthy, BreakerPhase::Closed)
    );
    assert_eq!(TenantSnapshot::of(&world.tenant, 0).open_failures, 7);
}

/// What is said of a tenant whose connects meet this fate while one backend is leased, and
/// then with none, each with whether it is looked at again soon.
fn said(fate: Fate) -> [(Level, bool); 2] {
    let (switch, is_so) = (Arc::new(AtomicBool::new(false)), fate);
    let now = Arc::clone(&switch);
    let script = move |call| match call {
        Call::Connect if now.load(Ordering::SeqCst) => is_so,
        _ => Fate::Good,
    };
    let world = world_of(0, 2, Arc::new(script));
    let held = world.checkout();
    switch.store(true, Ordering::SeqCst);
    let said = |from: u64| {
        (0..5).for_each(|n| round(&world, later(from + n)));
        let next = world.tenant.backends().record.lock().next;
        (world.tenant.backends().level(), next.is_some_and(|next| next < later(10)))
    };
    let leased = said(40);
    Checkout::discard(held, "lost");
    let none = said(120);
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Closed);
    [leased, none]
}

#[test]
fn a_database_that_refuses_the_login_is_there_while_what_is_leased_works() {
    // Nobody knocks every second; but with nothing leased its return is not to be missed.
    assert_eq!(said(Fate::Fails), [(Level::Degraded, false), (Level::Unhealthy, true)]);
}

#[test]
fn that_a_server_is_full_is_no_sickness_while_what_is_leased_works() {
    assert_eq!(said(Fate::Full), [(Level::Healthy, false), (Level::Unhealthy, true)]);
}

#[test]
fn a_mute_backend_at_rest_is_waited_for_no_longer_than_its_time_and_replaced() {
    let (release, held) = bounded::<()>(0);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let script = move |call| {
        if call == Call::Check {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = held.recv_timeout(WAIT);
        }
        Fate::Good
    };
    let settings = TenantPoolConfig {
        max_connections: 1,
        min_connections: 0,
        check_after_idle: Duration::ZERO,
        health_interval: Duration::ZERO,
        ping_interval: Duration::ZERO,
        ..TenantPoolConfig::default()
    };
    let world = World::new(ServerConfig::default(), settings, Arc::new(script));
    Checkout::settle(world.checkout());
    world.settled();
    let (to, from) = unbounded();
    world.ask(&to);
    wait_for(|| asked.load(Ordering::SeqCst) == 1);
    // Two seconds are over, which is what it has.
    let limit = Duration::from_secs(2);
    assert_eq!(world.context.tools.alarms.run_due(clock::now() + limit, 100), 1);
    drop(release);
    let fresh = got(&from).expect("a new one");
    assert_eq!((asked.load(Ordering::SeqCst), world.census.opened()), (1, 2));
    Checkout::settle(fresh);
    world.settled();
}

#[test]
fn a_mute_backend_holds_up_nobody_but_its_own_round() {
    let (release, held) = bounded::<()>(0);
    let (begins, begun) = unbounded();
    let script = move |call| {
        if call == Call::Check {
            let _ = begins.send(());
            let _ = held.recv_timeout(WAIT);
        }
        Fate::Good
    };
    let (mute, other) = (resting(2, Arc::new(script)), resting(2, good()));
    // It comes back although nothing has answered.
    let _ = mute.tenant.maintain(later(31));
    begun.recv_timeout(WAIT).expect("a check");
    begun.recv_timeout(WAIT).expect("the other, at the same time");
    round(&other, later(31));
    assert_eq!(other.tenant.backends().level(), Level::Healthy);
    drop(release);
    mute.settled();
    assert_eq!(mute.census.alive(), 2);
}

#[test]
fn a_panic_in_a_check_costs_a_backend_and_no_permit_and_the_next_round_comes() {
    let world = resting(2, only(Call::Check, Fate::Panics));
    round(&world, later(31));
    world.settled();
    round(&world, later(62));
    assert!(world.census.most() <= 2);
    world.settled();
}

#[test]
fn silent_backends_are_talked_to_and_that_does_not_count_as_use() {
    let world = resting(2, good());
    let before = TenantSnapshot::of(&world.tenant, 0).last_check;
    let _ = world.tenant.maintain(later(10));
    world.upkeep_done();
    assert_eq!(TenantSnapshot::of(&world.tenant, 0).last_check, before);
    let _ = world.tenant.maintain(later(25));
    world.upkeep_done();
    assert_ne!(TenantSnapshot::of(&world.tenant, 0).last_check, before);
    assert!(!world.tenant.backends().store.any_idle(|slot| slot.idle_since > slot.answered_at));
    assert!(world.tenant.backends().store.any_idle(|slot| slot.idle_since < slot.answered_at));
}

//! Tenants that get other settings while they are in use, in a registry that counts what they
//! may have.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};

use super::fakes::{good, Call, Fate};
use super::swapping::{adds_up, use_one};
use super::world::{got, wait_for, World, WAIT};
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::{Limits, ServerConfig, TenantPoolConfig};
use crate::core::gate::GateState;
use crate::core::ids::TenantId;
use crate::core::testing::Xorshift;
use crate::error::RequestError;
use crate::pool::checkout::Checkout;
use crate::pool::context::Context;
use crate::pool::registry::change::{TenantChange, TenantChanged};
use crate::pool::registry::Registry;

/// A registry whose tenants may have so many backends together.
fn registry(max_backends: usize) -> Arc<Registry> {
    let limits = Limits { max_backends, ..Limits::default() };
    Registry::new(&Context::new(ServerConfig { limits, ..ServerConfig::default() }))
        .expect("OpenSSL works")
}

fn settings(max: usize) -> TenantPoolConfig {
    TenantPoolConfig { max_connections: max, min_connections: 0, ..TenantPoolConfig::default() }
}

/// A tenant that has had its first backend.
fn opened(registry: &Arc<Registry>, name: &str, max: usize) -> World {
    let world = World::known(registry, name, settings(max), good());
    use_one(&world);
    world.settled();
    world
}

fn to_size(max: usize) -> TenantChange {
    TenantChange { max_connections: Some(max), ..TenantChange::default() }
}

/// What the gate gives, what is reserved for it in all, and what its pool was made for.
fn numbers(registry: &Registry, world: &World) -> (usize, usize, usize) {
    let setup = world.tenant.setup();
    assert_eq!(setup.permits, world.tenant.figures().max);
    (setup.permits, registry.reserved(), setup.waiters)
}

#[test]
fn a_tenant_gets_no_more_than_there_is_room_for_and_else_nothing_changes() {
    let registry = registry(10);
    let (one, _other) = (opened(&registry, "one", 4), opened(&registry, "other", 4));
    let resized = TenantChanged { replaced: false, resized: true };
    assert_eq!(registry.change(one.tenant.id(), &to_size(6)).expect("room"), resized);
    let before = numbers(&registry, &one);
    assert_eq!((before.0, before.1), (6, 10));
    let backends = one.tenant.backends();
    let change = TenantChange { reconnect: true, max_waiters: Some(1), ..to_size(7) };
    let refused = registry.change(one.tenant.id(), &change);
    assert!(
        matches!(refused, Err(RequestError::ServiceLimit { used: 11, limit: 10, .. })),
        "{refused:?}"
    );
    assert_eq!(numbers(&registry, &one), before);
    assert!(Arc::ptr_eq(&backends, &one.tenant.backends()));
    let wrong = TenantPoolConfig { min_connections: 3, ..settings(2) };
    let change = TenantChange { settings: Some(wrong), ..TenantChange::default() };
    assert!(matches!(registry.change(one.tenant.id(), &change), Err(RequestError::Invalid { .. })));
    assert_eq!(numbers(&registry, &one), before);
    let nobody = TenantId::parse("nobody").expect("a good name");
    let unknown = registry.change(&nobody, &to_size(1));
    assert!(matches!(unknown, Err(RequestError::TenantNotFound(id)) if id == nobody));
}

#[test]
fn only_what_cannot_stay_is_replaced() {
    let registry = registry(1000);
    let world = opened(&registry, "one", 2);
    let change = |change: TenantChange| {
        let before = world.tenant.backends();
        let changed = registry.change(world.tenant.id(), &change).expect("changed");
        let stays = Arc::ptr_eq(&before, &world.tenant.backends());
        assert_eq!(changed.replaced, !stays);
        (changed.replaced, changed.resized)
    };
    assert_eq!(change(TenantChange::default()), (false, false));
    assert_eq!(change(to_size(2)), (false, false));
    assert_eq!(change(to_size(3)), (false, true));
    assert_eq!(change(TenantChange { settings: Some(settings(1)), ..to_size(3) }), (false, false));
    let change_of = |settings| TenantChange { settings: Some(settings), ..TenantChange::default() };
    assert_eq!(change(change_of(settings(2))), (false, true));
    let other = TenantPoolConfig { idle_timeout: Duration::from_secs(7), ..settings(2) };
    assert_eq!(change(change_of(other.clone())), (true, false));
    assert_eq!(change(change_of(other)), (false, false));
    assert_eq!(change(TenantChange { reconnect: true, ..TenantChange::default() }), (true, false));
    let waiters = TenantChange { max_waiters: Some(3), ..TenantChange::default() };
    assert_eq!(change(waiters), (false, true));
    // More than r2d2's pool, whose size is set for good, has room for.
    let capacity = world.tenant.backends().store.capacity();
    assert_eq!(change(to_size(capacity + 1)), (true, true));
    let checkouts: Vec<Checkout> = (0..=capacity).map(|_| world.checkout()).collect();
    assert_eq!(world.census.alive(), capacity + 1);
    checkouts.into_iter().for_each(Checkout::settle);
    adds_up(&world);
}

#[test]
fn with_another_dsn_backends_are_opened_there_and_what_is_leased_goes_on() {
    let registry = registry(10);
    let world = opened(&registry, "one", 2);
    let held = world.checkout();
    // Nobody listens there.
    let dsn = Dsn::parse("host=127.0.0.1 port=1 user=u password=p").expect("a good DSN");
    let retries = TenantPoolConfig { connect_retries: 0, ..settings(2) };
    let change =
        TenantChange { dsn: Some(dsn), settings: Some(retries.clone()), ..TenantChange::default() };
    let changed = registry.change(world.tenant.id(), &change).expect("changed");
    assert!(changed.replaced);
    let origin = &world.tenant.backends().origin;
    assert_eq!((origin.dsn.user.as_str(), origin.connect.servers().as_str()), ("u", "127.0.0.1:1"));
    assert!(origin.dsn.password.is_none());
    let (to, from) = unbounded();
    world.ask(&to);
    assert!(matches!(got(&from), Err(RequestError::Connect { .. })));
    assert!(!held.taken.backend.watch().is_aborted());
    held.settle();
    adds_up(&world);
    assert_eq!(world.census.alive(), 0);
}

#[test]
fn who_may_have_fewer_counts_for_what_it_still_has() {
    let registry = registry(10);
    let (one, other) = (opened(&registry, "one", 4), opened(&registry, "other", 4));
    let held: Vec<Checkout> = (0..4).map(|_| one.checkout()).collect();
    registry.change(one.tenant.id(), &to_size(1)).expect("fewer are always possible");
    assert_eq!(numbers(&registry, &one).1, 8);
    assert!(registry.change(other.tenant.id(), &to_size(7)).is_err());
    held.into_iter().for_each(Checkout::settle);
    wait_for(|| registry.reserved() == 5);
    registry.change(other.tenant.id(), &to_size(9)).expect("room");
    adds_up(&one);
    assert_eq!(one.census.alive(), 1);
}

#[test]
fn unused_tenants_give_way_to_one_that_grows_but_it_not_to_itself() {
    let registry = registry(10);
    let (one, other) = (opened(&registry, "one", 4), opened(&registry, "other", 4));
    let long_ago = clock::now() - Duration::from_secs(60);
    for world in [&one, &other] {
        *world.tenant.account.last_used.lock() = long_ago;
    }
    registry.change(one.tenant.id(), &to_size(9)).expect("the other gives way");
    assert_eq!(other.tenant.figures().state, GateState::Closed);
    assert_eq!(numbers(&registry, &one), (9, 9, 1000));
    assert!(registry.change(one.tenant.id(), &to_size(11)).is_err());
    assert_eq!(one.tenant.figures().state, GateState::Active);
}

#[test]
fn a_tenant_that_is_changed_before_it_is_opened_is_opened_as_changed() {
    let registry = registry(10);
    let (begins, begun) = unbounded();
    let (go, held) = bounded::<()>(0);
    let script = move |call| {
        if call == Call::Connect {
            let _ = begins.send(());
            let _ = held.recv_timeout(WAIT);
        }
        Fate::Good
    };
    let world = World::known(&registry, "one", settings(3), Arc::new(script));
    let (to, from) = unbounded();
    (0..4).for_each(|_| world.ask(&to));
    begun.recv_timeout(WAIT).expect("it is being opened");
    assert_eq!(registry.reserved(), 0);
    registry.change(world.tenant.id(), &to_size(4)).expect("changed");
    assert_eq!(registry.reserved(), 0);
    assert!(registry.change(world.tenant.id(), &to_size(11)).is_err());
    drop(go);
    let checkouts: Vec<Checkout> = (0..4).map(|_| got(&from).expect("a backend")).collect();
    assert_eq!((registry.reserved(), world.tenant.figures().used), (4, 4));
    checkouts.into_iter().for_each(Checkout::settle);
    adds_up(&world);
}

#[test]
fn who_waits_is_served_in_the_order_of_arrival_whatever_is_changed() {
    let registry = registry(100);
    let world = opened(&registry, "one", 1);
    let held = world.checkout();
    let mut random = Xorshift::new(3);
    let (to, from) = unbounded();
    for n in 0..20 {
        let to = to.clone();
        let job =
            crate::pool::job::Job::new(&crate::pool::caller::Caller::nobody(), move |checkout| {
                let _ = to.send((n, checkout));
            });
        assert!(world.tenant.admit(job, WAIT).is_ok());
    }
    // The one permit stays the only one, so that the order of answers is that of the queue.
    let mut change = || {
        let mut next = random_change(&mut random);
        next.max_connections = Some(1);
        registry.change(world.tenant.id(), &next).expect("changed");
    };
    change();
    held.settle();
    for expected in 0..20 {
        let (n, checkout) = from.recv_timeout(WAIT).expect("served");
        assert_eq!(n, expected);
        change();
        checkout.expect("a backend").settle();
    }
    adds_up(&world);
    assert_eq!(world.census.most(), 1);
}

fn random_change(random: &mut Xorshift) -> TenantChange {
    let mut maybe = |below: u64| (random.below(2) == 0).then(|| random.below(below) as usize);
    let (max, idle, waiters) = (maybe(8), maybe(100), maybe(10));
    TenantChange {
        dsn: None,
        moved: None,
        settings: idle.map(|idle| TenantPoolConfig {
            idle_timeout: Duration::from_secs(60 + idle as u64),
            ..settings(1 + max.unwrap_or(2))
        }),
        max_connections: max.map(|max| 1 + max),
        // More than there are clients, so that nobody is refused.
        max_waiters: waiters.map(|waiters| 100 + waiters),
        reconnect: random.below(4) == 0,
        must: false,
    }
}

/// Two threads change two tenants at random while clients use both.
fn run(seed: u64) {
    const CLIENTS: usize = 4;
    const CHANGES: usize = 25;
    let registry = registry(12);
    let worlds = [opened(&registry, "one", 2), opened(&registry, "other", 2)];
    let (done, used) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..2 * CLIENTS {
            let (worlds, done, used) = (&worlds, &done, &used);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    // Panics if it fails.
                    use_one(&worlds[client % 2]);
                    used.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let changers: Vec<_> = (0..2)
            .map(|changer| {
                let (registry, worlds, used) = (&registry, &worlds, &used);
                scope.spawn(move || {
                    let mut random = Xorshift::new(2 * seed + changer);
                    for _ in 0..CHANGES {
                        let world = &worlds[random.below(2) as usize];
                        let change = random_change(&mut random);
                        match registry.change(world.tenant.id(), &change) {
                            Ok(_) | Err(RequestError::ServiceLimit { .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                        let before = used.load(Ordering::SeqCst);
                        wait_for(|| used.load(Ordering::SeqCst) > before);
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = changers.into_iter().map(|changer| changer.join()).collect();
        done.store(true, Ordering::SeqCst);
        assert!(outcomes.iter().all(Result::is_ok), "seed {seed}");
    });
    for world in &worlds {
        adds_up(world);
        wait_for(|| world.census.alive() <= world.tenant.setup().permits);
    }
    let permits = |world: &World| numbers(&registry, world).0;
    assert_eq!(registry.reserved(), worlds.iter().map(permits).sum::<usize>(), "seed {seed}");
    for world in &worlds {
        world.tenant.close_all();
        wait_for(|| world.census.alive() == 0);
    }
}

#[test]
fn tenants_that_are_changed_at_random_under_load_serve_everybody_and_add_up() {
    (1..=20).for_each(run);
}

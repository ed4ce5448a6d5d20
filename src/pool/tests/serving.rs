//! How callers come by a backend.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};

use super::fakes::{good, only, Call, Fate};
use super::world::{wait_for, world, World, WAIT};
use crate::clock;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::job::Job;

#[test]
fn open_backends_never_exceed_the_permits_and_everybody_is_served_once() {
    let world = world(4, good());
    let (to, from) = unbounded();
    for round in 0..900 {
        world.ask(&to);
        // The keeper meddles, and every third backend is thrown away.
        world.tenant.maintain(clock::now());
        while let Ok(checkout) = from.try_recv() {
            let checkout = checkout.expect("a backend");
            if round % 3 == 0 {
                Checkout::discard(checkout, "test");
            } else {
                Checkout::settle(checkout);
            }
        }
    }
    drop(to);
    while let Ok(checkout) = from.recv() {
        Checkout::settle(checkout.expect("a backend"));
    }
    world.settled();
    assert!(world.census.most() <= 4);
    let figures = world.tenant.figures();
    assert_eq!((figures.acquired, figures.waiting), (900, 0));
    assert_eq!(figures.open, world.census.alive());
    assert_eq!(figures.idle, figures.open);
}

#[test]
fn cold_callers_are_served_in_the_order_of_their_arrival_however_long_their_connects_take() {
    let holds: Vec<_> = (0..8).map(|_| bounded::<()>(1)).collect();
    let begun = Arc::new(AtomicUsize::new(0));
    let (waits, count) =
        (holds.iter().map(|hold| hold.1.clone()).collect::<Vec<_>>(), Arc::clone(&begun));
    // The n-th connect waits for the n-th of them.
    let script = Arc::new(move |call| {
        if call == Call::Connect {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let _ = waits[number].recv();
        }
        Fate::Good
    });
    let world = world(8, script);
    let (to, from) = unbounded();
    for n in 0..8 {
        let to = to.clone();
        let job = Job::new(&Caller::nobody(), move |checkout| {
            let _ = to.send((n, checkout));
        });
        assert!(world.tenant.admit(job, WAIT).is_ok());
    }
    // The first opens the tenant; then the others connect at once, and the last
    // to begin is the first to be done.
    let mut checkouts = Vec::new();
    for (n, connect) in [0, 7, 6, 5, 4, 3, 2, 1].into_iter().enumerate() {
        wait_for(|| begun.load(Ordering::SeqCst) == if n == 0 { 1 } else { 8 });
        holds[connect].0.send(()).expect("the connect waits");
        let (served, checkout) = from.recv_timeout(WAIT).expect("answered");
        assert_eq!(served, n);
        checkouts.push(checkout);
    }
}

/// Asks for a backend for a lease, and says on which thread it came, and what.
fn lease(world: &World) -> (ThreadId, Checkout) {
    let (to, from) = unbounded();
    let job = Job::for_lease(&Caller::nobody(), move |checkout| {
        let _ = to.send((thread::current().id(), checkout));
    });
    assert!(world.tenant.admit(job, WAIT).is_ok());
    let (by, checkout) = from.recv_timeout(WAIT).expect("answered");
    (by, checkout.expect("a backend"))
}

#[test]
fn a_lease_needs_no_worker_where_a_backend_lies_ready() {
    let (world, own) = (world(2, good()), thread::current().id());
    let (by, first) = lease(&world);
    assert_ne!(by, own, "one was opened");
    Checkout::settle(first);
    world.settled();
    let (by, first) = lease(&world);
    assert_eq!(by, own);
    let (by, second) = lease(&world);
    assert_ne!(by, own, "one was opened");
    // What is lost is not leased.
    let watch = Arc::clone(first.taken.backend.watch());
    Checkout::settle(first);
    world_rests(&world, 1);
    watch.abort_now();
    let (by, third) = lease(&world);
    assert_ne!(by, own, "one was opened");
    Checkout::settle(second);
    Checkout::settle(third);
    world.settled();
    assert_eq!((world.census.opened(), world.census.most()), (3, 2));
}

fn world_rests(world: &World, idle: usize) {
    wait_for(|| world.tenant.figures().idle == idle && world.tenant.figures().used == 1);
}

#[test]
fn a_backend_that_is_to_be_checked_first_is_left_to_a_worker() {
    let settings =
        TenantPoolConfig { check_after_idle: Duration::ZERO, ..TenantPoolConfig::default() };
    let checks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&checks);
    let script = Arc::new(move |call| {
        count.fetch_add(usize::from(call == Call::Check), Ordering::SeqCst);
        Fate::Good
    });
    let world = World::new(ServerConfig::default(), settings, script);
    Checkout::settle(lease(&world).1);
    world.settled();
    let (by, checkout) = lease(&world);
    assert_ne!(by, thread::current().id());
    Checkout::settle(checkout);
    world.settled();
    assert_eq!((checks.load(Ordering::SeqCst), world.census.opened()), (1, 1));
}

#[test]
fn a_clean_backend_is_used_again_and_a_doubtful_one_is_closed() {
    let clean = world(1, good());
    Checkout::settle(clean.checkout());
    drop(clean.checkout());
    clean.settled();
    // The second backend was dropped without a reset.
    assert_eq!(clean.census.opened(), 1);
    assert_eq!(clean.census.alive(), 0);

    let doubtful = world(1, only(Call::Reset, Fate::Fails));
    Checkout::settle(doubtful.checkout());
    doubtful.settled();
    assert_eq!(doubtful.census.alive(), 0);
}

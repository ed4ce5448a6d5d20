//! Backends that are replaced behind their gate, and gates that get other numbers of permits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use crossbeam_channel::unbounded;

use super::fakes::{good, Call, Fate};
use super::world::{got, resize, swap, wait_for, world_of, World};
use crate::backend::statement::Statement;
use crate::core::testing::Xorshift;
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::job::Job;
use crate::pool::store::ListedBackend;
use crate::pool::work::kept::{BufferedResult, ResultLimits};

const CLIENTS: usize = 16;
const SWAPS: usize = 50;
const WAITERS: usize = 1000;

/// Gets a backend, uses it and gives it back.
pub(super) fn use_one(world: &World) {
    let mut checkout = world.checkout();
    let limits = ResultLimits { max_bytes: 1, max_rows: None };
    let mut kept = BufferedResult::new(limits, &|| (), &|| true);
    let statement = Statement::new("select 1", Vec::new());
    assert!(checkout.taken.backend.run(&statement, &mut kept).is_ok());
    checkout.settle();
}

/// What holds when all is quiet: no permit is out, and what is open rests.
#[track_caller]
pub(super) fn adds_up(world: &World) {
    world.settled();
    let figures = world.tenant.figures();
    let alive = world.census.alive();
    assert_eq!((figures.open, figures.idle, figures.waiting), (alive, alive, 0));
}

/// Has clients use the tenant all the while that something is done to it.
fn under_load(world: &World, during: impl FnOnce()) {
    let (done, used) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    use_one(world);
                    used.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        wait_for(|| used.load(Ordering::SeqCst) > CLIENTS);
        during();
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn no_request_fails_while_the_backends_are_replaced_again_and_again() {
    let world = world_of(0, 4, good());
    let served = || world.tenant.figures().acquired;
    under_load(&world, || {
        for _ in 0..SWAPS {
            let before = served();
            swap(&world.tenant);
            wait_for(|| served() > before);
        }
    });
    adds_up(&world);
    assert!(world.census.most() <= 4, "{} lived at once", world.census.most());
    assert!(world.census.opened() >= SWAPS, "each time they were opened anew");
}

#[test]
fn what_is_leased_goes_on_to_its_end_and_who_comes_gets_one_of_the_new() {
    let world = world_of(0, 3, good());
    let (held, idle) = (world.checkout(), world.checkout());
    let (old, gone) = (held.taken.backend.pid(), idle.taken.backend.pid());
    idle.settle();
    wait_for(|| world.tenant.figures().idle == 1);
    swap(&world.tenant);
    wait_for(|| world.census.alive() == 1);
    assert!(!held.taken.backend.watch().is_aborted());
    let fresh = world.checkout();
    let new = fresh.taken.backend.pid();
    assert!(new != old && new != gone);
    let figures = world.tenant.figures();
    assert_eq!((figures.used, figures.open, figures.max), (2, 2, 3));
    held.settle();
    wait_for(|| world.census.alive() == 1);
    fresh.settle();
    adds_up(&world);
    assert_eq!(world.checkout().taken.backend.pid(), new);
}

#[test]
fn who_waits_is_served_in_the_order_of_arrival_whatever_is_replaced() {
    let world = world_of(0, 1, good());
    let held = world.checkout();
    let (to, from) = unbounded();
    for n in 0..20 {
        let to = to.clone();
        let job = Job::new(&Caller::nobody(), move |checkout| {
            let _ = to.send((n, checkout));
        });
        assert!(world.tenant.admit(job, super::world::WAIT).is_ok());
        if n % 4 == 0 {
            swap(&world.tenant);
        }
    }
    held.settle();
    for expected in 0..20 {
        let (n, checkout) = from.recv_timeout(super::world::WAIT).expect("served");
        assert_eq!(n, expected);
        if n % 3 == 0 {
            swap(&world.tenant);
        }
        checkout.expect("a backend").settle();
    }
    adds_up(&world);
    assert_eq!(world.census.most(), 1);
}

#[test]
fn who_is_having_one_opened_of_the_old_gets_one_of_the_new() {
    let (begins, begun) = unbounded();
    let (go, held) = crossbeam_channel::bounded::<()>(0);
    let first = AtomicBool::new(true);
    let script = move |call| {
        if call == Call::Connect && first.swap(false, Ordering::SeqCst) {
            let _ = begins.send(());
            let _ = held.recv_timeout(super::world::WAIT);
            return Fate::Refused;
        }
        Fate::Good
    };
    let world = world_of(0, 1, Arc::new(script));
    let (to, from) = unbounded();
    world.ask(&to);
    begun.recv_timeout(super::world::WAIT).expect("it is being opened");
    swap(&world.tenant);
    drop(go);
    got(&from).expect("the old ones' failure says nothing of the new").settle();
    adds_up(&world);
}

#[test]
fn what_is_swapped_in_at_a_tenant_that_closes_is_closed_too() {
    let world = world_of(0, 2, good());
    world.checkout().settle();
    world.settled();
    world.tenant.close_all();
    swap(&world.tenant);
    wait_for(|| world.census.alive() == 0);
    assert!(world.tenant.backends().is_retired());
}

#[test]
fn a_gate_is_resized_in_both_directions_under_load() {
    let world = world_of(0, 2, good());
    let mut random = Xorshift::new(7);
    let served = || world.tenant.figures().acquired;
    under_load(&world, || {
        for _ in 0..SWAPS {
            let before = served();
            resize(&world.tenant, 1 + random.below(8) as usize, WAITERS);
            wait_for(|| served() > before);
        }
        resize(&world.tenant, 3, WAITERS);
    });
    adds_up(&world);
    assert!(world.census.most() <= 8, "{} lived at once", world.census.most());
    // The rest goes with what was too much.
    wait_for(|| world.census.alive() <= 3);
}

#[test]
fn who_waits_until_one_is_closed_gets_one_that_comes_back_before_it() {
    let world = world_of(0, 2, good());
    let first = world.checkout();
    let open = &world.tenant.account.open;
    // As one that is being closed, for as long as this takes.
    let _closing = open.reserve(usize::MAX).expect("room for a second");
    let (to, from) = unbounded();
    world.ask(&to);
    wait_for(|| open.waiting() == 1);
    first.settle();
    got(&from).expect("the one that came back").settle();
}

#[test]
fn more_permits_are_handed_out_at_once_and_with_fewer_what_rests_beyond_them_is_closed() {
    let world = world_of(0, 1, good());
    let first = world.checkout();
    let (to, from) = unbounded();
    (0..3).for_each(|_| world.ask(&to));
    assert_eq!(world.tenant.figures().waiting, 3);
    resize(&world.tenant, 4, WAITERS);
    let others: Vec<Checkout> = (0..3).map(|_| got(&from).expect("a backend")).collect();
    assert_eq!((world.tenant.figures().used, world.census.alive()), (4, 4));
    others.into_iter().for_each(Checkout::settle);
    wait_for(|| world.tenant.figures().idle == 3);
    resize(&world.tenant, 1, WAITERS);
    wait_for(|| world.census.alive() == 1);
    world.ask(&to);
    assert_eq!(world.tenant.figures().waiting, 1, "the one permit is in use");
    first.settle();
    got(&from).expect("a backend").settle();
    adds_up(&world);
    assert_eq!(world.census.alive(), 1);
}

#[test]
fn open_backends_are_listed_with_what_they_do_and_those_of_a_pool_before_as_replaced() {
    let world = world_of(0, 3, good());
    let (held, idle) = (world.checkout(), world.checkout());
    let (leased, resting) = (held.taken.backend.pid(), idle.taken.backend.pid());
    idle.settle();
    wait_for(|| world.tenant.figures().idle == 1);
    let list = |after, limit| {
        let listed = world.tenant.backends().store.list(after, limit);
        let told = |(n, one): (u64, ListedBackend)| {
            (n, one.opened.pid, one.rests.is_some(), one.opened.is_replaced())
        };
        listed.into_iter().map(told).collect::<Vec<_>>()
    };
    let both = list(None, 9);
    let shown: Vec<_> = both.iter().map(|(_, pid, rests, old)| (*pid, *rests, *old)).collect();
    assert_eq!(shown, [(leased, false, false), (resting, true, false)]);
    assert_eq!((list(None, 1), list(Some(both[0].0), 9)), (both[..1].to_vec(), both[1..].to_vec()));
    swap(&world.tenant);
    wait_for(|| world.census.alive() == 1);
    wait_for(|| list(None, 9).len() == 1);
    assert_eq!(list(None, 9), [(both[0].0, leased, false, true)]);
    held.settle();
    adds_up(&world);
    assert_eq!(list(None, 9), []);
}

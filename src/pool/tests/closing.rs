//! How backends are closed: before their permits are back, and all of them.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};

use super::fakes::{Call, Fate};
use super::world::{got, world_of, World, WAIT};
use crate::clock;
use crate::error::RequestError;
use crate::pool::checkout::Checkout;

/// A world with one permit, in which one call stands still. The first channel tells that it has
/// begun; it goes on when the second is dropped. `resets` is how resets end.
fn standing(at: Call, resets: Fate) -> (World, Receiver<()>, Sender<()>) {
    let (begins, begun) = unbounded();
    let (release, held) = bounded::<()>(0);
    let script = move |call| {
        if call == at {
            let _ = begins.send(());
            let _ = held.recv_timeout(WAIT);
        }
        if call == Call::Reset {
            resets
        } else {
            Fate::Good
        }
    };
    (world_of(0, 1, Arc::new(script)), begun, release)
}

#[test]
fn a_panic_in_a_reset_closes_the_backend_before_its_permit_is_back() {
    let (world, begun, release) = standing(Call::Close, Fate::Panics);
    Checkout::settle(world.checkout());
    begun.recv_timeout(WAIT).expect("it is being closed");
    assert_eq!(world.tenant.figures().used, 1);
    drop(release);
    world.settled();
    assert_eq!(world.census.alive(), 0);
}

#[test]
fn the_keeper_closes_an_idle_backend_before_its_permit_is_back() {
    let (world, begun, release) = standing(Call::Close, Fate::Good);
    Checkout::settle(world.checkout());
    world.settled();
    world.tenant.maintain(clock::now() + Duration::from_secs(6 * 60));
    begun.recv_timeout(WAIT).expect("it is being closed");
    assert_eq!(world.tenant.figures().used, 1);
    drop(release);
    world.upkeep_done();
    assert_eq!(world.census.alive(), 0);
}

#[test]
fn a_backend_that_is_reset_while_its_pool_is_closed_is_closed_too() {
    let (world, begun, release) = standing(Call::Reset, Fate::Good);
    Checkout::settle(world.checkout());
    begun.recv_timeout(WAIT).expect("it is being reset");
    world.tenant.close_all();
    drop(release);
    world.settled();
    assert_eq!(world.census.alive(), 0);
}

#[test]
fn nothing_is_opened_beside_the_backends_of_a_pool_that_is_being_closed() {
    let (world, begun, release) = standing(Call::Close, Fate::Good);
    Checkout::settle(world.checkout());
    world.settled();
    let (to, from) = unbounded();
    // A request with a permit passes here before it looks for a backend.
    let barrier = world.tenant.account.last_used.stall();
    world.ask(&to);
    world.tenant.close_all();
    begun.recv_timeout(WAIT).expect("it is being closed");
    drop(barrier);
    assert!(matches!(got(&from), Err(RequestError::Draining)));
    drop(release);
    world.settled();
    assert_eq!((world.census.most(), world.census.alive()), (1, 0));
}

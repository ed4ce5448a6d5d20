//! Listeners, and the worker they share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};

use super::fakes::{good, Call, Fate};
use super::world::{wait_for, world, World, WAIT};
use crate::backend::listen::Notification;
use crate::clock;
use crate::error::Error;
use crate::pool::listen::{Listening, Mailbox, PAUSE_MIN};
use crate::pool::tenant::Tenant;

/// What a listener is told.
struct Letters(Sender<&'static str>);

impl Mailbox for Letters {
    fn started(&self) {
        let _ = self.0.send("started");
    }
    fn gap(&self, _: Instant) {
        let _ = self.0.send("gap");
    }
    fn notification(&self, _: &Notification) -> bool {
        true
    }
    fn fail(&self, _: Error) {
        let _ = self.0.send("failed");
    }
}

fn listen(world: &World) -> (Listening, Receiver<&'static str>) {
    let (to, from) = unbounded();
    let channels = BTreeSet::from(["a".to_owned()]);
    let listening = world.tenant.listen(channels, Arc::new(Letters(to)), WAIT);
    (listening.expect("taken up"), from)
}

#[track_caller]
fn told(world: &World, letters: &Receiver<&'static str>) -> &'static str {
    wait_for(|| {
        // The pauses before a session is asked for again; not the time of who waits,
        // nor the limit of what a backend does.
        world.context.tools.alarms.run_due(clock::now() + 3 * PAUSE_MIN, 100);
        !letters.is_empty()
    });
    letters.recv().expect("a letter")
}

#[test]
fn a_listening_worker_that_panics_or_loses_its_session_is_replaced() {
    for fate in [Fate::Panics, Fate::Breaks] {
        let (order, orders) = bounded::<Fate>(0);
        let script = move |call| match call {
            Call::Hear => orders.recv().unwrap_or(Fate::Good),
            _ => Fate::Good,
        };
        let world = world(1, Arc::new(script));
        let (listening, letters) = listen(&world);
        assert_eq!(told(&world, &letters), "started");
        for _ in 0..3 {
            order.send(fate).expect("it listens");
            assert_eq!(told(&world, &letters), "gap");
        }
        assert_eq!((world.census.most(), world.census.opened()), (1, 4));
        // The last to go ends it, and what it held comes back.
        drop(listening);
        drop(order);
        world.settled();
        assert!(letters.is_empty());
    }
}

#[test]
fn a_session_that_comes_when_all_have_left_goes_back() {
    let world = world(1, good());
    let held = world.session();
    drop(listen(&world));
    let (listening, letters) = listen(&world);
    drop(listen(&world));
    assert_eq!(world.tenant.figures().waiting, 1);
    Tenant::settle(held);
    assert_eq!(told(&world, &letters), "started");
    assert_eq!(world.tenant.figures().waiting, 0);
    drop(listening);
    world.settled();
    assert_eq!(world.census.alive(), 1);
}

#[test]
fn thousands_come_and_go_and_nothing_is_left_of_them() {
    let world = world(2, good());
    let gone = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                for round in 0..1000 {
                    let (listening, letters) = listen(&world);
                    if round % 2 == 0 {
                        assert_eq!(letters.recv_timeout(WAIT), Ok("started"));
                    }
                    drop(listening);
                    gone.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(gone.load(Ordering::SeqCst), 3000);
    world.settled();
    let figures = world.tenant.figures();
    assert_eq!((figures.waiting, figures.used), (0, 0));
    assert!(world.census.most() <= 2);
    assert!(world.context.tools.alarms.next().is_none(), "an alarm is left");
}

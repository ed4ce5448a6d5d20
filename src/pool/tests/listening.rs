//! Listeners, and the worker they share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};

use super::fakes::{good, Call, Fate};
use super::world::{swap, wait_for, world, World, WAIT};
use crate::backend::listen::Notification;
use crate::clock;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::error::{CancelCause, RequestError};
use crate::lock::Leaf;
use crate::pool::checkout::Checkout;
use crate::pool::listen::{Letter, Listening, Mailbox};
use crate::pool::work::task::REQUEST_BYTES;

/// What a listener receives.
struct Letters(Sender<&'static str>);

impl Mailbox for Letters {
    fn started(&self) {
        let _ = self.0.send("started");
    }
    fn gap(&self, _: Instant) {
        let _ = self.0.send("gap");
    }
    fn encoded(&self, _: &Notification) -> Vec<u8> {
        Vec::new()
    }
    fn notification(&self, _: Letter) -> bool {
        true
    }
    fn backlog(&self) -> usize {
        0
    }
    fn waits_since(&self) -> Option<Instant> {
        None
    }
    fn fail(&self, _: RequestError) {
        let _ = self.0.send("failed");
    }
    fn give_up(&self, _: RequestError) {
        let _ = self.0.send("given up");
    }
}

/// A reader that takes nothing, or all at once.
struct Reader {
    takes: bool,
    kept: Leaf<Vec<Letter>>,
    heard: AtomicUsize,
    given_up: AtomicUsize,
}

impl Mailbox for Reader {
    fn started(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
    }
    fn gap(&self, _: Instant) {}
    fn encoded(&self, notification: &Notification) -> Vec<u8> {
        notification.payload.clone().into_bytes()
    }
    fn notification(&self, letter: Letter) -> bool {
        self.heard.fetch_add(1, Ordering::SeqCst);
        if !self.takes && self.given_up.load(Ordering::SeqCst) == 0 {
            self.kept.lock().push(letter);
        }
        true
    }
    fn backlog(&self) -> usize {
        self.kept.lock().iter().map(|letter| letter.bytes().len()).sum()
    }
    fn waits_since(&self) -> Option<Instant> {
        None
    }
    fn fail(&self, _: RequestError) {}
    fn give_up(&self, error: RequestError) {
        assert!(matches!(error, RequestError::Cancelled { by: CancelCause::Stalled, .. }));
        self.given_up.fetch_add(1, Ordering::SeqCst);
        self.kept.lock().clear();
    }
}

#[test]
fn without_memory_those_go_who_are_furthest_behind_and_no_one_else() {
    let mut config = ServerConfig::default();
    config.limits.memory_bytes_per_tenant = 100_000;
    let world = World::new(config, TenantPoolConfig::default(), good());
    let reader = |takes| {
        let (kept, none) = (Leaf::default(), AtomicUsize::default);
        let reader = Arc::new(Reader { takes, kept, heard: none(), given_up: none() });
        let channels = BTreeSet::from(["a".to_owned()]);
        let mailbox = Arc::clone(&reader) as Arc<dyn Mailbox>;
        let listening = world.tenant.hub.listen(channels, mailbox, WAIT).expect("taken up");
        wait_for(|| reader.heard.load(Ordering::SeqCst) == 1);
        (reader, listening)
    };
    let notify = |times: usize| {
        let payload = "x".repeat(1000);
        let notification = Notification { channel: "a".to_owned(), payload, pid: 1 };
        (0..times).for_each(|_| world.tenant.hub.hand_out(&notification));
    };
    let used = || world.tenant.account.memory().used();
    let (slow, first) = reader(false);
    let (quick, second) = reader(true);
    notify(20);
    // One copy, however many share it, and its place.
    assert!((20 * 1000..20 * 1200).contains(&used()), "{}", used());
    let (later, third) = reader(false);
    notify(20);
    let given_up = |reader: &Reader| reader.given_up.load(Ordering::SeqCst);
    assert_eq!((given_up(&slow), given_up(&later)), (0, 0));
    notify(5);
    assert_eq!((given_up(&slow), given_up(&later), given_up(&quick)), (1, 0, 0));
    notify(100);
    assert_eq!((given_up(&later), given_up(&quick)), (1, 0));
    assert_eq!(quick.heard.load(Ordering::SeqCst), 1 + 20 + 20 + 5 + 100);
    // What is left is the request that listens.
    assert_eq!(used(), REQUEST_BYTES);
    drop((first, second, third));
    world.settled();
    wait_for(|| (used(), world.context.memory.total().used()) == (0, 0));
}

fn listen(world: &World) -> (Listening, Receiver<&'static str>) {
    let (to, from) = unbounded();
    let channels = BTreeSet::from(["a".to_owned()]);
    let listening = world.tenant.hub.listen(channels, Arc::new(Letters(to)), WAIT);
    (listening.expect("taken up"), from)
}

#[track_caller]
fn told(world: &World, letters: &Receiver<&'static str>) -> &'static str {
    wait_for(|| {
        // The pauses before a backend is asked for again; not the time of who waits,
        // nor the limit of what a backend does.
        world
            .context
            .tools
            .alarms
            .run_due(clock::now() + 3 * world.context.config.limits.listening.pause, 100);
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
    let held = world.checkout();
    drop(listen(&world));
    let (listening, letters) = listen(&world);
    drop(listen(&world));
    assert_eq!(world.tenant.figures().waiting, 1);
    Checkout::settle(held);
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

#[test]
fn listeners_go_on_with_another_backend_when_theirs_is_replaced() {
    let world = world(2, good());
    let (to, from) = unbounded();
    let channels = BTreeSet::from(["c".to_owned()]);
    let listening =
        world.tenant.hub.listen(channels, Arc::new(Letters(to)), WAIT).expect("taken up");
    assert_eq!(from.recv_timeout(WAIT), Ok("started"));
    swap(&world.tenant);
    assert_eq!(from.recv_timeout(WAIT), Ok("gap"));
    wait_for(|| world.census.alive() == 1);
    drop(listening);
    world.settled();
}

//! A database that is away, and comes back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded, Receiver, RecvTimeoutError};

use super::fakes::{Call, Fate, Script};
use super::world::{got, wait_for, World, WAIT};
use crate::clock;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::breaker::BreakerPhase;
use crate::core::gate::{Asks, GateEntry};
use crate::error::{ConnectError, RequestError};
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::job::Job;

type Answers = Receiver<Result<Checkout, RequestError>>;

/// Connects are refused while the flag is set.
fn switched() -> (Arc<AtomicBool>, Script) {
    let away = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&away);
    let script = move |call| match call {
        Call::Connect if switch.load(Ordering::SeqCst) => Fate::Refused,
        _ => Fate::Good,
    };
    (away, Arc::new(script))
}

/// A world whose tenant has opened and closed its first backend.
fn known(max: usize, script: Script) -> World {
    // Nothing is opened but for callers and by probes.
    let settings = TenantPoolConfig {
        max_connections: max,
        min_connections: 0,
        health_interval: Duration::ZERO,
        ping_interval: Duration::ZERO,
        ..TenantPoolConfig::default()
    };
    let world = World::new(ServerConfig::default(), settings, script);
    drop(world.checkout());
    world.settled();
    world
}

fn asked(world: &World, count: usize) -> Answers {
    let (to, from) = unbounded();
    (0..count).for_each(|_| world.ask(&to));
    from
}

/// Longer than each pause between two tries, and shorter than what a connect may take.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the pauses between tries until something is answered.
#[track_caller]
fn answered(world: &World, answers: &Answers) -> Result<Checkout, RequestError> {
    wait_for(|| {
        world.context.tools.alarms.run_due(clock::now() + PAUSE, 100);
        !answers.is_empty()
    });
    got(answers)
}

#[track_caller]
fn is_open(answer: Result<Checkout, RequestError>) {
    match answer {
        Err(RequestError::BreakerOpen { cause: ConnectError::Unreachable { why, .. }, .. }) => {
            assert_eq!(why, "refused");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("served"),
    }
}

/// Makes the breaker open by callers who come one after the other.
fn open_breaker(world: &World) {
    while world.tenant.backends().breaker_phase() == BreakerPhase::Closed {
        assert!(answered(world, &asked(world, 1)).is_err());
    }
    world.settled();
}

#[test]
fn a_refused_connect_is_tried_again_and_no_thread_sleeps_for_it() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let script = move |call| match call {
        // The second to the fourth.
        Call::Connect if (1..4).contains(&count.fetch_add(1, Ordering::SeqCst)) => Fate::Refused,
        _ => Fate::Good,
    };
    let world = known(1, Arc::new(script));
    let answers = asked(&world, 1);
    for pauses in 1..=3 {
        wait_for(|| world.tenant.account.numbers.suspended.load(Ordering::SeqCst) == 1);
        assert_eq!((tries.load(Ordering::SeqCst), world.tenant.figures().used), (pauses + 1, 1));
        assert_eq!(world.tenant.figures().opening, 0);
        // It is suspended a moment before its alarm is set.
        wait_for(|| world.context.tools.alarms.run_due(clock::now() + PAUSE, 1) == 1);
    }
    assert!(got(&answers).is_ok());
    assert_eq!(tries.load(Ordering::SeqCst), 5);
}

#[test]
fn after_three_further_tries_the_caller_hears_why() {
    let (away, script) = switched();
    let world = known(1, script);
    away.store(true, Ordering::SeqCst);
    let error = answered(&world, &asked(&world, 1)).err();
    assert!(matches!(error, Some(RequestError::Connect { .. })), "{error:?}");
    world.settled();
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Closed);
    // The fifth failure opens it; nobody is made to wait for a pause then.
    let answers = asked(&world, 1);
    assert!(matches!(got(&answers), Err(RequestError::Connect { .. })));
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Open);
    is_open(got(&asked(&world, 1)));
}

#[test]
fn no_try_is_made_for_a_caller_whose_time_is_over_or_who_has_left() {
    let (away, script) = switched();
    let world = known(2, script);
    away.store(true, Ordering::SeqCst);
    let (to, from) = unbounded();
    let job = Job::new(&Caller::nobody(), move |checkout| {
        let _ = to.send(checkout);
    });
    assert!(world.tenant.admit(job, Duration::ZERO).is_ok());
    assert!(matches!(got(&from), Err(RequestError::Connect { .. })));

    world.settled();
    let (dropped, heard) = bounded::<()>(0);
    let caller = Caller::nobody();
    let job = Job::new(&caller, move |_| drop(dropped));
    assert!(world.tenant.admit(job, WAIT).is_ok());
    wait_for(|| world.tenant.account.numbers.suspended.load(Ordering::SeqCst) == 1);
    caller.leave();
    wait_for(|| world.context.tools.alarms.run_due(clock::now() + PAUSE, 1) == 1);
    assert_eq!(heard.recv_timeout(WAIT), Err(RecvTimeoutError::Disconnected));
    world.settled();
    assert_eq!(world.tenant.account.numbers.suspended.load(Ordering::SeqCst), 0);
}

#[test]
fn one_who_is_in_a_hurry_does_not_speak_for_those_who_have_time() {
    let (go, wait) = bounded::<()>(0);
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let script = move |call| match call {
        Call::Connect if count.fetch_add(1, Ordering::SeqCst) == 0 => {
            let _ = wait.recv_timeout(WAIT);
            Fate::Refused
        }
        _ => Fate::Good,
    };
    let world = World::new(ServerConfig::default(), TenantPoolConfig::default(), Arc::new(script));
    let (to, hurried) = unbounded();
    let job = Job::new(&Caller::nobody(), move |checkout| {
        let _ = to.send(checkout);
    });
    assert!(world.tenant.admit(job, Duration::ZERO).is_ok());
    wait_for(|| tries.load(Ordering::SeqCst) == 1);
    let patient = asked(&world, 3);
    drop(go);
    assert!(matches!(got(&hurried), Err(RequestError::Connect { .. })));
    let served: Vec<_> = (0..3).map(|_| got(&patient).expect("the next one opens it")).collect();
    served.into_iter().for_each(Checkout::settle);
    world.settled();
}

#[test]
fn a_queue_of_those_in_a_hurry_comes_to_an_end() {
    let (go, wait) = bounded::<()>(0);
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let script = move |call| {
        if call == Call::Connect {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = wait.recv_timeout(WAIT);
        }
        Fate::Late
    };
    let world = World::new(ServerConfig::default(), TenantPoolConfig::default(), Arc::new(script));
    let (to, answers) = unbounded();
    let first = to.clone();
    let job = Job::new(&Caller::nobody(), move |checkout| {
        let _ = first.send(checkout);
    });
    assert!(world.tenant.admit(job, Duration::ZERO).is_ok());
    wait_for(|| tries.load(Ordering::SeqCst) == 1);
    for _ in 0..20 {
        let to = to.clone();
        // In the queue it has time, but none to try again.
        let mut job = Job::new(&Caller::nobody(), move |checkout| {
            let _ = to.send(checkout);
        });
        job.until = clock::now();
        let entry =
            world.tenant.gate().admit(job, Asks::PATIENT, clock::now() + WAIT, clock::now());
        assert!(matches!(entry, GateEntry::Queued { .. }));
    }
    drop(go);
    (0..21).for_each(|_| assert!(got(&answers).is_err()));
    world.settled();
    // As many as one with time would have made.
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Closed);
}

#[test]
fn every_waiter_fails_when_the_breaker_opens_and_no_retry_is_left_over() {
    let (away, script) = switched();
    let world = known(1, script);
    away.store(true, Ordering::SeqCst);
    let answers = asked(&world, 50);
    // The first try of the second caller is the fifth failure. The permit of the first is free
    // before its answer is there, so the answers come in any order.
    let first = answered(&world, &answers);
    let all: Vec<_> = std::iter::once(first).chain((1..50).map(|_| got(&answers))).collect();
    let count = |kind: fn(&RequestError) -> bool| {
        all.iter().filter(|answer| answer.as_ref().err().is_some_and(kind)).count()
    };
    let connects = count(|error| matches!(error, RequestError::Connect { .. }));
    let refusals = count(|error| matches!(error, RequestError::BreakerOpen { .. }));
    assert_eq!((connects, refusals), (2, 48));
    world.settled();
    assert_eq!(world.tenant.figures().waiting, 0);
}

#[test]
fn who_waits_for_a_lease_that_may_come_back_goes_on_waiting_while_the_breaker_is_open() {
    let (away, script) = switched();
    let world = known(2, script);
    let held = world.checkout();
    away.store(true, Ordering::SeqCst);
    let (other, answers) = (asked(&world, 1), asked(&world, 1));
    assert!(answered(&world, &other).is_err());
    // The second one's first failure opens the breaker.
    assert!(answered(&world, &answers).is_err());
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Open);
    // An idle backend is leased all the same.
    Checkout::settle(held);
    world.settled();
    let idle = got(&asked(&world, 1)).expect("the idle one");
    is_open(got(&asked(&world, 1)));
    Checkout::settle(idle);
}

#[test]
fn a_good_probe_closes_the_breaker_and_what_it_opened_serves_the_next() {
    let (away, script) = switched();
    let world = known(1, script);
    away.store(true, Ordering::SeqCst);
    open_breaker(&world);
    let opened = world.census.opened();
    let second = Duration::from_secs(1);
    let due = |after| {
        let before = world.tenant.backends().breaker.next_probe();
        let _ = world.tenant.maintain(clock::now() + after);
        let is_closed = || world.tenant.backends().breaker_phase() == BreakerPhase::Closed;
        wait_for(|| {
            world.tenant.backends().breaker.next_probe().is_some_and(|next| Some(next) > before)
                || is_closed()
        });
        world.settled();
    };
    assert!(world.tenant.maintain(clock::now()) <= world.tenant.backends().breaker.next_probe());
    due(3 * second);
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Open);
    away.store(false, Ordering::SeqCst);
    due(4 * second + second);
    wait_for(|| world.tenant.backends().breaker_phase() == BreakerPhase::Closed);
    world.settled();
    assert_eq!((world.census.opened(), world.census.alive()), (opened + 1, 1));
    assert!(got(&asked(&world, 1)).is_ok());
    assert_eq!(world.census.opened(), opened + 1);
}

#[test]
fn a_panic_in_a_probe_or_a_connect_leaves_no_ticket_behind_and_counts_as_neither() {
    let fate = Arc::new(crate::lock::Leaf::new(Fate::Good));
    let now = Arc::clone(&fate);
    let set = |to| *fate.lock() = to;
    let script = move |call| match call {
        Call::Connect => *now.lock(),
        _ => Fate::Good,
    };
    let world = known(1, Arc::new(script));
    set(Fate::Panics);
    for _ in 0..20 {
        let (dropped, heard) = bounded::<()>(0);
        let job = Job::new(&Caller::nobody(), move |_| drop(dropped));
        assert!(world.tenant.admit(job, WAIT).is_ok());
        assert!(heard.recv_timeout(WAIT).is_err());
        world.settled();
    }
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Closed);
    set(Fate::Refused);
    open_breaker(&world);
    set(Fate::Panics);
    let before = world.tenant.backends().breaker.next_probe();
    let _ = world.tenant.maintain(clock::now() + Duration::from_secs(5));
    // A worker makes the probe, and its ticket is back once the next probe has a time.
    wait_for(|| {
        world.tenant.backends().breaker.next_probe().is_some_and(|next| Some(next) > before)
    });
    world.settled();
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Open);
    set(Fate::Good);
    wait_for(|| {
        let _ = world.tenant.maintain(clock::now() + Duration::from_secs(10));
        world.tenant.backends().breaker_phase() == BreakerPhase::Closed
    });
    world.settled();
    assert_eq!(world.census.most(), 1);
}

#[test]
fn what_no_waiting_changes_is_told_at_once_and_never_opens_the_breaker() {
    let refuse = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&refuse);
    let script = move |call| match call {
        Call::Connect if switch.load(Ordering::SeqCst) => Fate::Fails,
        _ => Fate::Good,
    };
    let world = known(2, Arc::new(script));
    refuse.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        let error = got(&asked(&world, 1)).err();
        assert!(
            matches!(error, Some(RequestError::Connect { cause: ConnectError::Settings(_), .. })),
            "{error:?}"
        );
    }
    assert_eq!(world.tenant.backends().breaker_phase(), BreakerPhase::Closed);
}

#[test]
fn a_backend_that_comes_back_serves_who_waits_for_another_to_be_opened() {
    let (hold, held) = bounded::<()>(0);
    let (begun, begins) = unbounded();
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    let script = move |call| {
        if call == Call::Connect && is_slow.load(Ordering::SeqCst) {
            let _ = begun.send(());
            let _ = held.recv_timeout(WAIT);
        }
        Fate::Good
    };
    let world = known(2, Arc::new(script));
    let first = world.checkout();
    slow.store(true, Ordering::SeqCst);
    let answers = asked(&world, 1);
    begins.recv_timeout(WAIT).expect("it connects");
    Checkout::settle(first);
    let served = got(&answers).expect("served with the one that came back");
    // The other is still being opened, so its permit is still out.
    assert_eq!((world.tenant.figures().used, world.tenant.figures().opening), (2, 1));
    drop(hold);
    wait_for(|| world.tenant.figures().used == 1);
    assert_eq!((world.tenant.figures().idle, world.census.alive()), (1, 2));
    assert!(world.census.most() <= 2);
    Checkout::settle(served);
    world.settled();
}

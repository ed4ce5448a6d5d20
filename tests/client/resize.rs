//! Pools that grow and shrink while they are used.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use connection_pool_manager::client::{ConnectionManager, Event, PoolError, Ready, ServiceConfig};

use crate::echo::{say, Echo};
use crate::proxy::Proxy;
use crate::{eventually, ready, settings, PATIENCE};

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn no_call_fails_while_a_pool_is_resized() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 2));
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let connection = pool.get_within(PATIENCE).unwrap();
                    assert_eq!(say(&connection, "on").unwrap(), "on");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for size in [20, 5, 1, 10, 3, 10] {
            pool.resize(size).unwrap();
            let before = calls.load(Ordering::Relaxed);
            eventually("it has this size, and calls go on", || {
                pool.metrics().connected == size && calls.load(Ordering::Relaxed) > before + 50
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(pool.status().connections.len(), 10);
}

#[test]
fn a_pool_keeps_one_connection_and_one_for_each_address() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 2));
    assert!(matches!(pool.resize(0), Err(PoolError::WouldEmptyPool { .. })));
    assert!(matches!(pool.resize(1001), Err(PoolError::Config(_))));
    let held = [pool.get().unwrap(), pool.get().unwrap()];
    pool.resize(1).unwrap();
    assert_eq!(pool.status().connections.len(), 2, "what is lent is not closed");
    assert_eq!(say(&held[1], "still").unwrap(), "still");
    drop(held);
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert_eq!(pool.status().connections.len(), 1);
}

#[test]
fn a_pool_grows_shrinks_and_connects_anew_while_it_is_lent() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&settings(proxy.port, 2));
    pool.scale_up(3).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    pool.scale_down(2).unwrap();
    assert_eq!((pool.metrics().size, proxy.taken()), (3, 5));
    assert!(matches!(pool.scale_down(3), Err(PoolError::WouldEmptyPool { .. })));
    let held = pool.get().unwrap();
    for round in 1..=2 {
        pool.reconnect();
        eventually("there are new ones", || proxy.taken() >= 5 + 3 * round);
        pool.await_ready(Ready::All, PATIENCE).unwrap();
        assert_eq!(say(&held, "still").unwrap(), "still");
    }
    drop(held);
    eventually("the old ones are gone", || pool.status().connections.len() == 3);
    assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
}

/// Settings of a pool of at least so many connections.
fn elastic(port: u16, min_size: usize, size: usize) -> ServiceConfig {
    let mut config = settings(port, size);
    config.pool.min_size = Some(min_size);
    config.pool.idle_timeout = Duration::from_millis(100);
    config
}

#[test]
fn an_elastic_pool_grows_for_those_who_wait_and_shrinks_when_it_is_not_needed() {
    let echo = Echo::start();
    let pool = ready(&elastic(echo.port, 2, 5));
    assert_eq!((pool.metrics().wanted, pool.metrics().size), (2, 5));
    assert_eq!(pool.health().level, "healthy");
    for _ in 0..2 {
        let held: Vec<_> = (0..5).map(|_| pool.get_within(PATIENCE).unwrap()).collect();
        assert_eq!((pool.metrics().wanted, pool.metrics().connected), (5, 5));
        assert!(pool.get_within(Duration::from_millis(1)).is_err(), "it is the most");
        drop(held);
        eventually("it has shrunk", || pool.status().connections.len() == 2);
        assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
    }
    let held: Vec<_> = (0..3).map(|_| pool.get_within(PATIENCE).unwrap()).collect();
    pool.resize(1).unwrap();
    assert_eq!((pool.metrics().wanted, pool.metrics().size), (1, 1));
    drop(held);
    eventually("one is left", || pool.status().connections.len() == 1);
    pool.scale_up(3).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert_eq!((pool.metrics().connected, pool.metrics().size), (2, 4));
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn no_call_fails_while_an_elastic_pool_breathes() {
    let echo = Echo::start();
    let pool = ready(&elastic(echo.port, 1, 6));
    let calls = AtomicUsize::new(0);
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let connection = pool.get_within(PATIENCE).unwrap();
                        assert_eq!(say(&connection, "on").unwrap(), "on");
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        eventually("it has shrunk", || pool.status().connections.len() == 1);
    }
    assert_eq!(calls.into_inner(), 900);
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn two_who_change_the_size_do_not_undo_each_other() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let hears = Arc::clone(&told);
    manager.on_event(move |event: &Event| {
        hears.fetch_add(usize::from(matches!(event, Event::Resized { .. })), Ordering::Relaxed);
    });
    let pool = manager.add("echo", &settings(echo.port, 10)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| pool.scale_up(1).unwrap()));
            scope.spawn(|| (0..50).for_each(|_| while pool.scale_down(1).is_err() {}));
        }
    });
    assert_eq!((pool.metrics().size, told.load(Ordering::Relaxed)), (10, 400));
    pool.resize(10).unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 400, "it has this size");
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert_eq!(pool.status().connections.len(), 10);
}

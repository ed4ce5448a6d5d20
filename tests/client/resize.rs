//! Pools that grow and shrink while they are used.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use connection_pool_manager::client::{PoolError, Ready};

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

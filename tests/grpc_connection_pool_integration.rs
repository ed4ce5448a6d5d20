//! A pool of connections to services that know nothing of it: one in Rust, on grpcio, and one in
//! Python, a process of its own that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.
#![allow(clippy::disallowed_methods)] // A test's own threads, all joined, and its limit.
#![allow(dead_code)] // The service and the proxy can do more.

#[path = "client/echo.rs"]
mod echo;
#[path = "harness/proxy.rs"]
mod proxy;
#[path = "grpc_connection_pool_integration/python.rs"]
mod python;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use connection_pool_manager::client::{
    raw, CallOptions, Code, ConnectionManager, Error, Pool, PoolError, Ready, ServiceConfig,
};

use echo::{say, Echo, SAY};
use python::Python;

/// A test that has waited for so long has failed. Never a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    // Nobody sends on it: a pause that says only how often to look.
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
}

fn settings(port: u16, size: usize) -> ServiceConfig {
    let mut config = ServiceConfig::test("127.0.0.1", port);
    config.pool.size = size;
    config.connection.reconnect_backoff_min = Duration::from_millis(20);
    config.connection.max_reconnect_delay = Duration::from_millis(100);
    config
}

fn open(config: &ServiceConfig) -> Pool {
    let pool = Pool::open("echo", config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    pool
}

fn idempotent() -> CallOptions {
    CallOptions::new().idempotent().wait_for_ready().timeout(PATIENCE)
}

#[test]
fn a_pool_opens_lends_counts_checks_and_shuts_down() {
    let echo = Echo::start();
    let pool = open(&settings(echo.port, 3));
    let metrics = pool.metrics();
    assert_eq!((metrics.size, metrics.connected, metrics.lent), (3, 3, 0));
    let one = pool.get().unwrap();
    assert_eq!((say(&one, "hello").unwrap(), pool.metrics().lent), ("hello".into(), 1));
    drop(one);
    assert_eq!((pool.metrics().lent, pool.metrics().checkouts), (0, 1));
    // It has no health service; that it answers at all proves its life.
    assert!(pool.force_health_check().unwrap().healthy && pool.health().healthy);
    assert_eq!(pool.health().state, "Connected");
    assert!(pool.shutdown(PATIENCE));
    assert!(matches!(pool.get(), Err(PoolError::Closed { .. })));
}

#[test]
fn a_pool_that_cannot_be_opened_says_why_in_time() {
    let mut config = settings(echo::free_port(), 2);
    config.pool.open_timeout = Duration::from_millis(100);
    let error = Pool::open("echo", &config).unwrap_err().to_string();
    assert!(error.starts_with("failed to create connection for echo: "), "{error}");
    config.pool.size = 0;
    assert!(matches!(Pool::open("echo", &config), Err(PoolError::Config(_))));
}

#[test]
fn as_many_are_lent_as_there_are_and_who_waits_is_next_or_told_in_time() {
    let echo = Echo::start();
    let pool = open(&settings(echo.port, 2));
    let held = [pool.get().unwrap(), pool.get().unwrap()];
    assert!(pool.try_get().is_none());
    let late = pool.get_within(Duration::from_millis(10));
    assert!(matches!(late, Err(PoolError::CheckoutTimeout { .. })));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.get_within(PATIENCE).map(drop));
        eventually("it waits", || pool.metrics().waiting == 1);
        drop(held);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(pool.metrics().lent, 0);
}

#[test]
fn many_threads_share_few_connections() {
    let echo = Echo::start();
    let proxy = proxy::Proxy::to(echo.port);
    let pool = open(&settings(proxy.port, 5));
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let pool = &pool;
            scope.spawn(move || {
                for call in 0..50 {
                    let text = format!("{thread}/{call}").into_bytes();
                    assert_eq!(pool.call(&SAY, &text, &CallOptions::new()).unwrap(), text);
                }
            });
        }
    });
    assert_eq!((echo.calls(), proxy.taken(), pool.metrics().connects), (800, 5, 5));
}

#[test]
fn a_service_in_python_is_called_in_all_four_ways() {
    let mut python = Python::start(0);
    let manager = ConnectionManager::new().unwrap();
    let address = format!("127.0.0.1:{}", python.port);
    let connection = manager.get_connection("python", &address).unwrap();
    assert_eq!(say(&connection, "hello").unwrap(), "hello");
    drop(connection);
    let pool = manager.pool("python").unwrap();
    let options = CallOptions::new().timeout(PATIENCE);
    let failed = pool.call(&SAY, &b"fail".to_vec(), &options.clone().idempotent()).unwrap_err();
    let Error::Rpc(failed) = failed else { panic!("{failed}") };
    assert_eq!((failed.code, &*failed.message), (Code::InvalidArgument, "as asked"));
    assert_eq!(pool.call(&SAY, &b"calls".to_vec(), &options).unwrap(), b"3", "it failed once");
    let unknown = pool.call(&raw("/test.Echo/Unknown"), &Vec::new(), &options).unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    let letters = pool.stream(&echo::LETTERS, &b"abc".to_vec(), &options).unwrap();
    assert_eq!(letters.map(Result::unwrap).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    let mut upload = pool.upload(&echo::JOIN, &options).unwrap();
    assert!(upload.send(b"ab".to_vec()) && upload.send(b"c".to_vec()));
    assert_eq!(upload.finish().unwrap(), b"abc");
    let mut talk = pool.duplex(&echo::TALK, &options).unwrap();
    for word in ["one", "two"] {
        assert!(talk.send(word.into()));
        assert_eq!(talk.next().unwrap().unwrap(), word.as_bytes());
    }
    talk.finish_sending();
    assert!(talk.next().is_none());
    let health = manager.force_health_check();
    assert!(health["python"].healthy, "a server without a health service is alive");
    python.kill();
}

#[test]
fn no_idempotent_call_fails_while_the_service_is_killed_under_threads() {
    const KILLS: usize = 4;
    let mut python = Python::start(0);
    let port = python.port;
    let mut config = settings(port, 4);
    config.breaker = None;
    let retry = config.retry.as_mut().unwrap();
    retry.max_attempts = 10;
    retry.initial_backoff = Duration::from_millis(5);
    retry.max_backoff = Duration::from_millis(200);
    let pool = open(&config);
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let said = pool.call(&SAY, &b"hello".to_vec(), &idempotent());
                    if said.as_ref().ok() != Some(&b"hello".to_vec()) {
                        stop.store(true, Ordering::Relaxed);
                    }
                    assert_eq!(said.unwrap(), b"hello");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..KILLS {
            let before = calls.load(Ordering::Relaxed);
            let go_on = || calls.load(Ordering::Relaxed) > before + 50;
            eventually("calls go on", || go_on() || stop.load(Ordering::Relaxed));
            python.kill();
            eventually("it is known", || pool.metrics().connected == 0);
            python = Python::start(port);
        }
        pool.await_ready(Ready::All, PATIENCE).unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(pool.metrics().lent, 0);
}

#[test]
fn a_service_that_is_frozen_is_found_by_keepalive_and_used_again_when_it_goes_on() {
    let python = Python::start(0);
    let mut config = settings(python.port, 2);
    config.connection.keepalive_time = Some(Duration::from_millis(300));
    config.connection.keepalive_timeout = Duration::from_millis(500);
    config.connection.connect_timeout = Duration::from_millis(500);
    let pool = open(&config);
    let call = || pool.call(&SAY, &b"hello".to_vec(), &CallOptions::new().timeout(PATIENCE));
    assert_eq!(call().unwrap(), b"hello");
    python.freeze();
    // Long before its deadline: by keepalive on a connection that stood, or at once if it is
    // known already.
    assert_eq!(call().unwrap_err().code(), Code::Unavailable);
    // The system still takes connections for it, and nobody answers on them.
    eventually("all are known as dead, and none is dialled in vain for long", || {
        matches!(pool.get(), Err(PoolError::NotConnected { .. }))
    });
    python.thaw();
    eventually("it is used again", || call().is_ok());
    pool.await_ready(Ready::All, PATIENCE).unwrap();
}

#[test]
fn no_call_fails_while_the_pool_is_resized_and_what_is_lent_stays() {
    let echo = Echo::start();
    let pool = open(&settings(echo.port, 2));
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let options = CallOptions::new().timeout(PATIENCE).checkout_timeout(PATIENCE);
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(pool.call(&SAY, &b"on".to_vec(), &options).unwrap(), b"on");
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
    assert_eq!(pool.metrics().lent, 0);
}

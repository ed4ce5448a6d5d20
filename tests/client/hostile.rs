//! Servers that mean harm, and functions of the program that fail.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use connection_pool_manager::client::interceptor::bearer;
use connection_pool_manager::client::{
    CallOptions, Code, Compression, ConnectionManager, Credentials, Hedge, PoolError, Ready,
    RetryConfig, TlsMode,
};
use grpcio::{CompressionAlgorithms, RpcStatusCode};

use crate::calls::{call, failed, quick};
use crate::echo::{Echo, Step, SAY};
use crate::proxy::Proxy;
use crate::rogue::Rogue;
use crate::{eventually, ready, settings, PATIENCE};

/// Takes HTTP/2 connections, and ends each before a call can be made on it.
struct Slammer {
    port: u16,
    taken: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slammer {
    fn start() -> Slammer {
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ends) = (Arc::clone(&taken), Arc::clone(&over));
        #[allow(clippy::disallowed_methods)] // A test's own thread, joined.
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(&[&SETTINGS[..], &GOAWAY[..]].concat());
            }
        });
        Slammer { port, taken, over, thread: Some(thread) }
    }
}

impl Drop for Slammer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn a_server_that_ends_each_connection_at_once_is_dialled_with_pauses() {
    let slammer = Slammer::start();
    let mut config = settings(slammer.port, 4);
    config.connection.reconnect_backoff_min = Duration::from_secs(3600);
    config.connection.max_reconnect_delay = Duration::from_secs(3600);
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("slammed", &config).unwrap();
    eventually("it is known to be down", || match pool.get_within(Duration::ZERO) {
        Err(PoolError::NotConnected { last_error, .. }) => {
            assert!(last_error.contains("closed by the server"), "{last_error}");
            true
        }
        _ => false,
    });
    let taken = slammer.taken.load(Ordering::SeqCst);
    assert!(taken <= 100, "each of four is connected again some times, and not thousands: {taken}");
    assert!(pool.metrics().connect_failures > 0);
}

#[test]
fn a_server_that_asks_to_come_again_in_ages_ends_the_call() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    // A day is too long for a call without a deadline, too.
    for (timeout, seconds) in [(Some(PATIENCE), i64::MAX), (None, i64::MAX), (None, 86_400)] {
        config.call.timeout = timeout;
        let pool = ready(&config);
        echo.script(&[Step::After(seconds)]);
        let error = failed(call(&pool, &CallOptions::new().idempotent()));
        assert_eq!((error.code, error.attempts), (Code::Aborted, 1));
        assert!(error.retry_after().is_some());
    }
}

#[test]
fn times_without_an_end_are_no_error() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &quick(echo.port, 1)).unwrap();
    pool.await_ready(Ready::All, Duration::MAX).unwrap();
    manager.await_ready(Duration::MAX).unwrap();
    // The longest and the shortest that rules may have.
    let longest = Duration::from_secs(7 * 24 * 3600);
    for delay in [longest, Duration::from_nanos(1)] {
        let hedge = Hedge { max_attempts: 2, delay };
        let options = CallOptions::new().idempotent().hedge(hedge).timeout(Duration::MAX);
        assert_eq!(call(&pool, &options).unwrap(), b"hello");
    }
    let (initial_backoff, max_backoff) = (longest, longest);
    let retry = RetryConfig { initial_backoff, max_backoff, ..RetryConfig::default() };
    echo.script(&[Step::Fail(RpcStatusCode::UNAVAILABLE)]);
    let options = CallOptions::new().idempotent().retry(retry);
    assert_eq!(failed(call(&pool, &options)).attempts, 1, "the pause does not fit the deadline");
    assert!(pool.shutdown(Duration::MAX) && manager.shutdown(Duration::MAX));
}

#[test]
fn a_server_may_send_compressed_answers_only_if_that_was_asked_for() {
    let gzip = CompressionAlgorithms::GRPC_COMPRESS_GZIP;
    let echo = Echo::with(|arguments| arguments.default_compression_algorithm(gzip));
    let proxy = Proxy::to(echo.port);
    let zeros = vec![0; 1 << 20];
    let mut config = quick(proxy.port, 1);
    config.connection.max_message_bytes = 2 << 20;
    let error = ready(&config).call(&SAY, &zeros, &CallOptions::new()).unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
    config.connection.compression = Compression::Gzip;
    assert_eq!(ready(&config).call(&SAY, &zeros, &CallOptions::new()).unwrap(), zeros);
}

#[test]
fn a_server_that_takes_no_token_does_not_double_the_calls() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    let asked = Arc::new(AtomicUsize::new(0));
    let own = Arc::clone(&asked);
    config.interceptors.push(bearer(move || format!("t{}", own.fetch_add(1, Ordering::SeqCst))));
    let budget = &mut config.retry.as_mut().unwrap().budget;
    (budget.per_call, budget.per_second, budget.most) = (0.0, 0.0, 2.0);
    let pool = ready(&config);
    echo.script(&[Step::Fail(RpcStatusCode::UNAUTHENTICATED); 12]);
    for _ in 0..10 {
        assert_eq!(failed(call(&pool, &CallOptions::new())).code, Code::Unauthenticated);
    }
    assert_eq!(echo.calls(), 12, "two repeats in all");
}

#[test]
fn credentials_that_cannot_be_made_are_an_error_of_their_service_alone() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let mut config = settings(echo.port, 1);
    config.tls.mode = TlsMode::On;
    config.tls.credentials = Some(Credentials::new(|| panic!("on purpose")));
    let bad = manager.add("bad", &config).unwrap();
    let good = manager.add("good", &settings(echo.port, 1)).unwrap();
    good.await_ready(Ready::All, PATIENCE).unwrap();
    eventually("it is tried again and again", || bad.metrics().connect_failures > 2);
    let error = bad.health().error.unwrap();
    assert!(error.contains("tls.credentials has panicked"), "{error}");
}

#[test]
fn a_pool_that_was_stopped_does_not_connect_for_those_who_still_have_a_connection() {
    let (sender, over) = std::sync::mpsc::channel::<()>();
    let over = std::sync::Mutex::new(over);
    // The first connection stands until the test ends it, all others end at once.
    let rogue = Rogue::start(move |peer| {
        if peer.number == 0 {
            let _ = over.lock().unwrap().recv();
        }
    });
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("rogue", &settings(rogue.port, 1)).unwrap();
    let other = manager.add("echo", &settings(echo.port, 1)).unwrap();
    let held = pool.get_within(PATIENCE).unwrap();
    pool.stop();
    drop(sender);
    // Each of these takes the keeper, which is one for both, to look at all of them.
    for round in 2..12 {
        other.await_ready(Ready::All, PATIENCE).unwrap();
        other.reconnect();
        eventually("it is replaced", || other.metrics().connects >= round);
    }
    assert_eq!(rogue.taken(), 1);
    drop(held);
}

#[test]
fn the_words_of_a_server_do_not_break_the_line_of_an_error() {
    let rogue = Rogue::start(|peer| {
        while let Some(id) = peer.call() {
            if !peer.fail(id, "5", "none%0Aevent=forged %1B[2J") {
                return;
            }
        }
    });
    let error = failed(call(&ready(&quick(rogue.port, 1)), &CallOptions::new().timeout(PATIENCE)));
    assert_eq!((error.code, &*error.message), (Code::NotFound, "none\nevent=forged \x1b[2J"));
    let said = error.to_string();
    assert!(said.contains("NOT_FOUND: none\\nevent=forged \\u{1b}[2J ("), "{said}");
}

#[test]
fn a_watch_that_ends_at_once_is_begun_again_with_pauses_that_grow() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let rogue = Rogue::start(move |peer| {
        while let Some(id) = peer.call() {
            count.fetch_add(1, Ordering::SeqCst);
            if !peer.fail(id, "14", "not now") {
                return;
            }
        }
    });
    let mut config = settings(rogue.port, 1);
    config.health.watch = true;
    config.connection.reconnect_backoff_min = Duration::from_millis(1);
    config.connection.max_reconnect_delay = Duration::from_secs(3600);
    #[allow(clippy::disallowed_methods)] // A lower bound, which no stall shortens.
    let begun = std::time::Instant::now();
    let _pool = ready(&config);
    eventually("it was asked again and again", || asked.load(Ordering::SeqCst) >= 15);
    // Fourteen pauses, each longer than the one before by 1.6, are 1.2 s; equal ones are 14 ms.
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

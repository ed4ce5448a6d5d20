//! Calls that fail, are repeated, and are refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use connection_pool_manager::client::{
    BreakerConfig, CallOptions, Code, Delivery, Error, Pool, RpcError, ServiceConfig,
};
use grpcio::{Client, RpcStatusCode};

use crate::echo::{Echo, Step, JOIN, SAY};
use crate::proxy::Proxy;
use crate::{eventually, ready, settings, PATIENCE};

const DOWN: Step = Step::Fail(RpcStatusCode::UNAVAILABLE);

pub fn quick(port: u16, size: usize) -> ServiceConfig {
    let mut config = settings(port, size);
    let retry = config.retry.as_mut().unwrap();
    retry.initial_backoff = Duration::from_millis(1);
    retry.max_backoff = Duration::from_millis(50);
    config.breaker = None;
    config
}

pub fn call(pool: &Pool, options: &CallOptions) -> Result<Vec<u8>, Error> {
    pool.call(&SAY, &b"hello".to_vec(), options)
}

#[track_caller]
pub fn failed(result: Result<Vec<u8>, Error>) -> RpcError {
    match result {
        Err(Error::Rpc(error)) => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_idempotent_call_is_repeated_until_it_works() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[DOWN, Step::Fail(RpcStatusCode::ABORTED)]);
    assert_eq!(call(&pool, &CallOptions::new().idempotent()).unwrap(), b"hello");
    assert_eq!(echo.calls(), 3);
    echo.script(&[DOWN; 3]);
    let error = failed(call(&pool, &CallOptions::new().idempotent()));
    assert_eq!(
        (error.code, error.attempts, &*error.message),
        (Code::Unavailable, 3, "as scripted")
    );
    assert_eq!((echo.calls(), pool.metrics().lent), (6, 0));
    let said = error.to_string();
    assert!(said.starts_with("/test.Echo/Say of echo failed with UNAVAILABLE"), "{said}");
    assert!(said.ends_with(&format!(", at 127.0.0.1:{})", echo.port)), "{said}");
}

#[test]
fn a_call_that_may_have_been_sent_is_not_repeated_unless_that_does_no_harm() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[DOWN]);
    let error = failed(call(&pool, &CallOptions::new()));
    assert_eq!((error.delivery, error.attempts), (Delivery::Unknown, 1));
    echo.script(&[Step::Fail(RpcStatusCode::INVALID_ARGUMENT)]);
    let error = failed(call(&pool, &CallOptions::new().idempotent()));
    assert_eq!((error.code, error.attempts), (Code::InvalidArgument, 1));
    assert_eq!(echo.calls(), 2);
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own thread, joined.
fn a_call_that_is_cut_in_flight_reaches_the_server_once() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&quick(proxy.port, 1));
    echo.script(&[Step::Hang]);
    let error = std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(&pool, &CallOptions::new().timeout(PATIENCE)));
        eventually("it is at the server", || echo.calls() == 1);
        proxy.cut();
        proxy.forward();
        failed(calling.join().unwrap())
    });
    assert_eq!((error.code, error.delivery), (Code::Unavailable, Delivery::Unknown));
    assert_eq!((error.attempts, echo.calls()), (1, 1));
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own thread, joined.
fn a_call_that_was_never_sent_is_repeated_whatever_it_is() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let mut config = quick(proxy.port, 1);
    config.retry.as_mut().unwrap().max_attempts = 10;
    config.retry.as_mut().unwrap().initial_backoff = Duration::from_millis(500);
    config.retry.as_mut().unwrap().max_backoff = Duration::from_millis(500);
    let pool = ready(&config);
    proxy.cut();
    eventually("nothing is connected", || pool.get().is_err());
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(&pool, &CallOptions::new().timeout(PATIENCE)));
        let failures = pool.metrics().checkout_failures;
        eventually("it has failed", || pool.metrics().checkout_failures > failures);
        proxy.forward();
        assert_eq!(calling.join().unwrap().unwrap(), b"hello");
    });
    assert_eq!(echo.calls(), 1);
}

#[test]
fn a_call_ends_at_its_deadline_and_gives_its_connection_back() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[Step::Hang]);
    let options = CallOptions::new().timeout(Duration::from_millis(50)).idempotent();
    let error = failed(call(&pool, &options));
    assert_eq!((error.code, error.attempts), (Code::DeadlineExceeded, 1));
    assert_eq!(
        (call(&pool, &CallOptions::new()).unwrap(), pool.metrics().lent),
        (b"hello".into(), 0)
    );
    let held = pool.get().unwrap();
    let late = call(&pool, &CallOptions::new().timeout(Duration::from_millis(20)));
    assert!(matches!(late, Err(Error::Pool(_))), "{late:?}");
    drop(held);
}

#[test]
fn a_stub_makes_calls_through_its_asynchronous_form() {
    let echo = Echo::start();
    let pool = ready(&quick(echo.port, 1));
    echo.script(&[DOWN]);
    let options = CallOptions::new().idempotent().metadata(&[("trace", "1")]).unwrap();
    let said = pool.call_with("/test.Echo/Say", &options, |channel, option| {
        Client::new(channel.clone()).unary_call_async(&SAY, &b"stub".to_vec(), option)
    });
    assert_eq!((said.unwrap(), echo.calls()), (b"stub".to_vec(), 2));
    assert!(CallOptions::new().metadata(&[("grpc-timeout", "1")]).is_err());
    let said = CallOptions::new().metadata(&[("Big Key", "1")]).map(drop).unwrap_err();
    assert!(said.to_string().contains("Big Key"), "the key is named: {said}");
}

#[test]
fn a_breaker_opens_refuses_probes_and_closes_by_the_count_of_calls() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    let long = Duration::from_secs(600);
    config.breaker =
        Some(BreakerConfig { failures: 2, successes: 2, timeout: long, ..Default::default() });
    let pool = ready(&config);
    echo.script(&[DOWN; 2]);
    for _ in 0..2 {
        let _ = failed(call(&pool, &CallOptions::new()));
    }
    let error = failed(call(&pool, &CallOptions::new()));
    assert_eq!(
        (error.code, error.attempts, error.delivery),
        (Code::Unavailable, 0, Delivery::NotSent)
    );
    assert!(error.message.starts_with("circuit breaker is open; next probe in "), "{error}");
    assert_eq!(echo.calls(), 2, "the third was not sent");

    let short = Duration::from_nanos(1);
    config.breaker =
        Some(BreakerConfig { failures: 2, successes: 2, timeout: short, ..Default::default() });
    let pool = ready(&config);
    echo.script(&[DOWN, DOWN, DOWN]);
    for sent in 3..=5 {
        let _ = failed(call(&pool, &CallOptions::new()));
        assert_eq!(echo.calls(), sent, "the third one is a probe");
    }
    for _ in 0..3 {
        assert!(call(&pool, &CallOptions::new()).is_ok());
    }
    echo.script(&[DOWN]);
    let _ = failed(call(&pool, &CallOptions::new()));
    assert!(
        call(&pool, &CallOptions::new()).is_ok(),
        "one failure opens no breaker that is closed"
    );
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn a_breaker_lets_one_probe_through_at_a_time() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 2);
    config.breaker = Some(BreakerConfig {
        failures: 1,
        successes: 1,
        timeout: Duration::from_nanos(1),
        ..Default::default()
    });
    let pool = ready(&config);
    echo.script(&[DOWN, Step::Hang]);
    let _ = failed(call(&pool, &CallOptions::new()));
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| call(&pool, &CallOptions::new().timeout(2 * PATIENCE)));
        eventually("the probe is out", || echo.calls() == 2);
        for _ in 0..5 {
            let error = failed(call(&pool, &CallOptions::new()));
            assert!(error.message.starts_with("circuit breaker is open"), "{error}");
        }
        assert_eq!(echo.calls(), 2, "nothing was sent beside the probe");
        eventually("it is answered", || {
            echo.cancelled();
            probe.is_finished()
        });
        assert_eq!(probe.join().unwrap().unwrap(), b"late");
    });
    assert!((0..5).all(|_| call(&pool, &CallOptions::new()).is_ok()), "it has closed");
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn no_idempotent_call_fails_while_connections_are_cut_under_load() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let mut config = quick(proxy.port, 4);
    config.retry.as_mut().unwrap().max_attempts = 10;
    let pool = ready(&config);
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let options = CallOptions::new().idempotent().wait_for_ready().timeout(PATIENCE);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(call(&pool, &options).unwrap(), b"hello");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..8 {
            let before = calls.load(Ordering::Relaxed);
            eventually("calls go on", || calls.load(Ordering::Relaxed) > before + 20);
            proxy.cut();
            proxy.forward();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_message_beyond_the_limit_fails_in_either_direction() {
    let echo = Echo::start();
    let mut config = quick(echo.port, 1);
    config.connection.max_message_bytes = 1000;
    let pool = ready(&config);
    let say = |bytes: usize| pool.call(&SAY, &vec![7; bytes], &CallOptions::new());
    assert_eq!(say(900).unwrap().len(), 900);
    assert_eq!(say(1100).unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(echo.calls(), 1, "it was not sent");
    let mut upload = pool.upload(&JOIN, &CallOptions::new()).unwrap();
    assert!(upload.send(vec![7; 600]) && upload.send(vec![7; 600]));
    assert_eq!(upload.finish().unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(say(900).unwrap().len(), 900);
}

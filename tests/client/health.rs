//! Whether connections work, by probes.

use std::time::Duration;

use connection_pool_manager::client::testing::{Answer, FakeService};
use connection_pool_manager::client::{
    raw, CallOptions, Code, ConnectionManager, Pool, PoolError, ServiceConfig,
};

use crate::proxy::Proxy;
use crate::{eventually, ready, settings, PATIENCE};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const GET: &str = "/shop.Users/Get";

/// The answer of the health service with this status.
fn status(number: u8) -> Answer {
    Answer::Bytes(vec![0x08, number])
}

fn call(pool: &Pool) -> bool {
    pool.call(&raw(GET), &b"7".to_vec(), &CallOptions::new()).is_ok()
}

#[test]
fn a_server_without_a_health_service_is_alive() {
    let fake = FakeService::start(&[GET]).unwrap();
    let pool = ready(&settings(fake.port(), 3));
    let health = pool.force_health_check().unwrap();
    assert_eq!((health.healthy, health.level, health.error), (true, "healthy", None));
    assert_eq!(
        health.message,
        "Connection pool: 3/3 connections active, 0 errors, 0 health check failures"
    );
    let metrics = pool.metrics();
    assert_eq!((metrics.health_checks, metrics.health_check_failures), (3, 0));
    assert!(metrics.last_health_check.is_some());
    assert_eq!((metrics.available, pool.get().map(|_| pool.metrics().available).unwrap()), (3, 2));
}

#[test]
fn whatever_a_server_answers_but_that_it_does_not_serve_is_good() {
    let fake = FakeService::start(&[CHECK]).unwrap();
    let pool = ready(&settings(fake.port(), 1));
    let fail = |code| Answer::Fail { code, message: String::new(), details: Vec::new() };
    for answer in [
        status(0),
        status(1),
        status(3),
        Answer::Bytes(b"\xff\xff".to_vec()),
        fail(Code::Unauthenticated),
        fail(Code::NotFound),
        fail(Code::Internal),
    ] {
        fake.next(CHECK, answer.clone());
        assert!(pool.force_health_check().unwrap().healthy, "{answer:?}");
    }
    assert_eq!(pool.metrics().health_check_failures, 0);
}

#[test]
fn a_server_that_does_not_serve_is_not_used_until_it_does() {
    let fake = FakeService::start(&[CHECK, GET]).unwrap();
    let manager = ConnectionManager::new().unwrap();
    let mut config = settings(fake.port(), 2);
    config.health.service = "shop.Users".to_owned();
    let pool = manager.add("users", &config).unwrap();
    pool.await_ready(connection_pool_manager::client::Ready::All, PATIENCE).unwrap();
    fake.always(CHECK, status(2));
    let health = manager.force_health_check().remove("users").unwrap();
    assert_eq!((health.healthy, health.state, health.level), (false, "NotConnected", "unhealthy"));
    assert_eq!(health.error.as_deref(), Some("the server says that it does not serve"));
    assert!(matches!(pool.get(), Err(PoolError::NotConnected { .. })));
    assert!(pool.status().connections.iter().all(|one| one.state == "sick"));
    assert!(fake.received().iter().all(|one| one.message == b"\x0a\x0ashop.Users"));

    fake.always(CHECK, status(1));
    assert!(!pool.force_health_check().unwrap().healthy, "one good answer is not enough");
    let health = pool.force_health_check().unwrap();
    assert_eq!((health.healthy, health.level), (true, "degraded"));
    assert_eq!(pool.force_health_check().unwrap().level, "healthy");
    assert!(call(&pool));
}

#[test]
fn a_pool_is_degraded_while_one_of_its_two_servers_serves() {
    let (good, bad) =
        (FakeService::start(&[CHECK, GET]).unwrap(), FakeService::start(&[CHECK, GET]).unwrap());
    let mut config = settings(good.port(), 4);
    config.addresses =
        [&good, &bad].iter().map(|fake| format!("127.0.0.1:{}", fake.port())).collect();
    let pool = ready(&config);
    assert_eq!(pool.force_health_check().unwrap().level, "healthy");
    bad.always(CHECK, status(2));
    let health = pool.force_health_check().unwrap();
    assert_eq!((health.healthy, health.level), (true, "degraded"));
    let before = bad.calls(GET);
    assert!((0..20).all(|_| call(&pool)));
    assert_eq!((bad.calls(GET), good.calls(GET) >= 20), (before, true));
}

#[test]
fn a_connection_that_does_not_answer_is_replaced() {
    let fake = FakeService::start(&[GET]).unwrap();
    let proxy = Proxy::to(fake.port());
    let mut config = settings(proxy.port, 1);
    config.health.timeout = Duration::from_millis(100);
    config.health.tries = 2;
    config.connection.connect_timeout = Duration::from_secs(1);
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("users", &config).unwrap();
    pool.await_ready(connection_pool_manager::client::Ready::All, PATIENCE).unwrap();
    proxy.lose();
    assert!(pool.force_health_check().unwrap().healthy, "it is tried again");
    let status = pool.status();
    assert_eq!((status.connections[0].unanswered, &status.connections[0].error), (1, &None));
    assert!(status.to_string().contains(", probes not answered: 1"), "{status}");
    assert!(!pool.force_health_check().unwrap().healthy);
    let gone = "grpc_client_disconnects_total{reason=\"health\",service=\"users\"} 1";
    assert!(manager.metrics().encode().contains(gone));
    assert_eq!(pool.metrics().health_check_failures, 2);
    proxy.forward();
    eventually("a new one works", || call(&pool));
}

#[test]
fn probes_that_are_off_send_nothing_and_idle_connections_are_kept_warm_by_those_that_are_on() {
    let ping = "/shop.Users/Ping";
    let (fake, silent) =
        (FakeService::start(&[CHECK]).unwrap(), FakeService::start(&[CHECK, ping]).unwrap());
    let on = |change: fn(&mut ServiceConfig)| {
        let mut config = settings(fake.port(), 1);
        change(&mut config);
        ready(&config)
    };
    let off = {
        let mut config = settings(silent.port(), 1);
        config.connection.ping_interval = None;
        config.health.enabled = false;
        config.health.interval = Duration::from_millis(1);
        ready(&config)
    };
    let warm = on(|config| config.connection.ping_interval = Some(Duration::from_millis(2)));
    eventually("pings go on", || warm.metrics().pings > 20);
    let rounds = on(|config| {
        config.health.enabled = true;
        config.health.interval = Duration::from_millis(2);
    });
    eventually("rounds go on", || rounds.metrics().health_checks > 20);
    assert_eq!((off.metrics().pings, off.metrics().health_checks), (0, 0));
    assert_eq!((silent.calls(CHECK), silent.connections()), (0, 0));
    assert!(off.force_health_check().unwrap().healthy, "what is asked for is sent");
    assert_eq!(silent.calls(CHECK), 1);

    let mut config = settings(silent.port(), 1);
    config.health.method = Some(ping.to_owned());
    assert!(ready(&config).force_health_check().unwrap().healthy);
    assert_eq!((silent.calls(ping), silent.calls(CHECK)), (1, 1));
    assert_eq!(silent.received().last().unwrap().message, b"");
}

#[test]
fn a_lent_connection_is_not_probed_and_a_stopped_pool_says_so() {
    let fake = FakeService::start(&[CHECK]).unwrap();
    let pool = ready(&settings(fake.port(), 2));
    let held = pool.get().unwrap();
    assert!(pool.force_health_check().unwrap().healthy);
    assert_eq!(fake.calls(CHECK), 1);
    drop(held);
    pool.stop();
    assert!(matches!(pool.force_health_check(), Err(PoolError::Closed { .. })));
    assert_eq!(pool.health().level, "unhealthy");
}

#[test]
fn a_fake_server_stops_starts_again_and_answers_late() {
    let mut fake = FakeService::start(&[GET]).unwrap();
    let pool = ready(&settings(fake.port(), 1));
    fake.next(GET, Answer::Hang);
    let late = CallOptions::new().timeout(Duration::from_millis(20));
    assert!(pool.call(&raw(GET), &b"7".to_vec(), &late).is_err());
    let soon = Duration::from_millis(1);
    fake.next(GET, Answer::After(soon, Box::new(Answer::Bytes(b"late".to_vec()))));
    let options = CallOptions::new().metadata(&[("trace", "1")]).unwrap();
    assert_eq!(pool.call(&raw(GET), &b"8".to_vec(), &options).unwrap(), b"late");
    let last = fake.received().pop().unwrap();
    assert_eq!((last.method.as_str(), last.message), (GET, b"8".to_vec()));
    assert!(last.metadata.contains(&("trace".to_owned(), b"1".to_vec())), "{:?}", last.metadata);
    fake.stop();
    eventually("it is gone", || !call(&pool));
    fake.start_again().unwrap();
    eventually("it is back", || call(&pool));
}

//! Servers that go and come back.

use std::time::Duration;

use connection_pool_manager::client::{
    BreakerConfig, CallOptions, ConnectionManager, Pool, PoolError, Ready,
};

use crate::echo::{free_port, say, Echo, SAY};
use crate::proxy::Proxy;
use crate::{eventually, ready, settings, PATIENCE};

#[test]
fn where_nobody_listens_it_fails_at_once_with_the_reason_and_heals_when_somebody_does() {
    let port = free_port();
    let mut config = settings(port, 3);
    // An attempt may take as long, and is to end by the refusal, not by that.
    config.pool.open_timeout = Duration::from_secs(2);
    let error = Pool::open("echo", &config).unwrap_err().to_string();
    assert!(error.starts_with("failed to create connection for echo: "), "{error}");
    assert!(error.contains("Connection refused"), "{error}");

    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &config).unwrap();
    eventually("it knows that all is down", || {
        matches!(pool.get(), Err(PoolError::NotConnected { .. }))
    });
    eventually("it says why", || {
        let health = pool.health();
        assert_eq!((health.healthy, health.state), (false, "NotConnected"));
        health.error.is_some_and(|error| error.contains("Connection refused"))
    });
    eventually("the scout has tried often", || pool.metrics().connect_failures > 6);

    let _echo = Echo::on(port);
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert_eq!(pool.execute(|connection| say(connection, "back").unwrap()).unwrap(), "back");
}

#[test]
fn whoever_waits_in_vain_is_told_how_many_stand_or_for_how_long_none_does() {
    let (echo, port) = (Echo::start(), free_port());
    let mut config = settings(echo.port, 4);
    config.addresses.push(format!("127.0.0.1:{port}"));
    // It is not dialled again.
    config.connection.reconnect_backoff_min = Duration::from_secs(3600);
    config.connection.max_reconnect_delay = Duration::from_secs(3600);
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("half", &config).unwrap();
    // The fourth dials the address that is down.
    eventually("three stand", || {
        pool.metrics().connected == 3 && pool.status().last_error.is_some()
    });
    let error = pool.await_ready(Ready::All, Duration::from_millis(20)).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("3 of 4 connections to half after "), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    let PoolError::NotReady { connected: 3, wanted: 4, waited, .. } = error else {
        panic!("{said}")
    };
    assert!(waited >= Duration::from_millis(20), "{said}");

    config.addresses.remove(0);
    let pool = manager.add("down", &config).unwrap();
    eventually("it is down", || matches!(pool.get(), Err(PoolError::NotConnected { .. })));
    assert!(pool.await_ready(Ready::One, Duration::from_millis(20)).is_err());
    // Not for as long as somebody has waited, but as it is down.
    let error = pool.await_ready(Ready::All, Duration::ZERO).unwrap_err();
    let PoolError::NotConnected { down_for, next_try, .. } = error else { panic!("{error}") };
    assert!(down_for >= Duration::from_millis(20), "{error}");
    assert!(next_try > Duration::from_secs(60), "{error}");
}

#[test]
fn whoever_waits_for_ready_gets_a_connection_when_the_server_comes() {
    let port = free_port();
    let mut config = settings(port, 1);
    config.call.wait_for_ready = true;
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &config).unwrap();
    eventually("it has failed", || pool.metrics().connect_failures > 1);
    #[allow(clippy::disallowed_methods)] // A test's own thread, joined.
    let waiting = std::thread::spawn({
        let pool = pool.clone();
        move || pool.get_within(PATIENCE).map(|connection| say(&connection, "ready").unwrap())
    });
    eventually("it waits", || pool.metrics().waiting == 1);
    let _echo = Echo::on(port);
    assert_eq!(waiting.join().unwrap().unwrap(), "ready");
}

#[test]
fn all_connections_come_back_after_a_cut_and_the_one_that_was_lent_too() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&settings(proxy.port, 4));
    let held = pool.get().unwrap();
    proxy.cut();
    eventually("all are known as lost", || pool.metrics().connected == 0);
    eventually("it fails at once", || matches!(pool.get(), Err(PoolError::NotConnected { .. })));
    assert!(say(&held, "gone").is_err());
    proxy.forward();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    drop(held);
    for _ in 0..8 {
        assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
    }
    assert_eq!(pool.status().connections.len(), 4);
}

#[test]
fn a_server_that_starts_anew_is_used_again_by_all() {
    let mut echo = Echo::start();
    let port = echo.port;
    let pool = ready(&settings(port, 3));
    for _ in 0..2 {
        assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
        drop(echo);
        eventually("it is lost", || pool.metrics().connected == 0);
        echo = Echo::on(port);
        pool.await_ready(Ready::All, PATIENCE).unwrap();
    }
    assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
}

#[test]
fn a_connection_that_its_user_calls_broken_is_replaced() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&settings(proxy.port, 1));
    let mut connection = pool.get().unwrap();
    connection.mark_broken();
    drop(connection);
    assert_eq!(pool.execute(|connection| say(connection, "new").unwrap()).unwrap(), "new");
    assert_eq!(proxy.taken(), 2);
}

#[test]
fn a_peer_that_never_answers_ends_the_attempt_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = settings(silent.local_addr().unwrap().port(), 1);
    config.connection.connect_timeout = Duration::from_millis(50);
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("mute", &config).unwrap();
    eventually("it is given up, and tried again", || pool.metrics().connects > 2);
    eventually("the reason is known", || {
        pool.health().error.is_some_and(|error| error.contains("no connection within 0.05 s"))
    });
    eventually("so it is at the connection that is being made", || {
        let errors = pool.status().connections.into_iter().filter_map(|one| one.error);
        errors.into_iter().any(|error| error.contains("no connection within 0.05 s"))
    });
}

#[test]
fn channels_are_spread_over_addresses_and_move_off_one_that_is_gone() {
    let (one, other) = (Echo::start(), Echo::start());
    let proxy = Proxy::to(other.port);
    let mut config = settings(one.port, 4);
    config.addresses.push(format!("127.0.0.1:{}", proxy.port));
    let pool = ready(&config);
    let at = |pool: &Pool, port: u16| {
        let end = format!(":{port}");
        let status = pool.status();
        let here = status.connections.iter().filter(|one| one.address.ends_with(&end));
        here.filter(|one| one.age.is_some()).count()
    };
    assert_eq!((at(&pool, one.port), at(&pool, proxy.port)), (2, 2));
    proxy.cut();
    eventually("they move", || (at(&pool, one.port), at(&pool, proxy.port)) == (3, 0));
    for _ in 0..9 {
        assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
    }
    proxy.forward();
    eventually("they come back", || (at(&pool, one.port), at(&pool, proxy.port)) == (2, 2));
}

#[test]
fn a_breaker_that_opened_while_the_server_was_away_lets_calls_through_when_it_is_back() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let mut config = settings(proxy.port, 4);
    let timeout = Duration::from_secs(3600);
    config.breaker =
        Some(BreakerConfig { failures: 3, successes: 2, timeout, ..BreakerConfig::default() });
    config.retry = None;
    let pool = ready(&config);
    let call = || pool.call(&SAY, &b"on".to_vec(), &CallOptions::new());
    for _ in 0..2 {
        proxy.cut();
        eventually("it has opened", || {
            call().unwrap_err().to_string().contains("circuit breaker is open")
        });
        let before = echo.calls();
        proxy.forward();
        // An hour before the next probe.
        eventually("a probe is let through", || call().is_ok());
        assert!((0..8).all(|_| call().is_ok()), "two good ones close it");
        assert_eq!(echo.calls(), before + 9);
    }
}

//! Addresses that can be connected to, and at which calls fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connection_pool_manager::client::{
    CallOptions, ClientMetrics, Config, ConnectionManager, Event, Pool, Ready, ServiceConfig,
};
use grpcio::RpcStatusCode;

use crate::echo::{Echo, Step, SAY};
use crate::proxy::Proxy;
use crate::{eventually, settings, PATIENCE};

const BAD: Step = Step::Fail(RpcStatusCode::UNAVAILABLE);

/// Settings of a service at these servers, in which two failures take one out.
fn of(servers: &[&Echo], time: Duration) -> ServiceConfig {
    let mut config = settings(servers[0].port, 4);
    config.addresses = servers.iter().map(|echo| format!("127.0.0.1:{}", echo.port)).collect();
    let outlier = config.outlier.as_mut().unwrap();
    (outlier.failures, outlier.ejection_time) = (2, time);
    config.retry = None;
    config.breaker = None;
    config
}

fn call(pool: &Pool) -> bool {
    pool.call(&SAY, &b"on".to_vec(), &CallOptions::new()).is_ok()
}

/// Connections that stand, by server.
fn at(pool: &Pool, echo: &Echo) -> usize {
    let end = format!(":{}", echo.port);
    let status = pool.status();
    let here = status.connections.iter().filter(|one| one.address.ends_with(&end));
    here.filter(|one| one.age.is_some()).count()
}

#[test]
fn an_address_at_which_calls_fail_is_left_alone_and_comes_back_by_itself() {
    let (good, bad) = (Echo::start(), Echo::start());
    let manager = ConnectionManager::new().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    manager.on_event(move |event: &Event| match event {
        Event::Ejected { address, reason, time, .. } => {
            hears.lock().unwrap().push(format!("{address} {reason} {} ms", time.as_millis()));
        }
        Event::Restored { address, .. } => hears.lock().unwrap().push(address.clone()),
        _ => {}
    });
    let pool = manager.add("echo", &of(&[&good, &bad], Duration::from_millis(200))).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert_eq!((at(&pool, &good), at(&pool, &bad)), (2, 2));
    bad.script(&[BAD; 2]);
    // In turns: two of the first four calls meet it.
    let failed = (0..4).filter(|_| !call(&pool)).count();
    assert_eq!(failed, 2);
    let address = format!("127.0.0.1:{}", bad.port);
    assert_eq!(told.lock().unwrap()[0], format!("{address} failures 200 ms"));
    assert!((0..8).all(|_| call(&pool)));
    eventually("it is back", || at(&pool, &bad) == 2 && at(&pool, &good) == 2);
    assert_eq!(told.lock().unwrap()[1], address);
    bad.script(&[BAD; 2]);
    let failed = (0..4).filter(|_| !call(&pool)).count();
    assert_eq!(failed, 2);
    assert_eq!(told.lock().unwrap()[2], format!("{address} failures 400 ms"));
    let ejections = "grpc_client_ejections_total{reason=\"failures\",service=\"echo\"} 2";
    assert!(manager.metrics().encode().contains(ejections));
}

#[test]
fn while_it_is_out_all_connections_are_elsewhere() {
    let (good, bad) = (Echo::start(), Echo::start());
    let metrics = ClientMetrics::new();
    let manager = ConnectionManager::with_metrics(metrics.clone()).unwrap();
    let pool = manager.add("echo", &of(&[&good, &bad], Duration::from_secs(300))).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    bad.script(&[BAD; 2]);
    assert_eq!((0..4).filter(|_| !call(&pool)).count(), 2);
    eventually("they have moved", || (at(&pool, &good), at(&pool, &bad)) == (4, 0));
    let before = bad.calls();
    assert!((0..20).all(|_| call(&pool)));
    assert_eq!(bad.calls(), before);
    let ejected = "grpc_client_addresses{service=\"echo\",state=\"ejected\"} 1";
    assert!(metrics.encode().contains(ejected));
}

#[test]
fn one_address_is_never_taken_out_and_neither_is_any_if_that_is_off() {
    let (one, other) = (Echo::start(), Echo::start());
    let mut off = of(&[&one, &other], Duration::from_secs(300));
    off.outlier = None;
    for (config, servers) in
        [(of(&[&one], Duration::from_secs(300)), vec![&one]), (off, vec![&one, &other])]
    {
        let pool = Pool::open("echo", &config).unwrap();
        pool.await_ready(Ready::All, PATIENCE).unwrap();
        servers.iter().for_each(|echo| echo.script(&[BAD; 5]));
        let failed = (0..20).filter(|_| !call(&pool)).count();
        assert_eq!(failed, 5 * servers.len());
        assert_eq!(at(&pool, &one), 4 / servers.len());
    }
}

#[test]
fn an_attempt_that_takes_too_long_is_bad_for_its_address() {
    let (good, bad) = (Echo::start(), Echo::start());
    let mut config = of(&[&good, &bad], Duration::from_secs(300));
    config.call.attempt_timeout = Some(Duration::from_millis(50));
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    bad.script(&[Step::Hang; 1000]);
    eventually("it is out", || {
        call(&pool);
        manager.metrics().encode().contains("state=\"ejected\"} 1")
    });
}

#[test]
fn what_is_out_comes_back_when_that_is_switched_off() {
    let (good, bad) = (Echo::start(), Echo::start());
    let mut config = Config::new();
    let mut echo = of(&[&good, &bad], Duration::from_secs(300));
    config.services.insert("echo".to_owned(), echo.clone());
    let manager = ConnectionManager::open(&config, ClientMetrics::new()).unwrap();
    let pool = manager.pool("echo").unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    // As many as are left alone by now.
    echo.outlier.as_mut().unwrap().failures = 3;
    config.services.insert("echo".to_owned(), echo.clone());
    assert_eq!(manager.apply(&config).unwrap().applied, ["echo.outlier.failures"]);
    bad.script(&[BAD; 3]);
    let failed = (0..8).filter(|_| !call(&pool)).count();
    assert_eq!(failed, 3, "two of them were not enough");
    eventually("they have moved", || (at(&pool, &good), at(&pool, &bad)) == (4, 0));
    echo.outlier = None;
    config.services.insert("echo".to_owned(), echo);
    manager.apply(&config).unwrap();
    eventually("it is back", || (at(&pool, &good), at(&pool, &bad)) == (2, 2));
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn a_server_whose_connections_are_cut_is_used_again_as_soon_as_it_is_back() {
    let (good, bad) = (Echo::start(), Echo::start());
    let proxy = Proxy::to(bad.port);
    let mut config = of(&[&good, &bad], Duration::from_secs(300));
    config.addresses[1] = format!("127.0.0.1:{}", proxy.port);
    config.pool.size = 12;
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    let through = |pool: &Pool| {
        let end = format!(":{}", proxy.port);
        let all = pool.status().connections;
        all.iter().filter(|one| one.address.ends_with(&end) && one.age.is_some()).count()
    };
    assert_eq!((at(&pool, &good), through(&pool)), (6, 6));
    bad.script(&[Step::Hang; 12]);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..12).map(|_| scope.spawn(|| call(&pool))).collect();
        eventually("three wait for an answer", || bad.calls() >= 3);
        proxy.cut();
        let results = calls.into_iter().map(|one| one.join().unwrap());
        assert!(results.filter(|ok| !ok).count() >= 3, "two would take it out");
    });
    let taken_out = || manager.metrics().encode().contains("grpc_client_ejections_total{");
    assert!(!taken_out());
    proxy.forward();
    eventually("it is used again", || through(&pool) == 6);
    assert!(!taken_out());
}

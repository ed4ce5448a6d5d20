//! What Prometheus, the log and observers are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connection_pool_manager::client::{
    BreakerConfig, CallOptions, ClientMetrics, ConnectionManager, Event, Pool, Ready, ServiceConfig,
};
use grpcio::RpcStatusCode;

use crate::echo::{Echo, Step, SAY};
use crate::proxy::Proxy;
use crate::{eventually, settings, PATIENCE};

const DOWN: Step = Step::Fail(RpcStatusCode::UNAVAILABLE);

/// The values of all series.
fn scrape(metrics: &ClientMetrics) -> BTreeMap<String, f64> {
    let text = metrics.encode();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| line.rsplit_once(' ').unwrap());
    series.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[track_caller]
fn value(metrics: &ClientMetrics, series: &str) -> f64 {
    let all = scrape(metrics);
    all.get(series).copied().unwrap_or_else(|| panic!("no {series} in {all:#?}"))
}

fn quick(port: u16) -> ServiceConfig {
    let mut config = settings(port, 2);
    let retry = config.retry.as_mut().unwrap();
    retry.initial_backoff = Duration::from_millis(1);
    retry.max_backoff = Duration::from_millis(5);
    config
}

fn add(manager: &ConnectionManager, name: &str, config: &ServiceConfig) -> Pool {
    let pool = manager.add(name, config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    pool
}

fn call(pool: &Pool, options: &CallOptions) -> bool {
    pool.call(&SAY, &b"hello".to_vec(), options).is_ok()
}

const OF: &str = "method=\"/test.Echo/Say\",service=\"echo\"";

#[test]
fn calls_attempts_and_repeats_are_counted_by_method_and_code() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = add(&manager, "echo", &quick(echo.port));
    echo.script(&[DOWN, DOWN]);
    assert!(call(&pool, &CallOptions::new().idempotent()));
    echo.script(&[DOWN]);
    assert!(!call(&pool, &CallOptions::new()));
    let metrics = manager.metrics();
    for (name, is) in [
        ("requests_total{code=\"OK\",", 1.0),
        ("requests_total{code=\"Unavailable\",", 1.0),
        ("attempts_total{code=\"OK\",", 1.0),
        ("attempts_total{code=\"Unavailable\",", 3.0),
        ("retries_total{", 2.0),
        ("request_duration_seconds_count{", 2.0),
        ("circuit_breaker_state{", 0.0),
    ] {
        assert_eq!(value(metrics, &format!("grpc_client_{name}{OF}}}")), is, "{name}");
    }
    let refused = "grpc_client_retries_refused_total{reason=\"not_idempotent\",service=\"echo\"}";
    assert_eq!(value(metrics, refused), 1.0);
}

#[test]
fn a_breaker_shows_its_state_and_what_it_refuses() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let mut config = quick(echo.port);
    let timeout = Duration::from_secs(600);
    config.breaker =
        Some(BreakerConfig { failures: 2, successes: 1, timeout, ..Default::default() });
    let (events, config) = (Arc::new(Mutex::new(Vec::new())), config);
    let told = Arc::clone(&events);
    manager.on_event(move |event: &Event| {
        if let Event::BreakerChanged { method, state, .. } = event {
            told.lock().unwrap().push(format!("{method} {state}"));
        }
    });
    let pool = add(&manager, "echo", &config);
    echo.script(&[DOWN; 2]);
    for _ in 0..4 {
        assert!(!call(&pool, &CallOptions::new()));
    }
    let metrics = manager.metrics();
    assert_eq!(value(metrics, &format!("grpc_client_circuit_breaker_state{{{OF}}}")), 1.0);
    let refused = format!("grpc_client_circuit_breaker_rejections_total{{{OF}}}");
    assert_eq!(value(metrics, &refused), 2.0);
    assert_eq!(*events.lock().unwrap(), ["/test.Echo/Say open"]);
}

#[test]
fn a_breaker_is_half_open_until_two_probes_in_a_row_were_good() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let mut config = quick(echo.port);
    // The next call is a probe already.
    let timeout = Duration::from_nanos(1);
    config.breaker =
        Some(BreakerConfig { failures: 2, successes: 2, timeout, ..Default::default() });
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    manager.on_event(move |event: &Event| {
        if let Event::BreakerChanged { state, .. } = event {
            told.lock().unwrap().push((*state).to_owned());
        }
    });
    let pool = add(&manager, "echo", &config);
    let name = format!("grpc_client_circuit_breaker_state{{{OF}}}");
    let (closed, open, half_open) = (0.0, 1.0, 2.0);
    for (works, state) in [
        (false, closed),
        (false, open),
        (true, half_open),
        (false, open),
        (true, half_open),
        (true, closed),
        (false, closed),
    ] {
        if !works {
            echo.script(&[DOWN]);
        }
        assert_eq!(call(&pool, &CallOptions::new()), works);
        assert_eq!(value(manager.metrics(), &name), state);
    }
    assert_eq!(echo.calls(), 7, "all were sent");
    assert_eq!(*events.lock().unwrap(), ["open", "closed"]);
}

#[test]
fn a_service_has_one_state_and_its_channels_are_counted_in_each() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let manager = ConnectionManager::new().unwrap();
    let pool = add(&manager, "echo", &quick(proxy.port));
    let metrics = manager.metrics();
    let state = |metrics: &ClientMetrics| {
        let all = scrape(metrics);
        let states = all.iter().filter(|(name, _)| name.contains("connection_state{"));
        let set: Vec<_> =
            states.filter(|(_, value)| **value == 1.0).map(|(name, _)| name).collect();
        assert_eq!(set.len(), 1, "{all:#?}");
        set[0].split("state=\"").nth(1).unwrap().trim_end_matches("\"}").to_owned()
    };
    assert_eq!(state(metrics), "READY");
    let held = pool.get().unwrap();
    for (name, is) in [
        ("connections_active{", 2.0),
        ("channels_max{", 2.0),
        ("in_flight{", 1.0),
        ("waiters{", 0.0),
        ("pool_utilization_ratio{", 0.5),
        ("checkouts_total{", 1.0),
        ("checkout_wait_seconds_count{", 1.0),
        ("connects_total{", 2.0),
        ("connect_seconds_count{", 2.0),
    ] {
        let name = format!("grpc_client_{name}service=\"echo\"}}");
        assert_eq!(value(metrics, &name), is, "{name}");
    }
    for (label, is) in [("lent", 1.0), ("ready", 1.0), ("resting", 0.0), ("draining", 0.0)] {
        let name = format!("grpc_client_channels{{service=\"echo\",state=\"{label}\"}}");
        assert_eq!(value(metrics, &name), is, "{name}");
    }
    drop(held);
    proxy.cut();
    eventually("it is down", || state(metrics) == "TRANSIENT_FAILURE");
    let lost = "grpc_client_disconnects_total{reason=\"lost\",service=\"echo\"}";
    assert_eq!(value(metrics, lost), 2.0);
    let down = "grpc_client_addresses{service=\"echo\",state=\"down\"}";
    assert_eq!(value(metrics, down), 1.0);
    assert!(pool.get().is_err());
    let failed = "grpc_client_checkout_failures_total{reason=\"not_connected\",service=\"echo\"}";
    assert_eq!(value(metrics, failed), 1.0);
    pool.stop();
    assert_eq!(state(metrics), "SHUTDOWN");
    manager.close();
    drop((pool, manager));
}

#[test]
fn two_managers_may_share_metrics_and_what_is_gone_has_no_gauges() {
    let echo = Echo::start();
    let metrics = ClientMetrics::new();
    let one = ConnectionManager::with_metrics(metrics.clone()).unwrap();
    let other = ConnectionManager::with_metrics(metrics.clone()).unwrap();
    let (first, second) =
        (add(&one, "echo", &quick(echo.port)), add(&other, "echo", &quick(echo.port)));
    assert_eq!(value(&metrics, "grpc_client_connections_active{service=\"echo\"}"), 4.0);
    drop((first, one));
    assert_eq!(value(&metrics, "grpc_client_connections_active{service=\"echo\"}"), 2.0);
    drop((second, other));
    assert!(!metrics.encode().contains("connections_active{"));
    assert_eq!(value(&metrics, "grpc_client_connects_total{service=\"echo\"}"), 4.0);
}

#[test]
fn a_service_that_is_not_to_be_counted_is_not() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let mut config = quick(echo.port);
    config.enable_metrics = false;
    let pool = add(&manager, "echo", &config);
    assert!(call(&pool, &CallOptions::new()));
    assert_eq!(scrape(manager.metrics()), BTreeMap::new());
    assert_eq!(pool.metrics().checkouts, 1, "its own figures are there");
}

#[test]
fn observers_are_told_what_becomes_of_a_pool_and_may_panic() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let manager = ConnectionManager::new().unwrap();
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    manager.on_event(|_: &Event| panic!("on purpose"));
    let told = Arc::clone(&events);
    manager.on_event(move |event: &Event| {
        let kind = format!("{event:?}");
        let kind = kind.split([' ', '(']).next().unwrap().to_owned();
        told.lock().unwrap().push(kind);
    });
    let count = |kind: &str| events.lock().unwrap().iter().filter(|one| *one == kind).count();
    let mut config = quick(proxy.port);
    config.events.status_interval = Some(Duration::from_millis(5));
    let pool = add(&manager, "echo", &config);
    eventually("both are told", || count("Connected") == 2);
    drop(pool.get().unwrap());
    pool.resize(1).unwrap();
    eventually("the status is told again", || count("Status") > 2);
    proxy.cut();
    eventually("it is tried again", || count("ReconnectScheduled") > 1);
    proxy.forward();
    eventually("it is back", || count("Connected") == 3);
    pool.stop();
    assert_eq!(
        ["PoolStarted", "CheckedOut", "Resized", "PoolStopped"].map(count),
        [1, 1, 1, 1],
        "{events:?}"
    );
    assert!(count("Disconnected") >= 2 && count("ConnectFailed") > 1, "{events:?}");
}

#[test]
fn only_a_part_of_checkouts_is_told_if_that_is_asked_for() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let told = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&told);
    manager.on_event(move |event: &Event| {
        *counted.lock().unwrap() += usize::from(matches!(event, Event::CheckedOut { .. }));
    });
    let mut config = quick(echo.port);
    for (rate, most) in [(0.0, 0), (0.5, 999)] {
        config.events.sample_rate = rate;
        let pool = add(&manager, &format!("echo{rate}"), &config);
        (0..1000).for_each(|_| drop(pool.get().unwrap()));
        assert!(*told.lock().unwrap() <= most);
    }
    assert!(*told.lock().unwrap() > 0);
    config.events.sample_rate = f64::NAN;
    let said = manager.add("nan", &config).unwrap_err().to_string();
    assert!(said.contains("events.sample_rate must be from 0 to 1, and is NaN"), "{said}");
}

#[test]
fn of_many_connections_that_fail_at_once_it_is_told_once_when_their_address_is_tried_again() {
    let mut config = quick(crate::echo::free_port());
    config.pool.size = 4;
    config.connection.reconnect_backoff_min = Duration::from_millis(50);
    let manager = ConnectionManager::new().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    manager.on_event(move |event: &Event| {
        if let Event::ReconnectScheduled { attempt, .. } = event {
            kept.lock().unwrap().push(*attempt);
        }
    });
    let _pool = manager.add("nobody", &config).unwrap();
    eventually("it is tried again and again", || told.lock().unwrap().len() >= 3);
    assert_eq!(told.lock().unwrap()[..3], [1, 2, 3]);
}

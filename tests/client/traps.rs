//! What gRPC's C core does by itself, and what is done about it.

use std::process::Command;
use std::time::Duration;

use connection_pool_manager::client::{
    CallOptions, Code, ConnectionManager, Error, Pool, Ready, ServiceConfig,
};
use grpcio::ChannelBuilder;

use crate::calls::quick;
use crate::echo::{free_port, Echo, Step, SAY};
use crate::proxy::Proxy;
use crate::{alone, eventually, ready, settings, PATIENCE};

fn call(pool: &Pool) -> Result<Vec<u8>, Error> {
    pool.call(&SAY, &b"7".to_vec(), &CallOptions::new().timeout(PATIENCE))
}

#[test]
fn a_proxy_of_the_environment_is_obeyed_only_if_asked_for() {
    const TEST: &str = "traps::a_proxy_of_the_environment_is_obeyed_only_if_asked_for";
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let variables = [("http_proxy", &*nobody), ("https_proxy", &*nobody), ("grpc_proxy", &*nobody)];
    let child = alone(TEST, &variables, || {
        let echo = Echo::start();
        let mut config = settings(echo.port, 1);
        config.addresses = vec![format!("localhost:{}", echo.port)];
        assert!(call(&ready(&config)).is_ok());
        config.connection.http_proxy = true;
        let manager = ConnectionManager::new().unwrap();
        let diverted = manager.add("diverted", &config).unwrap();
        eventually("the proxy is not there", || diverted.metrics().connect_failures > 0);
        assert_eq!(diverted.metrics().connected, 0);
    });
    if let Some(child) = child {
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }
}

/// Keepalive so fast, with pings and checks off.
fn keeping_alive(port: u16) -> ServiceConfig {
    let mut config = quick(port, 1);
    config.connection.keepalive_time = Some(Duration::from_millis(50));
    config.connection.keepalive_timeout = Duration::from_millis(200);
    // One that was dialled while bytes vanished is dialled again.
    config.connection.connect_timeout = Duration::from_secs(1);
    config
}

/// A server that does not mind pings.
fn patient() -> Echo {
    Echo::with(|arguments| arguments.raw_cfg_int(c"grpc.http2.max_ping_strikes".into(), 0))
}

#[test]
fn a_peer_that_falls_silent_is_found_by_keepalive_with_a_call_and_without() {
    let echo = patient();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&keeping_alive(proxy.port));
    // The C core by itself would stop after two without data. A ping has 17 bytes.
    let sent = proxy.sent();
    eventually("pings go on", || proxy.sent() >= sent + 4 * 17);
    proxy.lose();
    // Nobody calls.
    eventually("the idle connection is known to be dead", || pool.metrics().disconnects > 0);
    proxy.forward();
    eventually("it is back", || call(&pool).is_ok());

    echo.script(&[Step::Hang]);
    let calls = echo.calls();
    let error = std::thread::scope(|scope| {
        #[allow(clippy::disallowed_methods)] // A test's own thread, joined by the scope.
        let calling = scope.spawn(|| call(&pool));
        eventually("the call is under way", || echo.calls() > calls || calling.is_finished());
        proxy.lose();
        calling.join().unwrap().unwrap_err()
    });
    // Long before its deadline.
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}

#[test]
fn nothing_is_sent_on_an_idle_connection_if_all_is_off() {
    let echo = patient();
    let (silent, loud) = (Proxy::to(echo.port), Proxy::to(echo.port));
    let mut config = settings(silent.port, 1);
    config.connection.ping_interval = None;
    config.connection.keepalive_time = None;
    config.health.enabled = false;
    let off = ready(&config);
    assert!(call(&off).is_ok());
    let _on = ready(&keeping_alive(loud.port));
    // What belongs to the call is sent at some time. A ping has 17 bytes.
    eventually("nothing is sent while five pings go the other way", || {
        let (sent, before) = (silent.sent(), loud.sent());
        eventually("keepalive goes on", || loud.sent() >= before + 5 * 17);
        silent.sent() == sent
    });
    let sent = silent.sent();
    assert!(call(&off).is_ok());
    assert!(silent.sent() > sent, "a call is sent");
}

#[test]
fn no_call_fails_when_a_server_closes_connections_by_their_age() {
    let echo = Echo::with(|arguments: ChannelBuilder| {
        let arguments = arguments.raw_cfg_int(c"grpc.max_connection_age_ms".into(), 100);
        arguments.raw_cfg_int(c"grpc.max_connection_age_grace_ms".into(), 60_000)
    });
    let mut config = quick(echo.port, 2);
    // A connection that was closed at once is not dialled at once.
    config.connection.reconnect_backoff_min = Duration::from_millis(1);
    let pool = ready(&config);
    let mut calls = 0;
    eventually("connections were closed, and calls went on", || {
        let said = pool.call(&SAY, &b"7".to_vec(), &CallOptions::new().timeout(PATIENCE));
        assert!(said.is_ok(), "{said:?} after {calls} calls");
        calls += 1;
        pool.metrics().disconnects > 6
    });
    assert!(calls > 6);
}

#[test]
fn limits_under_a_millisecond_end_a_call_before_it_is_sent() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 1));
    for limit in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(900)] {
        let said = pool.call(&SAY, &b"7".to_vec(), &CallOptions::new().timeout(limit));
        let code = said.unwrap_err().code();
        assert_eq!(code, Code::DeadlineExceeded, "{limit:?}");
    }
    assert_eq!(echo.calls(), 0);
}

#[test]
fn connections_beyond_the_limit_of_files_fail_and_the_others_work() {
    const TEST: &str = "traps::connections_beyond_the_limit_of_files_fail_and_the_others_work";
    const SERVER: &str = "CLIENT_TEST_FILES";
    if let Ok(port) = std::env::var(SERVER) {
        let mut config = settings(port.parse().unwrap(), 80);
        config.pool.open_timeout = PATIENCE;
        let manager = ConnectionManager::new().unwrap();
        let pool = manager.add("many", &config).unwrap();
        let few = || pool.health().message + &format!("{:?}", pool.status().last_error);
        eventually("the system has no more", || few().contains("Too many open files"));
        pool.resize(5).unwrap();
        eventually("the rest works", || call(&pool).is_ok());
        pool.await_ready(Ready::All, PATIENCE).unwrap();
        return;
    }
    let echo = Echo::start();
    // The limit is the shell's, so that no other test has it.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" --exact \"$1\" --nocapture"]);
    command.arg(std::env::current_exe().unwrap()).arg(TEST).env(SERVER, echo.port.to_string());
    let child = command.output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

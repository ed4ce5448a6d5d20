//! Services by name, and their end.

use std::time::Duration;

use connection_pool_manager::client::{
    CallOptions, Code, ConnectionManager, PoolError, Ready, ServiceConfig,
};

use crate::echo::{say, Echo, Step, SAY};
use crate::{alone, eventually, settings, PATIENCE};

#[test]
fn the_first_address_of_a_name_adds_it_and_others_are_refused() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let address = format!("127.0.0.1:{}", echo.port);
    let said = manager.get_connection("echo", "").unwrap_err().to_string();
    assert_eq!(said, "address not provided and service echo not registered");
    let said = manager.execute("echo", |_| ()).unwrap_err().to_string();
    assert_eq!(said, "service echo not registered");

    let connection = manager.get_connection("echo", &address).unwrap();
    assert_eq!((say(&connection, "hi").unwrap(), connection.address()), ("hi".into(), address));
    let again = manager.get_connection("echo", "").unwrap();
    assert_eq!(say(&again, "hi").unwrap(), "hi");
    let other = manager.get_connection("echo", "127.0.0.1:1").unwrap_err();
    assert!(matches!(other, PoolError::AddressMismatch { .. }), "{other}");
    assert!(matches!(manager.get_connection("a/b", "a:1"), Err(PoolError::Config(_))));
    assert!(matches!(manager.get_connection("new", "nonsense"), Err(PoolError::Config(_))));
    assert_eq!((manager.services(), manager.connections_count()), (vec!["echo".to_owned()], 1));
}

#[test]
fn a_service_is_added_once_with_settings_that_keep_the_rules() {
    let manager = ConnectionManager::new().unwrap();
    let mut config = ServiceConfig::new("localhost", 1);
    config.pool.size = 0;
    let said = manager.add("users", &config).unwrap_err().to_string();
    assert!(said.contains("pool.size must be from 1 to 1000, and is 0"), "{said}");
    config.pool.size = 1;
    manager.add("users", &config).unwrap();
    let said = manager.add("users", &config).unwrap_err().to_string();
    assert!(said.contains("users was added before"), "{said}");
}

#[test]
fn files_of_tls_are_looked_at_before_they_are_used() {
    let manager = ConnectionManager::new().unwrap();
    let mut config = ServiceConfig::production("users.example.com");
    config.tls.ca_file = Some("/nowhere/ca.pem".into());
    let said = manager.add("users", &config).unwrap_err().to_string();
    assert!(said.contains("tls.ca_file cannot be read: /nowhere/ca.pem"), "{said}");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    config.tls.ca_file = Some(source.into());
    let said = manager.add("users", &config).unwrap_err().to_string();
    assert!(said.contains("tls.ca_file must hold certificates in PEM"), "{said}");
}

#[test]
fn a_stop_answers_all_and_waits_for_what_is_lent() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &settings(echo.port, 2)).unwrap();
    manager.await_ready(PATIENCE).unwrap();
    let held = pool.get().unwrap();
    assert!(!manager.shutdown(Duration::from_millis(20)), "one is still lent");
    assert!(matches!(pool.get(), Err(PoolError::Closed { .. })));
    assert!(matches!(manager.pool("echo"), Err(PoolError::ServiceNotFound { .. })));
    // A channel under a call is not dropped.
    assert_eq!(say(&held, "still").unwrap(), "still");
    drop(held);
    assert!(pool.shutdown(PATIENCE) && manager.close());
    assert!(pool.status().connections.is_empty());
    pool.stop();
}

#[test]
fn whoever_drops_the_manager_stops_its_pools() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &settings(echo.port, 1)).unwrap();
    manager.await_ready(PATIENCE).unwrap();
    drop(manager.clone());
    assert!(pool.get().is_ok());
    drop(manager);
    eventually("it is stopped", || matches!(pool.get(), Err(PoolError::Closed { .. })));
}

#[test]
fn managers_that_have_closed_leave_no_thread_and_no_descriptor_behind() {
    const TEST: &str =
        "manager::managers_that_have_closed_leave_no_thread_and_no_descriptor_behind";
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    let ours = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.filter_map(|one| std::fs::read_to_string(one.unwrap().path().join("comm")).ok());
        // One of gRPC's own is called resolver-executor.
        names.filter(|name| ["grpc-keeper", "resolver"].contains(&name.trim_end())).count()
    };
    let child = alone(TEST, &[], || {
        let echo = Echo::start();
        let turn = || {
            let manager = ConnectionManager::new().unwrap();
            let mut config = settings(echo.port, 5);
            config.addresses = vec![format!("localhost:{}", echo.port)];
            let pool = manager.add("echo", &config).unwrap();
            pool.await_ready(Ready::All, PATIENCE).unwrap();
            assert!(ours() > 0);
            echo.script(&[Step::Hang]);
            let options = CallOptions::new().timeout(Duration::from_millis(100));
            std::thread::scope(|scope| {
                #[allow(clippy::disallowed_methods)] // A test's own thread, joined by the scope.
                let calling = scope.spawn(|| pool.call(&SAY, &b"7".to_vec(), &options));
                eventually("a call is in flight", || pool.metrics().lent == 1);
                assert!(manager.shutdown(PATIENCE), "it came back");
                assert_eq!(calling.join().unwrap().unwrap_err().code(), Code::DeadlineExceeded);
            });
        };
        // The first one makes what the process has once.
        turn();
        let all_closed = |what, most| {
            let few = || ours() == 0 && count("/proc/self/fd") <= most;
            eventually(what, few);
        };
        all_closed("the first one has left", 1000);
        let (turns, before) = (5, count("/proc/self/fd"));
        (0..turns).for_each(|_| turn());
        // Each has five connections with two ends in this process. The server keeps the call that
        // it never answers, and with it its end.
        all_closed("the others have left, too", before + turns);
    });
    if let Some(child) = child {
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }
}

#[test]
fn a_status_shows_every_connection() {
    let echo = Echo::start();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("echo", &settings(echo.port, 2)).unwrap();
    manager.await_ready(PATIENCE).unwrap();
    let _held = pool.get().unwrap();
    let one_rests =
        || pool.status().connections.iter().filter(|one| one.idle.is_some()).count() == 1;
    crate::eventually("both stand, and one is not lent", one_rests);
    let shown = pool.status().to_string();
    assert!(shown.contains("of 2 connections stand, 1 lent, 0 waiting"), "{shown}");
    assert!(shown.contains(" s, lent 0 times, idle "), "{shown}");
    assert!(shown.contains("now to tests/client/manager.rs:"), "{shown}");
    let health = manager.health_check();
    assert_eq!((health["echo"].healthy, health["echo"].state), (true, "Connected"));
    assert!(health["echo"].message.starts_with("Connection pool: "), "{health:?}");
}

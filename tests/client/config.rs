//! Settings from a file, their page, and managers that are opened with them.

use std::time::Duration;

#[cfg(feature = "config-file")]
use connection_pool_manager::client::{CallOptions, Ready, Reloaded};
use connection_pool_manager::client::{
    ClientMetrics, Config, ConnectionManager, PoolError, ServiceConfig,
};

use crate::echo::{free_port, Echo};

#[test]
fn every_setting_has_a_row_with_its_variable_kind_and_default() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/client-settings.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `") && !line.contains("(host") && !line.contains("()"))
        .collect();
    let settings = ServiceConfig::of(Vec::new()).settings();
    let wanted = settings.iter().map(|setting| {
        let variable = match setting.variable {
            "" => String::new(),
            name => format!("`{name}`"),
        };
        let default = setting.default.trim_matches('"');
        format!("| `{}` | {variable} | {} | {default} |", setting.name, setting.kind)
    });
    let missing: Vec<String> =
        wanted.filter(|wanted| !rows.iter().any(|row| row.starts_with(&**wanted))).collect();
    assert!(missing.is_empty(), "no rows of\n{}", missing.join("\n"));
    let known =
        |row: &&&str| settings.iter().any(|one| row.contains(&format!("| `{}` |", one.name)));
    let extra: Vec<&&str> = rows.iter().filter(|row| !known(row)).collect();
    assert!(extra.len() <= 4, "host, port, endpoint and profile alone are no settings: {extra:?}");
}

#[cfg(feature = "config-file")]
#[test]
fn a_manager_is_opened_with_the_services_of_a_file() {
    let (one, other) = (Echo::start(), Echo::start());
    let text = format!(
        "[defaults]\nprofile = \"test\"\n[services.users]\nhost = \"127.0.0.1\"\nport = {}\n\
         type = \"database\"\n[services.pay]\naddresses = [\"127.0.0.1:{}\"]\n",
        one.port, other.port
    );
    let config = Config::parse("clients.toml", &text).unwrap();
    let manager = ConnectionManager::open(&config, ClientMetrics::new()).unwrap();
    assert_eq!(manager.services(), ["pay", "users"]);
    let status = manager.pool("users").unwrap().status();
    assert!(status.to_string().starts_with("users (database): 1 of 1 connections stand"));
    let connection = manager.get_connection("pay", "").unwrap();
    assert_eq!(crate::echo::say(&connection, "hi").unwrap(), "hi");
}

#[test]
fn services_that_cannot_be_reached_are_named_with_the_reason() {
    let mut config = Config::new();
    let echo = Echo::start();
    for (name, port) in [("down", free_port()), ("gone", free_port()), ("up", echo.port)] {
        let mut service = ServiceConfig::test("127.0.0.1", port);
        service.pool.open_timeout = Duration::from_millis(200);
        config.services.insert(name.to_owned(), service);
    }
    let error = ConnectionManager::open(&config, ClientMetrics::new()).unwrap_err();
    let PoolError::NotConnected { service, last_error, .. } = &error else { panic!("{error}") };
    assert_eq!(service, "down, gone");
    assert!(last_error.contains("failed to create connection for down: "), "{last_error}");
    config.services.get_mut("up").unwrap().pool.size = 0;
    let error = ConnectionManager::open(&config, ClientMetrics::new()).unwrap_err();
    assert!(matches!(error, PoolError::Config(_)), "{error}");
}

#[cfg(feature = "config-file")]
#[test]
fn a_file_that_is_read_again_changes_what_may_change_and_names_the_rest() {
    let (one, other) = (Echo::start(), Echo::start());
    let dir = std::env::temp_dir().join(format!("client-reload-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("clients.toml");
    let write = |users: &str, rest: &str| {
        let text = format!(
            "[defaults]\nprofile = \"test\"\n[services.users]\nhost = \"127.0.0.1\"\n\
             port = {}\n{users}\n{rest}",
            one.port
        );
        std::fs::write(&path, text).unwrap();
    };
    let of_other =
        |name: &str| format!("[services.{name}]\naddresses = [\"127.0.0.1:{}\"]\n", other.port);
    write("pool = { size = 1 }", &of_other("pay"));
    let manager =
        ConnectionManager::open(&Config::from_file(&path).unwrap(), ClientMetrics::new()).unwrap();
    manager.add("own", &ServiceConfig::test("127.0.0.1", other.port)).unwrap();
    let (users, pay) = (manager.pool("users").unwrap(), manager.pool("pay").unwrap());
    assert_eq!(manager.reload().unwrap(), Reloaded::default());

    // With a connection that is lent, and one who waits for it.
    let held = users.get().unwrap();
    let more = "pool = { size = 1, calls_per_channel = 2, checkout_timeout = \"20ms\" }\n\
                connection = { keepalive_time = \"20s\" }\n\
                [services.users.methods.\"/test.Echo/*\"]\nidempotent = true";
    write(more, &of_other("orders"));
    let reloaded = manager.reload().unwrap();
    let applied = ["users.pool.calls_per_channel", "users.pool.checkout_timeout", "users.methods"];
    assert_eq!(reloaded.applied, applied);
    assert_eq!(reloaded.later, ["users.connection.keepalive_time"]);
    assert_eq!((reloaded.added, reloaded.stopped), (vec!["orders".into()], vec!["pay".into()]));
    assert_eq!(manager.services(), ["orders", "own", "users"]);
    assert!(matches!(pay.get(), Err(PoolError::Closed { .. })));
    let shared = users.get().unwrap();
    assert!(matches!(users.get(), Err(PoolError::CheckoutTimeout { .. })), "in 20 ms, not in 15 s");
    drop((held, shared));
    // Idempotent by the new rule, so that it is repeated.
    one.script(&[crate::echo::Step::Fail(grpcio::RpcStatusCode::UNAVAILABLE)]);
    users.call(&crate::echo::SAY, &b"7".to_vec(), &CallOptions::new()).unwrap();

    write("pool = { size = 0 }", "");
    let error = manager.reload().unwrap_err().to_string();
    assert!(error.contains("users.pool.size") || error.contains("pool.size"), "{error}");
    assert_eq!(manager.services(), ["orders", "own", "users"], "nothing has changed");
    write("pool = { size = 3 }", "");
    assert!(manager.reload().unwrap().applied.contains(&"users.pool.size".to_owned()));
    users.await_ready(Ready::All, crate::PATIENCE).unwrap();
    assert_eq!(users.metrics().connected, 3);
    std::fs::remove_dir_all(dir).unwrap();
}

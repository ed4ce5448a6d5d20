//! Settings from a file, their page, and managers that are opened with them.

use std::time::Duration;

#[cfg(feature = "config-file")]
use connection_pool_manager::client::{CallOptions, Code, Error, Ready, Reloaded};
use connection_pool_manager::client::{
    ClientMetrics, Config, ConnectionManager, PoolError, ServiceConfig,
};

use crate::alone;
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

#[test]
fn a_variable_that_is_probably_misspelt_is_named_and_those_of_grpc_are_not() {
    const TEST: &str =
        "config::a_variable_that_is_probably_misspelt_is_named_and_those_of_grpc_are_not";
    let own = [("GRPC_HOST", "localhost"), ("GRPC_POOL_SISE", "3")];
    let of_grpc = [("GRPC_VERBOSITY", "error"), ("GRPC_TRACE", ""), ("GRPC_DNS_RESOLVER", "ares")];
    let child = alone(TEST, &[&own[..], &of_grpc[..]].concat(), || {
        let config = ServiceConfig::from_env().unwrap();
        let said = "GRPC_POOL_SISE is not known; did you mean GRPC_POOL_SIZE?";
        assert_eq!((config.pool.size, config.advice()), (10, vec![said.to_owned()]));
    });
    if let Some(child) = child {
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }
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
        if name != "up" {
            service.pool.open_timeout = Duration::from_millis(200);
        }
        config.services.insert(name.to_owned(), service);
    }
    let error = ConnectionManager::open(&config, ClientMetrics::new()).unwrap_err();
    let PoolError::NotConnected { service, last_error, .. } = &error else { panic!("{error}") };
    assert_eq!(service, "down, gone");
    assert!(last_error.contains("failed to create connection for down: "), "{last_error}");
    config.services.get_mut("up").unwrap().pool.size = 0;
    let error = ConnectionManager::open(&config, ClientMetrics::new()).unwrap_err();
    let PoolError::Config(wrong) = error else { panic!("{error}") };
    assert_eq!(wrong.faults[0].key, "services.up.pool.size");
    config.services.get_mut("down").unwrap().pool.size = 0;
    let manager = ConnectionManager::new().unwrap();
    let opened = ConnectionManager::open(&config, ClientMetrics::new()).map(drop);
    for said in [opened, manager.apply(&config).map(drop)] {
        let PoolError::Config(wrong) = said.unwrap_err() else { panic!("nothing is told") };
        let keys: Vec<_> = wrong.faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["services.down.pool.size", "services.up.pool.size"]);
    }
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
                enable_metrics = false\nenable_logging = false\n\
                [services.users.methods.\"/test.Echo/*\"]\nidempotent = true";
    write(more, &of_other("orders"));
    let reloaded = manager.reload().unwrap();
    let applied = [
        "users.pool.calls_per_channel",
        "users.pool.checkout_timeout",
        "users.enable_logging",
        "users.methods",
    ];
    assert_eq!(reloaded.applied, applied);
    assert_eq!(reloaded.later, ["users.enable_metrics"]);
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
    // Somebody is writing it.
    for text in ["", "# soon\n", "[defaults]\nprofile = \"test\"\n", "[services]\n"] {
        std::fs::write(&path, text).unwrap();
        let error = manager.reload().unwrap_err().to_string();
        let rule = "clients.toml must have a service: without one, all would be stopped";
        assert!(error.contains(rule), "{error}");
    }
    assert_eq!(manager.services(), ["orders", "own", "users"], "nothing has changed");
    write("pool = { size = 3 }", "");
    assert!(manager.reload().unwrap().applied.contains(&"users.pool.size".to_owned()));
    users.await_ready(Ready::All, crate::PATIENCE).unwrap();
    assert_eq!(users.metrics().connected, 3);
    // Said by the program, it is meant; then there is nothing that an empty file would stop.
    assert_eq!(manager.apply(&Config::new()).unwrap().stopped, ["users"]);
    std::fs::write(&path, "").unwrap();
    assert_eq!(manager.reload().unwrap(), Reloaded::default());
    assert_eq!(manager.services(), ["own"]);
    std::fs::remove_dir_all(dir).unwrap();
}

/// A file of a test, gone with it.
#[cfg(feature = "config-file")]
struct File(std::path::PathBuf);

#[cfg(feature = "config-file")]
impl File {
    fn new(name: &str, text: &str) -> File {
        let name = format!("client-{name}-{}.toml", std::process::id());
        let file = File(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn open(&self) -> ConnectionManager {
        ConnectionManager::open(&Config::from_file(&self.0).unwrap(), ClientMetrics::new()).unwrap()
    }
}

#[cfg(feature = "config-file")]
impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(feature = "config-file")]
#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn other_addresses_and_other_ways_to_connect_replace_connections_and_no_call_fails() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    let (one, other) = (Echo::start(), Echo::start());
    let text = |port: u16, rest: &str| {
        format!(
            "[services.users]\nprofile = \"test\"\naddresses = [\"127.0.0.1:{port}\"]\n\
             pool = {{ size = 3 }}\ncall = {{ wait_for_ready = true }}\n{rest}"
        )
    };
    let file = File::new("ways", &text(one.port, ""));
    let manager = file.open();
    let pool = manager.pool("users").unwrap();
    pool.await_ready(Ready::All, crate::PATIENCE).unwrap();
    let say = |bytes: usize| pool.call(&crate::echo::SAY, &vec![b'7'; bytes], &CallOptions::new());
    let gone = |reason: &str, count: u32| {
        let series = "grpc_client_disconnects_total{reason=\"";
        let line = format!("{series}{reason}\",service=\"users\"}} {count}\n");
        crate::eventually(&line, || manager.metrics().encode().contains(&line));
    };
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    say(10).unwrap();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        file.write(&text(one.port, "connection = { max_message_bytes = 1000 }\n"));
        let reloaded = manager.reload().unwrap();
        assert_eq!(reloaded.applied, ["users.connection.max_message_bytes"]);
        gone("settings", 3);
        file.write(&text(other.port, "connection = { max_message_bytes = 1000 }\n"));
        assert_eq!(manager.reload().unwrap().applied, ["users.addresses"]);
        gone("moved", 3);
        // What no channel is made by replaces none.
        let pauses = "connection = { max_message_bytes = 1000, max_reconnect_delay = \"9s\", \
                      connect_timeout = \"9s\", dns_refresh = \"off\" }\n";
        file.write(&text(other.port, pauses));
        assert_eq!(manager.reload().unwrap().applied.len(), 3);
        let before = calls.load(Ordering::Relaxed);
        crate::eventually("calls go on", || calls.load(Ordering::Relaxed) > before + 50);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(pool.metrics().disconnects, 6);
    let Err(Error::Rpc(error)) = say(2000) else { panic!("it is too long") };
    assert_eq!(error.code, Code::ResourceExhausted);
    let before = one.calls();
    assert!((0..10).all(|_| say(10).is_ok()));
    assert_eq!(one.calls(), before);
}

#[cfg(feature = "config-file")]
#[test]
fn addresses_that_the_program_has_set_hold_until_those_of_the_file_change() {
    let (one, other, third) = (Echo::start(), Echo::start(), Echo::start());
    let text = |port: u16, size: u32| {
        format!(
            "[services.users]\nprofile = \"test\"\naddresses = [\"127.0.0.1:{port}\"]\n\
             pool = {{ size = {size} }}\n"
        )
    };
    let file = File::new("set", &text(one.port, 1));
    let manager = file.open();
    let pool = manager.pool("users").unwrap();
    let at = |port: u16| {
        let end = format!(":{port}");
        let status = pool.status();
        let here = status.connections.iter().filter(|one| one.address.ends_with(&end));
        here.filter(|one| one.age.is_some()).count()
    };
    pool.set_addresses(&[format!("127.0.0.1:{}", other.port)]).unwrap();
    crate::eventually("it moves", || at(other.port) == 1 && at(one.port) == 0);
    file.write(&text(one.port, 2));
    assert_eq!(manager.reload().unwrap().applied, ["users.pool.size"]);
    crate::eventually("it grows where it is", || at(other.port) == 2 && at(one.port) == 0);
    file.write(&text(third.port, 2));
    assert_eq!(manager.reload().unwrap().applied, ["users.addresses"]);
    crate::eventually("it moves", || at(third.port) == 2 && at(other.port) == 0);
}

#[cfg(feature = "config-file")]
#[test]
fn a_file_is_looked_at_by_itself_if_that_is_asked_for() {
    let echo = Echo::start();
    let text = |reload: &str, size: usize| {
        format!(
            "{reload}\n[services.users]\nprofile = \"test\"\nhost = \"127.0.0.1\"\nport = {}\n\
             pool = {{ size = {size} }}\n",
            echo.port
        )
    };
    let (file, still) = (
        File::new("watched", &text("reload = \"5ms\"", 1)),
        File::new("still", &text("reload = \"off\"", 1)),
    );
    let mut config = Config::from_file(&file.0).unwrap();
    let shown = format!("reload = 5ms ({}:1)\n", file.0.display());
    assert!(config.effective().starts_with(&shown), "{}", config.effective());
    // What the program changes before it opens them is not undone by a file that stays.
    config.services.get_mut("users").unwrap().pool.checkout_timeout = Duration::from_secs(3);
    let manager = ConnectionManager::open(&config, ClientMetrics::new()).unwrap();
    let unwatched = still.open();
    let size = |manager: &ConnectionManager| manager.pool("users").unwrap().metrics().size;
    file.write(&text("reload = \"5ms\"", 0));
    file.write(&text("", 2));
    still.write(&text("", 2));
    crate::eventually("it is taken", || size(&manager) == 2);
    file.write("junk");
    file.write(&format!(
        "{}[services.pay]\nprofile = \"test\"\nhost = \"127.0.0.1\"\n",
        text("", 3)
    ));
    crate::eventually("that, too", || {
        size(&manager) == 3 && manager.services() == ["pay", "users"]
    });
    std::fs::remove_file(&file.0).unwrap();
    assert_eq!((size(&manager), size(&unwatched)), (3, 1));
    assert_eq!(unwatched.reload().unwrap().applied, ["users.pool.size"]);

    for text in ["reload = 5\n", "reload = \"0s\"\n", "reload = \"8d\"\n", "reload = true\n"] {
        let error = Config::parse("clients.toml", text).unwrap_err().to_string();
        assert!(error.contains("reload (clients.toml:1) must be"), "{error}");
    }
}

#[cfg(feature = "config-file")]
#[test]
fn a_manager_that_looks_at_its_file_ends_with_its_last_user() {
    let echo = Echo::start();
    let text = |size: usize| {
        format!(
            "reload = \"1ms\"\n[services.users]\nprofile = \"test\"\nhost = \"127.0.0.1\"\n\
             port = {}\npool = {{ size = {size} }}\n",
            echo.port
        )
    };
    let file = File::new("ends", &text(1));
    for size in 2..40 {
        // It may be about to take the file when its last user goes, and must not wait for itself.
        let manager = file.open();
        let pool = manager.pool("users").unwrap();
        file.write(&text(size));
        drop(manager);
        crate::eventually("its pools are stopped", || {
            matches!(pool.get(), Err(PoolError::Closed { .. }))
        });
    }
}

//! What the log says of a service, and of gRPC's C core.

use std::sync::{Mutex, Once};
use std::time::Duration;

use connection_pool_manager::client::{
    BreakerConfig, CallOptions, ConnectionManager, Pool, Ready, ServiceConfig, TlsMode,
};
use grpcio::RpcStatusCode;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::echo::{free_port, Echo, Step, SAY};
use crate::proxy::Proxy;
use crate::{alone, eventually, settings, PATIENCE};

/// Keeps what is written, for all tests of the process. gRPC's own lines have a file of C++.
struct Kept(Mutex<Vec<(Level, String)>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        let is_grpc = record.file().is_some_and(|file| file.ends_with(".cc"));
        if is_grpc || line.starts_with("event=client_") {
            self.0.lock().unwrap().push((record.level(), line));
        }
    }

    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&KEPT).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
}

/// The lines about this service.
fn lines(service: &str) -> Vec<(Level, String)> {
    let of = format!(" service={service} ");
    let kept = KEPT.0.lock().unwrap();
    kept.iter().filter(|(_, line)| format!("{line} ").contains(&of)).cloned().collect()
}

/// The first line that begins so, once it is there.
#[track_caller]
fn line(service: &str, event: &str) -> (Level, String) {
    let begins = format!("event={event} service={service}");
    let found = || lines(service).into_iter().find(|(_, line)| line.starts_with(&begins));
    eventually(event, || found().is_some());
    found().unwrap()
}

#[track_caller]
fn says(service: &str, level: Level, event: &str, rest: &[&str]) {
    let (at, said) = line(service, event);
    assert_eq!(at, level, "{said}");
    for part in rest {
        assert!(said.contains(part), "{part}: {said}");
    }
}

fn call(pool: &Pool) -> bool {
    let options = CallOptions::new().metadata(&[("token", "hush-hush")]).unwrap();
    pool.call(&SAY, &b"hush-hush".to_vec(), &options).is_ok()
}

fn add(manager: &ConnectionManager, service: &str, config: &ServiceConfig) -> Pool {
    let pool = manager.add(service, config).unwrap();
    pool.await_ready(Ready::One, PATIENCE).unwrap();
    pool
}

#[test]
fn a_service_is_followed_from_its_start_to_its_stop_and_no_secret_is_told() {
    listen();
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let mut config = settings(proxy.port, 2);
    config.pool.leak_warning = Some(Duration::from_millis(1));
    config.breaker =
        Some(BreakerConfig { failures: 1, successes: 1, timeout: ms(1), ..Default::default() });
    config.retry = None;
    let manager = ConnectionManager::new().unwrap();
    let pool = add(&manager, "logged", &config);
    let at = format!("address=127.0.0.1:{} ", proxy.port);
    says("logged", Level::Info, "client_pool_started", &["addresses=1 size=2"]);
    says("logged", Level::Debug, "client_connected", &[&at, "took_ms="]);
    assert!(call(&pool));
    says(
        "logged",
        Level::Debug,
        "client_call",
        &["method=\"/test.Echo/Say\" code=OK attempts=1 took_ms="],
    );

    pool.resize(1).unwrap();
    says("logged", Level::Info, "client_resized", &["size=1"]);
    let held = pool.get_within(PATIENCE).unwrap();
    says("logged", Level::Warn, "client_leak", &["log.rs:", " thread=\"", "held_s="]);
    assert!(pool.get_within(Duration::from_millis(1)).is_err());
    says("logged", Level::Warn, "client_checkout_timeout", &["waited_ms=", "log.rs:"]);
    drop(held);

    echo.script(&[Step::Fail(RpcStatusCode::UNAVAILABLE)]);
    assert!(!call(&pool));
    says("logged", Level::Warn, "client_breaker_opened", &["method=\"/test.Echo/Say\""]);
    eventually("a probe is let through", || call(&pool));
    says("logged", Level::Info, "client_breaker_closed", &["method=\"/test.Echo/Say\""]);

    proxy.cut();
    says("logged", Level::Info, "client_lost", &[at.trim()]);
    pool.stop();
    says("logged", Level::Info, "client_stopped", &[]);
    for (_, line) in lines("logged") {
        assert!(!line.contains("hush-hush"), "{line}");
    }
}

#[test]
fn what_fails_to_connect_is_told_once_and_again_when_it_is_back() {
    listen();
    let port = free_port();
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("absent", &settings(port, 1)).unwrap();
    let mut quiet = settings(free_port(), 1);
    quiet.suppress_connection_errors = true;
    manager.add("suppressed", &quiet).unwrap();
    says("absent", Level::Warn, "client_connect_failed", &["failed to connect to all addresses"]);
    says("suppressed", Level::Debug, "client_connect_failed", &["error="]);
    eventually("it was tried often", || pool.metrics().connect_failures > 3);
    let failed = |(_, line): &&(Level, String)| line.contains("client_connect_failed");
    assert_eq!(lines("absent").iter().filter(failed).count(), 1);
    let _echo = Echo::on(port);
    says("absent", Level::Info, "client_reconnected", &["down_ms="]);
}

#[test]
fn a_service_that_is_not_to_be_logged_is_not() {
    listen();
    let echo = Echo::start();
    let mut config = settings(echo.port, 1);
    config.enable_logging = false;
    let manager = ConnectionManager::new().unwrap();
    let pool = add(&manager, "silent", &config);
    assert!(call(&pool));
    pool.resize(2).unwrap();
    let _held = pool.get().unwrap();
    pool.stop();
    // The same by one that is logged, whose last line comes after all of these.
    let mut after = settings(echo.port, 1);
    after.connection.keepalive_time = Some(ms(30_000));
    add(&manager, "after-silent", &after).stop();
    says("after-silent", Level::Warn, "client_unusual_setting", &["GOAWAY"]);
    says("after-silent", Level::Info, "client_stopped", &[]);
    assert_eq!(lines("silent"), []);
}

#[cfg(feature = "config-file")]
#[test]
fn what_is_wrong_with_a_file_of_settings_is_told_once_and_what_holds_stays() {
    use connection_pool_manager::client::{ClientMetrics, Config};

    listen();
    let echo = Echo::start();
    let name = format!("client-invalid-{}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let shown = path.display().to_string();
    let text = |size: usize| {
        format!(
            "reload = \"1ms\"\n[services.watched-file]\nprofile = \"test\"\nhost = \"127.0.0.1\"\n\
             port = {}\npool = {{ size = {size} }}\n",
            echo.port
        )
    };
    let told = || {
        let kept = KEPT.0.lock().unwrap();
        let of = |line: &&(Level, String)| {
            line.1.starts_with("event=client_settings_invalid ") && line.1.contains(&shown)
        };
        kept.iter().filter(of).cloned().collect::<Vec<_>>()
    };
    std::fs::write(&path, text(1)).unwrap();
    let config = Config::from_file(&path).unwrap();
    let manager = ConnectionManager::open(&config, ClientMetrics::new()).unwrap();
    let pool = manager.pool("watched-file").unwrap();
    // In one step, so that nobody reads a half of it.
    let replace = |text: &str| {
        let beside = path.with_extension("next");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &path).unwrap();
    };
    replace(&text(0));
    eventually("it is told", || !told().is_empty());
    replace("");
    eventually("that, too", || told().len() == 2);
    assert_eq!((pool.metrics().size, manager.services()), (1, vec!["watched-file".to_owned()]));
    replace(&text(2));
    eventually("it is taken", || pool.metrics().size == 2);
    let said = told();
    assert_eq!(said.len(), 2, "each once: {said:?}");
    assert!(said.iter().all(|(level, _)| *level == Level::Error));
    assert!(
        said[0].1.contains("pool.size") && said[1].1.contains("it has no services"),
        "{said:?}"
    );
    says("watched-file", Level::Info, "client_settings_applied", &["applied=\"pool.size\""]);
    std::fs::remove_file(&path).unwrap();
}

#[cfg(feature = "config-file")]
#[test]
fn a_file_of_tls_that_stays_bad_is_told_once_however_often_it_is_tried() {
    use connection_pool_manager::client::{ClientMetrics, Config, Event};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    listen();
    let echo = Echo::start();
    let name = format!("client-bad-tls-{}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let shown = path.display().to_string();
    let text = |tls: &str| {
        format!(
            "reload = \"1ms\"\n[services.looked-at]\nprofile = \"test\"\nhost = \"127.0.0.1\"\n\
             port = {}\nevents = {{ status_interval = \"1ms\" }}\n{tls}",
            echo.port
        )
    };
    std::fs::write(&path, text("")).unwrap();
    let config = Config::from_file(&path).unwrap();
    let manager = ConnectionManager::open(&config, ClientMetrics::new()).unwrap();
    // What looks at the file tells the status, too: each goes by the same thread, in turn.
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    manager.on_event(move |event: &Event| {
        if matches!(event, Event::Status(_)) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let told = || {
        let kept = KEPT.0.lock().unwrap();
        let of = |line: &&(Level, String)| {
            line.1.starts_with("event=client_settings_invalid ") && line.1.contains(&shown)
        };
        kept.iter().filter(of).count()
    };
    let beside = path.with_extension("next");
    std::fs::write(&beside, text("tls = { mode = \"on\", ca_file = \"/no/such/file\" }\n"))
        .unwrap();
    std::fs::rename(&beside, &path).unwrap();
    eventually("it is told", || told() > 0);
    let before = turns.load(Ordering::Relaxed);
    eventually("it was tried often", || turns.load(Ordering::Relaxed) > before + 20);
    assert_eq!(told(), 1);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn lines_of_grpc_come_to_the_log_instead_of_stderr() {
    const TEST: &str = "log::lines_of_grpc_come_to_the_log_instead_of_stderr";
    let child = alone(TEST, &[], || {
        listen();
        log::set_max_level(LevelFilter::Info);
        connection_pool_manager::client::redirect_log();
        // A server without TLS.
        let echo = Echo::start();
        let mut config = settings(echo.port, 1);
        config.tls.mode = TlsMode::On;
        let manager = ConnectionManager::new().unwrap();
        let _pool = manager.add("secure", &config).unwrap();
        eventually("gRPC tells of the handshake", || {
            let kept = KEPT.0.lock().unwrap();
            kept.iter().any(|(level, line)| *level == Level::Error && line.contains("Handshake"))
        });
    });
    if let Some(child) = child {
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && !said.contains(".cc:"), "{said}");
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

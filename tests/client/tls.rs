//! Handshakes, names, certificates of clients, and files that change.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use connection_pool_manager::client::testing::{FakeService, FakeSettings, FakeTls};
use connection_pool_manager::client::{
    interceptor, raw, CallOptions, ClientMetrics, Config, ConnectionManager, Credentials, Pool,
    PoolError, Ready, Reloaded, Resolver, ServiceConfig, TlsMode,
};
use grpcio::ChannelCredentialsBuilder;

use crate::pki::{Authority, Pair};
use crate::{alone, eventually, settings, PATIENCE};

const GET: &str = "/shop.Users/Get";

/// Files of a test, gone with it.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let dir = std::env::temp_dir().join(format!("client-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Files(dir)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        Some(path.to_str().unwrap().to_owned())
    }

    /// The certificate and key of a client, as settings name them.
    fn identity(&self, pair: &Pair) -> (Option<String>, Option<String>) {
        (self.write("cert.pem", &pair.cert), self.write("key.pem", &pair.key_pem()))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn server(pair: &Pair, client_ca: Option<&Authority>) -> FakeService {
    let tls = FakeTls {
        cert: pair.cert.clone(),
        key: pair.key_pem(),
        client_ca: client_ca.map(Authority::pem),
    };
    let methods = vec![GET.to_owned()];
    FakeService::with(FakeSettings { methods, tls: Some(tls), ..FakeSettings::default() }).unwrap()
}

/// Settings with TLS that trust this file.
fn trusting(fake: &FakeService, ca: Option<String>) -> ServiceConfig {
    let mut config = settings(fake.port(), 2);
    config.tls.mode = TlsMode::On;
    config.tls.ca_file = ca;
    config.pool.open_timeout = PATIENCE;
    config
}

fn call(pool: &Pool) -> bool {
    pool.call(&raw(GET), &b"7".to_vec(), &CallOptions::new()).is_ok()
}

/// It connects, and calls.
#[track_caller]
fn works(config: &ServiceConfig) -> Pool {
    let pool = Pool::open("users", config).unwrap();
    assert!(call(&pool));
    pool
}

/// It does not connect, and says why.
#[track_caller]
fn fails(config: &ServiceConfig) -> String {
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("users", config).unwrap();
    eventually("the reason is known", || pool.health().error.is_some_and(|it| it.contains("last")));
    assert!(!call(&pool));
    pool.health().error.unwrap()
}

#[test]
fn a_server_is_trusted_by_its_authority_and_its_name() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let fake = server(&ours.server("users", &["users.example.com", "=127.0.0.1"], 1), None);
    let files = Files::new("trust");
    let ca = files.write("ca.pem", &ours.pem());
    works(&trusting(&fake, ca.clone()));
    for (untrusted, file) in [("another", files.write("other.pem", &other.pem())), ("system", None)]
    {
        let said = fails(&trusting(&fake, file));
        assert!(said.contains("failed to connect to all addresses"), "{untrusted}: {said}");
    }
    let named = |name: &str| {
        let mut config = trusting(&fake, ca.clone());
        config.tls.server_name = Some(name.to_owned());
        config
    };
    works(&named("users.example.com"));
    fails(&named("orders.example.com"));

    let elsewhere = server(&ours.server("users", &["users.example.com"], 1), None);
    fails(&trusting(&elsewhere, ca.clone()));
    let mut config = trusting(&elsewhere, ca);
    config.tls.server_name = Some("users.example.com".to_owned());
    works(&config);
}

#[test]
fn the_systems_roots_are_trusted_where_no_file_is_named() {
    const TEST: &str = "tls::the_systems_roots_are_trusted_where_no_file_is_named";
    let ours = Authority::new("ours");
    let fake = server(&ours.server("users", &["=127.0.0.1"], 1), None);
    let files = Files::new("system");
    let roots = files.write("roots.pem", &ours.pem()).unwrap();
    let port = fake.port().to_string();
    // gRPC reads them once in a process.
    let variables = [("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &*roots), ("SERVER", &*port)];
    let child = alone(TEST, &variables, || {
        let port = std::env::var("SERVER").unwrap().parse().unwrap();
        let mut config = settings(port, 2);
        config.tls.mode = TlsMode::On;
        config.pool.open_timeout = PATIENCE;
        works(&config);
    });
    if let Some(child) = child {
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        assert_eq!(fake.calls(GET), 1);
    }
}

#[test]
fn a_name_that_is_resolved_here_is_the_one_that_a_certificate_must_have() {
    let ours = Authority::new("ours");
    let fake = server(&ours.server("users", &["users.example.com"], 1), None);
    let files = Files::new("name");
    let ca = files.write("ca.pem", &ours.pem());
    let named = |host: &str| {
        let mut config = trusting(&fake, ca.clone());
        config.addresses = vec![format!("{host}:{}", fake.port())];
        let here = |_: &str, port: u16| Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
        config.connection.resolver = Some(Resolver::new(here));
        config
    };
    works(&named("users.example.com"));
    fails(&named("orders.example.com"));
    let mut config = named("orders.example.com");
    config.tls.server_name = Some("users.example.com".to_owned());
    works(&config);
}

#[test]
fn a_client_shows_its_certificate_and_credentials_from_elsewhere_win() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let fake = server(&ours.server("users", &["=127.0.0.1"], 1), Some(&clients));
    let files = Files::new("client");
    let ca = files.write("ca.pem", &ours.pem());
    let mut config = trusting(&fake, ca);
    fails(&config);
    let known = clients.client("shop");
    (config.tls.cert_file, config.tls.key_file) = files.identity(&known);
    works(&config);

    let (roots, cert, key) = (ours.pem(), known.cert.clone(), known.key_pem());
    let mut made = trusting(&fake, Some("/nowhere/ca.pem".to_owned()));
    made.tls.credentials = Some(Credentials::new(move || {
        let builder = ChannelCredentialsBuilder::new().root_cert(roots.clone());
        builder.cert(cert.clone(), key.clone()).build()
    }));
    works(&made);
    assert!(!works(&made).reload().unwrap(), "there is nothing to read");

    (config.tls.cert_file, config.tls.key_file) = files.identity(&ours.client("stranger"));
    fails(&config);
}

#[test]
fn interceptors_are_asked_over_tls_too_and_in_their_order() {
    let ours = Authority::new("ours");
    let fake = server(&ours.server("users", &["=127.0.0.1"], 1), None);
    let files = Files::new("intercept");
    let mut config = trusting(&fake, files.write("ca.pem", &ours.pem()));
    for value in ["first", "second"] {
        config.interceptors.push(interceptor::metadata("x-shop", value));
    }
    works(&config);
    let received = fake.received();
    let one = received.iter().find(|one| one.method == GET).unwrap();
    let ours = one.metadata.iter().filter(|(key, _)| key == "x-shop");
    let values: Vec<&[u8]> = ours.map(|(_, value)| &value[..]).collect();
    assert_eq!(values, [&b"first"[..], b"second"]);
}

#[test]
fn bad_files_are_told_before_anything_is_dialled() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let fake = server(&ours.server("users", &["=127.0.0.1"], 1), None);
    let (pair, stranger) = (ours.client("shop"), other.client("shop"));
    let files = Files::new("bad");
    let path = |name: &str, bytes: &[u8]| files.write(name, bytes).unwrap();
    let cert = path("good.pem", &pair.cert);
    for (ca, cert, key, rule) in [
        (Some("/nowhere"), None, None, "tls.ca_file cannot be read: /nowhere"),
        (Some(&*path("junk", b"junk")), None, None, "tls.ca_file must hold certificates in PEM"),
        (Some("/dev/null"), None, None, "tls.ca_file must be a regular file"),
        (Some(&*path("zero", b"a\0b")), None, None, "tls.ca_file must be PEM, and has a zero byte"),
        (Some("/dev/null"), None, None, "tls.ca_file must be a regular file: /dev/null"),
        (None, Some(&*cert), None, "tls.cert_file must come with tls.key_file"),
        (None, None, Some(&*cert), "tls.key_file must come with tls.cert_file"),
        (None, Some(&*cert), Some(&*cert), "tls.key_file must hold a private key in PEM"),
        (
            None,
            Some(&*cert),
            Some(&*path("other-key", &stranger.key_pem())),
            "tls.key_file must be the key of the certificate in tls.cert_file",
        ),
        (
            None,
            Some(&*cert),
            Some(&*path("locked", &pair.locked_key_pem())),
            "without a passphrase",
        ),
    ] {
        let mut config = trusting(&fake, ca.map(str::to_owned));
        config.tls.cert_file = cert.map(str::to_owned);
        config.tls.key_file = key.map(str::to_owned);
        let said = ConnectionManager::new().unwrap().add("users", &config).unwrap_err();
        assert!(matches!(said, PoolError::Config(_)), "{said}");
        assert!(said.to_string().contains(rule), "{rule}: {said}");
    }
    assert_eq!(fake.connections(), 0);
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn files_that_change_replace_connections_without_a_failed_call_and_bad_ones_change_nothing() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let fake = server(&ours.server("users", &["=127.0.0.1"], 1), Some(&clients));
    let files = Files::new("reload");
    let mut config = trusting(&fake, files.write("ca.pem", &ours.pem()));
    (config.tls.cert_file, config.tls.key_file) = files.identity(&clients.client("first"));
    config.tls.reload = None;
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("users", &config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert_eq!(manager.reload().unwrap(), Reloaded::default(), "they are the same");
    let held = pool.get().unwrap();
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let gone = "grpc_client_disconnects_total{reason=\"tls\",service=\"users\"} ";
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(call(&pool));
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        files.identity(&clients.client("second"));
        assert_eq!(manager.reload().unwrap().certificates, ["users"]);
        eventually("one is replaced, and the other one is lent", || {
            manager.metrics().encode().contains(&format!("{gone}1\n"))
        });
        files.write("key.pem", b"junk");
        let said = manager.reload().unwrap_err().to_string();
        assert!(said.contains("tls.key_file must hold a private key"), "{said}");
        let before = calls.load(Ordering::Relaxed);
        eventually("calls go on", || calls.load(Ordering::Relaxed) > before + 50);
        drop(held);
        eventually("both are replaced", || {
            manager.metrics().encode().contains(&format!("{gone}2\n"))
        });
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn files_are_looked_at_again_by_themselves() {
    let ours = Authority::new("ours");
    let fake = server(&ours.server("users", &["=127.0.0.1"], 1), None);
    let files = Files::new("itself");
    let mut config = trusting(&fake, files.write("ca.pem", &ours.pem()));
    config.tls.reload = Some(Duration::from_millis(5));
    let pool = works(&config);
    // One that is still being connected is not counted when it goes.
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    let both = [ours.pem(), Authority::new("next").pem()].concat();
    files.write("ca.pem", &both);
    eventually("both connections are replaced", || pool.metrics().disconnects >= 2);
    assert!(call(&pool));
}

#[test]
fn other_files_and_another_mode_are_taken_while_the_pool_is_in_use() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let first = server(&ours.server("users", &["=127.0.0.1"], 1), None);
    let second = server(&other.server("users", &["users.example.com"], 1), None);
    let plain = FakeService::start(&[GET]).unwrap();
    let files = Files::new("paths");
    let mut config = Config::new();
    config.services.insert("users".to_owned(), trusting(&first, files.write("1", &ours.pem())));
    let manager = ConnectionManager::open(&config, ClientMetrics::new()).unwrap();
    let pool = manager.pool("users").unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();

    let mut next = trusting(&second, files.write("junk", b"junk"));
    next.tls.server_name = Some("users.example.com".to_owned());
    config.services.insert("users".to_owned(), next.clone());
    let said = manager.apply(&config).unwrap_err().to_string();
    assert!(said.contains("tls.ca_file must hold certificates in PEM"), "{said}");
    assert!(call(&pool), "nothing has changed");
    next.tls.ca_file = files.write("2", &other.pem());
    config.services.insert("users".to_owned(), next.clone());
    let applied = ["users.addresses", "users.tls.ca_file", "users.tls.server_name"];
    assert_eq!(manager.apply(&config).unwrap().applied, applied);
    eventually("it calls the second", || call(&pool) && second.calls(GET) > 0);

    next.addresses = vec![format!("127.0.0.1:{}", plain.port())];
    next.tls.mode = TlsMode::Off;
    config.services.insert("users".to_owned(), next.clone());
    let applied = ["users.addresses", "users.tls.mode"];
    assert_eq!(manager.apply(&config).unwrap().applied, applied);
    eventually("it calls in plaintext", || call(&pool) && plain.calls(GET) > 0);
    next.addresses = vec![format!("127.0.0.1:{}", second.port())];
    next.tls.mode = TlsMode::On;
    config.services.insert("users".to_owned(), next);
    let before = second.calls(GET);
    manager.apply(&config).unwrap();
    eventually("and with TLS again", || call(&pool) && second.calls(GET) > before + 2);
}

#[test]
fn a_connection_that_is_too_old_is_replaced_and_no_call_fails() {
    let fake = FakeService::start(&[GET]).unwrap();
    let mut config = settings(fake.port(), 2);
    config.pool.max_age = Some(Duration::from_millis(30));
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("users", &config).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    eventually("several are replaced", || {
        assert!(call(&pool));
        pool.metrics().disconnects > 4
    });
    let text = manager.metrics().encode();
    assert!(text.contains("grpc_client_disconnects_total{reason=\"age\",service=\"users\"}"));
}

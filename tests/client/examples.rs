//! What `examples/` shows of the client, run.

#[allow(dead_code)] // Its `main` is the program's.
#[path = "../../examples/basic.rs"]
mod basic;
#[allow(dead_code)] // As above.
#[path = "../../examples/policies.rs"]
mod policies;
#[cfg(feature = "config-file")]
#[allow(dead_code)] // As above.
#[path = "../../examples/pools.rs"]
mod pools;
#[allow(dead_code)] // As above.
#[path = "../../examples/tls.rs"]
mod tls;
#[allow(dead_code)] // As above.
#[path = "../../examples/watch.rs"]
mod watch;

use connection_pool_manager::client::testing::{FakeService, FakeSettings, FakeTls};

use crate::pki::Authority;

const GET: &str = "/shop.Users/Get";

#[test]
fn basic_calls_its_own_service_and_another() {
    basic::run(&[]).unwrap();
    let fake = FakeService::start(&[GET]).unwrap();
    basic::run(&[fake.address(), GET.to_owned()]).unwrap();
    assert_eq!(fake.calls(GET), 2);
    assert!(basic::run(&[fake.address()]).is_err());
}

#[test]
fn tls_trusts_an_authority_and_shows_a_certificate() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let pair = ours.server("users", &["users.example.com"], 1);
    let (cert, key) = (pair.cert.clone(), pair.key_pem());
    let tls = FakeTls { cert, key, client_ca: Some(clients.pem()) };
    let methods = vec![GET.to_owned()];
    let settings = FakeSettings { methods, tls: Some(tls), ..FakeSettings::default() };
    let fake = FakeService::with(settings).unwrap();
    let dir = std::env::temp_dir().join(format!("client-example-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let shop = clients.client("shop");
    let args = [
        fake.address(),
        GET.to_owned(),
        write("ca.pem", &ours.pem()),
        "users.example.com".to_owned(),
        write("cert.pem", &shop.cert),
        write("key.pem", &shop.key_pem()),
    ];
    tls::run(&args).unwrap();
    assert_eq!(fake.calls(GET), 1);
    let usage = tls::run(&args[..1]).unwrap_err().to_string();
    assert!(usage.starts_with("usage: "), "{usage}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn policies_repeat_hedge_and_end_in_time() {
    policies::run().unwrap();
}

#[cfg(feature = "config-file")]
#[test]
fn pools_are_opened_from_a_text() {
    pools::run().unwrap();
}

#[test]
fn watch_sees_a_service_go_and_come_back() {
    watch::run().unwrap();
}

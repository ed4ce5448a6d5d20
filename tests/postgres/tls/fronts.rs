//! Against servers that are not PostgreSQL: names, versions, the direct handshake,
//! and servers that never answer.

use openssl::ssl::SslVersion;

use super::front::{mute, overloaded, Seen};
use super::*;

#[test]
fn names_are_compared_as_libpq_does() {
    let service = world().service();
    let accepted = |common: &str, names: &[&str], host: &str| {
        let front = Front::new(&world().ours.server(common, names, 1), CLOSES);
        let error =
            refusal(&service, &to_front(&front, host, "sslmode=verify-full sslrootcert=ca.pem"));
        // What is accepted gets as far as the front's goodbye.
        let accepted = error.reason == "DATABASE_UNAVAILABLE";
        // More than once: a goodbye may pass by itself.
        assert_eq!(!front.seen().is_empty(), accepted, "{error}");
        assert!(accepted || error.message.contains("certificate names"), "{error}");
        accepted
    };
    assert!(accepted("x", &["a.example", "b.example"], "b.example"));
    assert!(accepted("x", &["B.Example"], "b.example"), "letters' case does not matter");
    assert!(accepted("x", &["*.example.org"], "a.example.org"));
    assert!(!accepted("x", &["*.example.org"], "example.org"));
    assert!(!accepted("x", &["*.example.org"], "a.b.example.org"));
    assert!(!accepted("x", &["a*.example.org"], "ab.example.org"), "a whole label only");
    assert!(accepted("b.example", &[], "b.example"), "the common name, for want of others");
    assert!(accepted("b.example", &["=10.0.0.1"], "b.example"), "or of others of its kind");
    assert!(!accepted("b.example", &["a.example"], "b.example"));
    assert!(accepted("x", &["=127.0.0.1"], "127.0.0.1"));
    assert!(!accepted("127.0.0.1", &["=127.0.0.2"], "127.0.0.1"));
    assert!(accepted("127.0.0.1", &[], "127.0.0.1"), "the common name, for want of others");
    assert!(!accepted("127.0.0.2", &[], "127.0.0.1"));
    assert!(!accepted("127.0.0.1", &["a.example"], "127.0.0.1"));
    assert!(!accepted("x", &["127.0.0.1"], "127.0.0.1"), "an address is no DNS name");
}

#[test]
fn the_server_name_is_sent_unless_it_is_an_address() {
    let service = world().service();
    let front = Front::new(&world().ours.server("x", &[], 1), CLOSES);
    for (host, name) in [("db.example", Some("db.example")), ("127.0.0.1", None)] {
        refusal(&service, &to_front(&front, host, "sslmode=require"));
        assert_eq!(front.seen().last().unwrap().server_name.as_deref(), name);
    }
}

#[test]
fn old_versions_of_tls_are_refused() {
    let service = world().service();
    let pair = world().ours.server("x", &[], 1);
    let front = |newest| Front::new(&pair, Manner { newest, ..CLOSES });
    let old = front(SslVersion::TLS1_1);
    assert_rejected(&service, &to_front(&old, "localhost", "sslmode=require"), "TLS: ");
    assert_eq!(old.seen(), []);
    let good = front(SslVersion::TLS1_2);
    refusal(&service, &to_front(&good, "localhost", "sslmode=require"));
    assert!(!good.seen().is_empty());
}

#[test]
fn a_direct_handshake_needs_a_server_that_says_it_is_postgresql() {
    let service = world().service();
    let pair = world().ours.server("x", &["localhost"], 1);
    let to = Some(world().postgres.port());
    for newest in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let keys = "sslmode=verify-full sslrootcert=ca.pem sslnegotiation=direct";
        let front = Front::new(&pair, Manner { alpn: true, to, newest });
        let lease = leased(&service, &to_front(&front, "localhost", keys));
        assert_cancellable(&lease);
        let seen = Seen {
            direct: true,
            server_name: Some("localhost".to_owned()),
            alpn: Some("postgresql".to_owned()),
        };
        let handshakes = front.seen();
        assert!(handshakes.len() >= 2, "the session and its cancel requests: {handshakes:?}");
        assert!(handshakes.iter().all(|one| *one == seen), "{handshakes:?}");
        let other = Front::new(&pair, Manner { alpn: false, to, newest });
        assert_rejected(&service, &to_front(&other, "localhost", keys), "does not confirm by ALPN");
    }
    // PostgreSQL 15 takes the handshake for a broken start.
    let error = refusal(&service, &by_name("sslmode=require sslnegotiation=direct"));
    assert!(!error.message.is_empty());
}

#[test]
fn a_mute_server_leaves_time_for_the_next_one() {
    let service = world().service();
    let ports = format!("port={},{}", mute(), world().postgres.port());
    for mode in ["disable", "require"] {
        let hosts = "host=localhost,localhost hostaddr=127.0.0.1,127.0.0.1";
        leased(
            &service,
            &world().dsn(&format!("{hosts} {ports} sslmode={mode} connect_timeout=4")),
        );
    }
    let alone = refusal(&service, &by_name(&format!("port={} connect_timeout=1", mute())));
    assert_error(&alone, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
    assert!(alone.message.contains("no answer within"), "{alone}");
}

#[test]
fn a_server_that_answers_the_ssl_request_with_an_error_is_away_and_is_not_quoted() {
    let service = world().service();
    let port = overloaded("could not fork: believe me");
    for mode in ["prefer", "require"] {
        let error = refusal(&service, &by_name(&format!("port={port} sslmode={mode}")));
        // The breaker may open on the way.
        assert_eq!(error.code, code::UNAVAILABLE, "{error}");
        assert!(error.message.contains("refused the SSL request with an error"), "{error}");
        assert!(!error.message.contains("believe me"), "{error}");
    }
}

#[test]
fn the_error_names_the_fault_of_each_server() {
    let service = world().service();
    let port = world().postgres.port();
    let dsn = world().dsn(&format!(
        "host=nowhere,localhost hostaddr=127.0.0.1,127.0.0.1 port={port},1 sslmode=verify-full \
         sslrootcert=ca.pem"
    ));
    let error = refusal(&service, &dsn);
    // The second one may come back by itself.
    assert_error(&error, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
    for part in [", not nowhere", "localhost:1: "] {
        assert!(error.message.contains(part), "{error}");
    }
}

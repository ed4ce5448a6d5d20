//! Who gets in at the HTTP ports: tokens, another address, TLS; and who does not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{command, eventually, now, port_of, refusal, Service, PATIENCE};
use connection_pool_manager::dev_certs;
use openssl::sha::sha256;
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion};
use rustix::process::Signal;

const OBSERVER: &str = "observer-token-7Q";
const ADMIN: &str = "admin-token-8R";
const USER: &str = "user-token-9S";
const EXPIRED: &str = "expired-token-1T";

/// A configuration file with identities, in a directory of its own.
fn identities() -> (tempfile::TempDir, String) {
    let digest = |token: &str| {
        let bytes = sha256(token.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let mut text = String::new();
    for (name, token, more) in [
        ("prometheus", OBSERVER, "role = \"observer\""),
        ("operator", ADMIN, "role = \"admin\""),
        ("app", USER, ""),
    ] {
        let digest = digest(token);
        text.push_str(&format!(
            "[identities.{name}]\n{more}\n[[identities.{name}.tokens]]\nsha256 = \"{digest}\"\n"
        ));
    }
    text.push_str(&format!(
        "[[identities.prometheus.tokens]]\nsha256 = \"{}\"\nexpires = 2020-01-01T00:00:00Z\n",
        digest(EXPIRED)
    ));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, text).unwrap();
    (dir, path.display().to_string())
}

/// The whole answer to a request with these headers.
fn answer(mut stream: impl Read + Write, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    // Who is not let in may be cut off while it writes or reads: then there is no answer.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn only_who_has_the_token_of_a_role_sees_more_than_liveness() {
    let (_dir, config) = identities();
    let service = Service::with(&["--config", &config, "--http-auth"]);
    let asked = |path: &str, headers: &str| answer(connect(service.http_port), path, headers);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for path in ["/metrics", "/health/ready", "/health/ready?tenants=all", "/"] {
        let none = asked(path, "");
        assert_eq!(status(&none), "401", "{path}: {none}");
        let challenge = "WWW-Authenticate: Bearer realm=\"connection-pool-manager\"";
        assert!(none.contains(&format!("{challenge}\r\n")), "{none}");
        for token in ["wrong", &OBSERVER.to_uppercase(), &OBSERVER[1..], EXPIRED] {
            let wrong = asked(path, &bearer(token));
            assert_eq!(status(&wrong), "401", "{path} {token}: {wrong}");
            assert!(
                wrong.contains(&format!("{challenge}, error=\"invalid_token\"\r\n")),
                "{wrong}"
            );
        }
        assert_eq!(status(&asked(path, &bearer(USER))), "403", "{path}");
    }
    for (path, headers) in [
        (format!("/metrics?access_token={OBSERVER}"), String::new()),
        (format!("/metrics?authorization=Bearer%20{OBSERVER}"), String::new()),
        ("/metrics".to_owned(), format!("X-Authorization: Bearer {OBSERVER}\r\n")),
        ("/metrics".to_owned(), format!("Authorization : Bearer {OBSERVER}\r\n")),
        ("/metrics".to_owned(), format!("Authorization: {OBSERVER}\r\n")),
        ("/metrics".to_owned(), format!("Authorization: Basic {OBSERVER}\r\n")),
        ("/metrics".to_owned(), format!("Cookie: token={OBSERVER}\r\n")),
        ("/metrics".to_owned(), bearer(OBSERVER) + &bearer("wrong")),
        ("/metrics/../metrics".to_owned(), String::new()),
        ("//metrics".to_owned(), String::new()),
    ] {
        assert_eq!(status(&asked(&path, &headers)), "401", "{path} {headers}");
    }
    for token in [OBSERVER, ADMIN] {
        for path in ["/metrics", "/health/ready"] {
            assert_eq!(status(&asked(path, &bearer(token))), "200", "{path} {token}");
        }
        assert_eq!(status(&asked("/", &bearer(token))), "404");
    }
    for headers in [String::new(), bearer("wrong"), bearer(USER)] {
        for path in ["/health", "/health/live"] {
            assert_eq!(status(&asked(path, &headers)), "200", "{path}");
        }
    }
    // Counted, and logged without the token, fifty lines in ten seconds.
    for _ in 0..200 {
        asked("/metrics", &bearer("wrong"));
    }
    let series = "connpool_auth_failures_total{reason=\"unknown_token\"} ";
    let mut page = String::new();
    // One that was slow to build is shown again for some moments.
    eventually("all are counted", || {
        page = asked("/metrics", &bearer(OBSERVER));
        let counted = page.lines().find_map(|line| line.strip_prefix(series)).unwrap();
        counted.parse::<f64>().unwrap() >= 200.0
    });
    let text = service.log().text();
    assert!(text.contains("event=http_denied reason=unknown_token peer=127.0.0.1:"), "{text}");
    for secret in [OBSERVER, ADMIN, USER, EXPIRED] {
        assert!(!text.contains(secret) && !page.contains(secret), "{secret}");
    }
    assert!(text.matches("event=http_denied").count() < 200, "{text}");
}

#[test]
fn with_another_address_the_first_one_serves_liveness_only() {
    let service = Service::with(&["--http-admin", "127.0.0.1:0"]);
    let line = service.log().wait_for("event=listening");
    let admin = port_of(&line, "http_admin");
    for (path, main, other) in [
        ("/health", "200", "200"),
        ("/health/live", "200", "200"),
        ("/health/ready", "404", "200"),
        ("/metrics", "404", "200"),
        ("/", "404", "404"),
    ] {
        assert_eq!(status(&answer(connect(service.http_port), path, "")), main, "{path}");
        assert_eq!(status(&answer(connect(admin), path, "")), other, "{path}");
    }
    // Who fills one leaves the other usable.
    let held: Vec<TcpStream> = (0..100).map(|_| connect(service.http_port)).collect();
    assert_eq!(status(&answer(connect(admin), "/metrics", "")), "200");
    drop(held);
}

fn tls(port: u16) -> SslStream<TcpStream> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder.build().connect("localhost", connect(port)).expect("a handshake")
}

#[test]
fn with_tls_nothing_else_is_served_and_a_reload_shows_the_new_certificate() {
    let service = Service::with(&["--http-tls"]);
    let port = service.http_port;
    let shown = || tls(port).ssl().peer_certificate().unwrap().to_pem().unwrap();
    let https = |path: &str| answer(tls(port), path, "");
    assert!(https("/health").ends_with("\r\n\r\nOK"));
    let page = https("/metrics");
    assert!(page.len() > 20_000 && page.contains("connpool_build_info"), "{page}");
    // Plain text at the port of TLS gets no answer of HTTP.
    assert_eq!(answer(connect(port), "/metrics", "").matches("HTTP/").count(), 0);
    let line = service.log().wait_for("event=http_handshake_failed reason=tls ");
    assert!(line.contains(" peer=127.0.0.1:"), "{line}");
    // TLS 1.1, even of a client that takes anything.
    let mut old = SslConnector::builder(SslMethod::tls_client()).unwrap();
    old.set_verify(SslVerifyMode::NONE);
    old.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
    old.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    old.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    assert!(old.build().connect("localhost", connect(port)).is_err());
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut one = SslConnector::builder(SslMethod::tls_client()).unwrap();
        one.set_verify(SslVerifyMode::NONE);
        one.set_min_proto_version(Some(version)).unwrap();
        one.set_max_proto_version(Some(version)).unwrap();
        let stream = one.build().connect("localhost", connect(port)).expect("a handshake");
        assert_eq!(status(&answer(stream, "/health", "")), "200");
    }

    let old = fs::read(service.certs.path().join("cert.pem")).unwrap();
    assert_eq!(shown(), old);
    let dir = tempfile::tempdir_in(service.certs.path()).unwrap();
    let made = dev_certs::write(dir.path(), &["localhost", "127.0.0.1"]).unwrap();
    let new = fs::read(&made.cert).unwrap();
    fs::rename(&made.key, service.certs.path().join("key.pem")).unwrap();
    fs::rename(&made.cert, service.certs.path().join("cert.pem")).unwrap();
    service.signal(Signal::HUP);
    eventually("the new one is shown", || shown() == new);
}

#[test]
fn tls_at_the_plain_port_is_refused_at_once() {
    let service = Service::start();
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    let began = now();
    assert!(builder.build().connect("localhost", connect(service.http_port)).is_err());
    // For people: it depends on the machine.
    println!("refused after {:?}", began.elapsed());
    assert_eq!(service.get("/health").0, 200);
}

#[test]
fn handshakes_that_do_not_go_on_hold_nothing_for_long() {
    let service = Service::with(&["--http-tls"]);
    let https = || answer(tls(service.http_port), "/health", "");
    assert_eq!(status(&https()), "200");
    let (threads, descriptors) = (service.threads(), service.descriptors());
    let silent: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = connect(service.http_port);
            // Some have begun.
            let begun: &[u8] =
                if n % 2 == 0 { b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" } else { b"" };
            let _ = stream.write_all(begun);
            stream
        })
        .collect();
    // While they stay, others are served, and no more than 64 are held at a time.
    for _ in 0..3 {
        assert_eq!(status(&https()), "200");
    }
    assert!(service.threads() <= threads + 80, "{} threads", service.threads());
    eventually("threads and descriptors are given back", || {
        service.threads() <= threads + 8 && service.descriptors() <= descriptors + 8
    });
    assert_eq!(status(&https()), "200");
    drop(silent);
    let text = service.log().text();
    let told = text.matches("event=http_handshake_failed reason=timed_out").count();
    assert!(told <= 2, "{told} lines:\n{text}");
}

#[test]
fn doors_that_could_not_be_opened_fail_the_start() {
    for (arguments, told) in [
        (&["--insecure", "--http-tls"][..], "http_tls needs a certificate"),
        (&["--insecure", "--http-auth"], "http_auth needs an identity with role"),
        (
            &["--insecure", "--http", "127.0.0.1:9", "--http-admin", "127.0.0.1:9"],
            "http_admin must be another address than http",
        ),
        (&["--http-admin", "nonsense"], "http_admin (--http-admin) must be HOST:PORT or :PORT"),
    ] {
        let mut program = command();
        program.arg("serve").args(arguments);
        let said = refusal(program);
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
}

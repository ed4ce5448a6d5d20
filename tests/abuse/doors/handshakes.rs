//! The wrong protocol at a port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};

use super::service;
use crate::harness::h2::H2;
use crate::harness::{eventually, tenant, PATIENCE};

/// Whether a TLS handshake of this version at most succeeds.
fn handshake(port: u16, most: SslVersion) -> bool {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_min_proto_version(None).unwrap();
    builder.set_max_proto_version(Some(most)).unwrap();
    // Otherwise OpenSSL itself would refuse to speak what is old.
    builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    builder.set_alpn_protos(b"\x02h2").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    builder.build().connect("localhost", socket).is_ok()
}

#[test]
fn plaintext_and_old_tls_end_at_the_port() {
    let (service, tenant) = (service(&[]), tenant());
    let lease = service.lease(&tenant);
    let mut plain = H2::connect(service.port).unwrap();
    assert!(plain.read().is_none(), "plaintext is answered by nothing");
    for (version, good) in [
        (SslVersion::TLS1, false),
        (SslVersion::TLS1_1, false),
        (SslVersion::TLS1_2, true),
        (SslVersion::TLS1_3, true),
    ] {
        assert_eq!(handshake(service.port, version), good, "{version:?}");
    }
    assert_eq!(lease.value("select 7"), "7");
}

#[test]
fn tls_ends_at_a_port_without_it() {
    let service = service(&["--insecure"]);
    assert!(!handshake(service.port, SslVersion::TLS1_3));
    let mut socket = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"\x16\x03\x01\x00\x05hello").unwrap();
    // What it says, if anything, is HTTP/2's own preface; then it hangs up.
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said);
    assert!(said.len() < 1024, "{}", said.len());
    service.lease(&tenant());
}

/// What OpenSSL's program says that wants another handshake within its connection. No library
/// offers it any more; the program does, for a line with an R.
fn says_of_another_handshake(port: u16) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-alpn", "h2", "-connect"])
        .arg(format!("127.0.0.1:{port}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    client.stdin.as_mut().unwrap().write_all(b"R\n").unwrap();
    let mut status = None;
    eventually("it gives up", || {
        status = client.try_wait().unwrap();
        status.is_some()
    });
    // What it shows of HTTP/2 is no text.
    let mut said = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    client.stderr.take().unwrap().read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("RENEGOTIATING") && !status.unwrap().success(), "{said}");
    said
}

#[test]
fn a_handshake_within_a_connection_is_refused() {
    let (service, tenant) = (service(&[]), tenant());
    let lease = service.lease(&tenant);
    // It also gives up if HTTP/2's first frame comes before the refusal.
    let early = |said: &String| said.contains("unexpected record");
    let mut tries = (0..20).map(|_| says_of_another_handshake(service.port));
    let said = tries.find(|said| !early(said)).expect("a refusal that comes first");
    assert!(said.contains("no renegotiation"), "{said}");
    assert_eq!(lease.value("select 7"), "7");
}

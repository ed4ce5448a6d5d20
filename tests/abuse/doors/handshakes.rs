//! The wrong protocol at a port.

use std::io::{Read, Write};
use std::net::TcpStream;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};

use super::service;
use crate::harness::h2::H2;
use crate::harness::{tenant, PATIENCE};

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

//! SIGHUP: what is read again while the service runs.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::{eventually, tenant, Service};
use connection_pool_manager::dev_certs;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use rustix::process::Signal;

/// The certificate that a new handshake is shown, as PEM.
fn shown(service: &Service) -> Vec<u8> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_alpn_protos(b"\x02h2").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
    let stream = builder.build().connect("localhost", socket).expect("a handshake");
    stream.ssl().peer_certificate().unwrap().to_pem().unwrap()
}

fn file(service: &Service, name: &str) -> PathBuf {
    service.certs.path().join(name)
}

/// As an operator would: the new files take the place of the old ones.
fn renew(service: &Service) -> Vec<u8> {
    let dir = tempfile::tempdir_in(service.certs.path()).unwrap();
    let made = dev_certs::write(dir.path(), &["localhost", "127.0.0.1"]).unwrap();
    fs::rename(&made.key, file(service, "key.pem")).unwrap();
    fs::rename(&made.cert, file(service, "cert.pem")).unwrap();
    fs::read(file(service, "cert.pem")).unwrap()
}

#[test]
fn new_connections_get_the_new_certificate_and_old_ones_stay_open() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let old = fs::read(file(&service, "cert.pem")).unwrap();
    assert_eq!(shown(&service), old);
    let new = renew(&service);
    assert_eq!(shown(&service), old, "nothing changes before the signal");
    service.signal(Signal::HUP);
    service.log().wait_for("event=certificate_reloaded");
    service.log().wait_for("event=reloaded applied=\"certificate\" ");
    eventually("the new one is shown", || shown(&service) == new);
    lease.run(&["select 1"]);
    assert!(service.metric("connpool_certificate_expiry_timestamp_seconds").unwrap() > 1.7e9);
}

#[test]
fn a_bad_file_changes_nothing_and_is_logged() {
    let service = Service::start();
    let old = fs::read(file(&service, "cert.pem")).unwrap();
    fs::write(file(&service, "cert.pem"), "-----BEGIN CERTIFICATE-----\nno\n").unwrap();
    service.signal(Signal::HUP);
    let line = service.log().wait_for("event=reload_failed");
    assert!(line.contains("no PEM certificate (cert: --cert)"), "{line}");
    assert_eq!(shown(&service), old);
    let new = renew(&service);
    fs::set_permissions(file(&service, "key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    service.signal(Signal::HUP);
    service.log().wait_for("event=key_not_private");
    eventually("the new one is shown", || shown(&service) == new);
}

#[test]
fn without_tls_there_is_no_certificate_to_reload() {
    let service = Service::with(&["--insecure"]);
    service.signal(Signal::HUP);
    let line = service.log().wait_for("event=reloaded ");
    assert!(line.contains("applied=\"\" needs_restart=\"\" tenants_not_changed=0"), "{line}");
    assert!(!service.log().text().contains("event=certificate_reload"));
    assert_eq!(service.metric("connpool_certificate_expiry_timestamp_seconds"), None);
}

//! Certificates of clients.

use std::time::Duration;

use connection_pool_manager::client::service::Client;

use super::{assert_unknown, file, knock, one_shot, OPS};
use crate::harness::pki::Authority;
use crate::harness::{code, eventually, refused, tenant, Service};

/// A service that asks for certificates of this authority.
fn service(authority: &Authority, mode: &str) -> Service {
    let text = format!(
        "[identities.shop]\n\
         certificates = [\"spiffe://x/shop\", \"urn:x:shop\", \"shop.example.com\", \"shop\"]\n\
         [identities.web]\ncertificates = [\"web.example.com\"]\n\
         [identities.ops]\ntokens = [{{ sha256 = \"{}\" }}]\n\
         [service]\nclient_certificates = \"{mode}\"\n",
        super::digest(OPS)
    );
    let (dir, path) = file(&text);
    let ca = dir.path().join("clients.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    Service::with(&["--config", path.to_str().unwrap(), "--client-ca", ca.to_str().unwrap()])
}

/// The handshakes that have failed so far.
fn failures(service: &Service) -> f64 {
    let (_, page) = service.get("/metrics");
    let failed = page.lines().filter_map(|line| {
        line.strip_prefix("connpool_tls_handshake_failures_total{")?.split_once("} ")
    });
    failed.map(|(_, count)| count.parse::<f64>().unwrap()).sum()
}

/// Its handshakes fail, so that gRPC never has a connection.
#[track_caller]
fn stays_outside(service: &Service, client: &Client) {
    let before = failures(service);
    eventually("a handshake fails", || {
        let error = refused(client.with_timeout(Duration::from_secs(1)).stats("any"));
        let outside = [code::DEADLINE_EXCEEDED, code::UNAVAILABLE];
        assert!(outside.contains(&error.code) && error.info.is_none(), "{error:?}");
        failures(service) > before
    });
}

#[test]
fn without_a_good_certificate_nobody_gets_through_the_handshake() {
    let (authority, other) = (Authority::new("clients"), Authority::new("clients"));
    let good = authority.client_named("shop", &[], 1);
    let (service, tenant) = (service(&authority, "required").with_certificate(&good), tenant());
    let lease = service.lease(&tenant);
    let expired = authority.client_named("shop", &[], -1);
    let forged = other.client_named("shop", &[], 1);
    stays_outside(&service, &service.nameless());
    stays_outside(&service, &service.nameless().with_token(OPS).unwrap());
    stays_outside(&service, &service.client_with(&expired));
    stays_outside(&service, &service.client_with(&forged));
    assert_eq!(lease.value("select 7"), "7");
}

#[test]
fn the_most_specific_names_of_a_certificate_tell_who_it_is() {
    let authority = Authority::new("clients");
    let (service, tenant) = (service(&authority, "required"), tenant());
    let client = |common: &str, names: &[&str]| {
        service.client_with(&authority.client_named(common, names, 1))
    };
    for (common, names) in [
        ("shop", &[][..]),
        ("other", &["shop.example.com"]),
        ("other", &["x.example.com", "shop.example.com"]),
        ("other", &["spiffe://x/shop", "web.example.com"]),
        ("web.example.com", &["shop.example.com"]),
    ] {
        let lease = client(common, names).acquire(&tenant.name, &tenant.dsn);
        let lease = lease.unwrap_or_else(|error| panic!("{common} {names:?}: {error}"));
        // It is `shop`, for whom the lease is there on another connection as well.
        let shop = client("shop", &[]);
        shop.release(&lease.connection_id).unwrap();
    }
    for (common, names) in [
        ("ops", &[][..]),
        ("shop", &["other.example.com"]),
        ("shop", &["spiffe://x/other", "shop.example.com"]),
        ("Shop", &[]),
        // Names that are none of a URI, and read like one.
        ("spiffe://x/shop", &[]),
        ("urn:x:shop", &[]),
        ("other", &["dns:urn:x:shop"]),
        ("shop", &["dns:urn:x:other"]),
    ] {
        assert_unknown(&knock(&client(common, names), &tenant), "unlisted_certificate");
    }
    let both = client("x", &["web.example.com", "shop.example.com"]);
    assert_unknown(&knock(&both, &tenant), "ambiguous_certificate");
    let with_token = client("unlisted", &[]).with_token(OPS).unwrap();
    with_token.execute(&one_shot(&tenant)).expect("the token tells who it is");
}

#[test]
fn where_a_certificate_is_optional_a_token_does_and_a_bad_certificate_does_not() {
    let (authority, other) = (Authority::new("clients"), Authority::new("others"));
    let (service, tenant) = (service(&authority, "optional"), tenant());
    assert_unknown(&knock(&service.nameless(), &tenant), "no_credentials");
    let known = service.nameless().with_token(OPS).unwrap();
    known.execute(&one_shot(&tenant)).expect("a token is enough");
    let shop = service.client_with(&authority.client_named("shop", &[], 1));
    shop.execute(&one_shot(&tenant)).expect("so is a certificate");
    stays_outside(&service, &service.client_with(&other.client_named("shop", &[], 1)));
}

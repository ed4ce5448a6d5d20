//! `connection-pool-manager health`.

use std::process::Output;

use connection_pool_manager::client::testing::{Answer, FakeService};

use crate::harness::{command, Service};

const CHECK: &str = "/grpc.health.v1.Health/Check";

fn health(arguments: &[&str]) -> Output {
    command().arg("health").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn it_tells_how_any_service_is_and_probes_only_if_forced() {
    let fake = FakeService::start(&[CHECK]).unwrap();
    let address = fake.address();
    let plain = health(&["--insecure", "--address", &address]);
    let message = "Connection pool: 1/1 connections active, 0 errors, 0 health check failures";
    assert_eq!(said(&plain), format!("{address}: healthy ({message})\n"));
    assert!(plain.status.success());
    assert_eq!(fake.calls(CHECK), 0);
    let arguments = ["--insecure", "--address", &address, "--force", "--service", "shop.Users"];
    assert!(health(&arguments).status.success());
    assert_eq!(fake.received()[0].message, b"\x0a\x0ashop.Users");
    fake.always(CHECK, Answer::Bytes(vec![8, 2]));
    let sick = health(&arguments);
    assert_eq!(sick.status.code(), Some(1));
    assert!(said(&sick).contains("unhealthy"), "{sick:?}");
    assert!(said(&sick).contains("does not serve"), "{sick:?}");
    fake.always(CHECK, Answer::Hang);
    let mute = health(&["--insecure", "--address", &address, "--force", "--timeout", "1s"]);
    assert_eq!(mute.status.code(), Some(1));
    assert!(said(&mute).contains("no answer within 1 s"), "{mute:?}");
}

#[test]
fn it_asks_our_own_service_over_tls() {
    let service = Service::start();
    let address = format!("localhost:{}", service.port);
    let ca = service.certs.path().join("cert.pem");
    let well = health(&["--force", "--address", &address, "--ca-file", ca.to_str().unwrap()]);
    assert!(well.status.success(), "{well:?}");
    assert!(said(&well).contains(": healthy ("), "{well:?}");
    let untrusted = health(&["--address", &address, "--timeout", "2s"]);
    assert_eq!(untrusted.status.code(), Some(1));
    let plain = health(&["--insecure", "--address", &address, "--timeout", "5s"]);
    assert!(said(&plain).contains("it may want TLS: try without --insecure"), "{plain:?}");
}

#[test]
fn a_port_where_nobody_listens_is_told_at_once_and_one_address_of_two_is_enough() {
    for address in ["127.0.0.1:1", "localhost:1"] {
        // Longer than a test may take.
        let nobody = health(&["--insecure", "--address", address, "--timeout", "300s"]);
        assert_eq!(nobody.status.code(), Some(1));
        let said = said(&nobody);
        assert!(said.contains("Connection refused"), "{said}");
        assert!(!said.contains("next attempt"), "nobody tries again: {said}");
    }
    // Nobody listens at its other address, if it has one.
    let fake = FakeService::start(&[CHECK]).unwrap();
    let address = fake.address().replace("127.0.0.1", "localhost");
    assert!(health(&["--insecure", "--address", &address]).status.success());
}

#[test]
fn its_wrong_flags_fail_with_the_reason() {
    for (arguments, part) in [
        (&["--address", "nonsense"][..], "address \"nonsense\" must have a port"),
        (&["--ca-file", "/nowhere.pem"], "tls.ca_file cannot be read: /nowhere.pem"),
        (&["--cert-file", "a.pem"], "  --key-file <FILE>\n"),
        (&["--timeout", "0"], "1 s to 300 s are allowed"),
        (&["--server-name", "a b"], "tls.server_name must be the name of a host"),
    ] {
        let wrong = health(arguments);
        assert!(!wrong.status.success());
        assert_eq!(said(&wrong).matches(part).count(), 1, "{part}: {wrong:?}");
    }
}

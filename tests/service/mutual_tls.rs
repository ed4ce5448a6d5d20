//! Mutual TLS from nothing, by the commands of its page as they stand there.

use std::fs;
use std::process::Command;

use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::sql::ExecuteRequest;
use openssl::pkey::PKey;

use crate::harness::pki::Pair;
use crate::harness::{command, python, repository, says, tenant, Service};

/// The blocks of a language in the section.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(repository("docs/security.md")).unwrap();
    let (_, section) = page.split_once("\n### Mutual TLS from nothing\n").unwrap();
    let section = section.split("\n### ").next().unwrap();
    let start = format!("\n```{language}\n");
    let blocks = section.split(start.as_str()).skip(1);
    blocks.map(|block| format!("{}\n", block.split("\n```").next().unwrap())).collect()
}

#[test]
fn the_commands_of_the_page_lead_to_a_client_that_is_known_by_its_certificate() {
    let (tenant, dir) = (tenant(), tempfile::tempdir().unwrap());
    let shell = blocks("sh");
    let mut issue = Command::new("sh");
    let out = issue.args(["-ec", &shell[0]]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success(), "{}", says(&out));
    assert!(says(&out).contains("pool.pem: OK") && says(&out).contains("shop.pem: OK"));
    fs::write(dir.path().join("config.toml"), &blocks("toml")[0]).unwrap();
    fs::write(dir.path().join("orders.dsn"), &tenant.dsn).unwrap();
    let mut serve = command();
    serve.current_dir(dir.path());
    // Its own certificate is that of the tests.
    let service = Service::run(serve, &["--config", "config.toml"]);

    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    let key = PKey::private_key_from_pem(&read("shop-key.pem")).unwrap();
    let asked = ExecuteRequest {
        tenant_id: "orders".to_owned(),
        statements: vec![statement("select 1")],
        ..ExecuteRequest::default()
    };
    service.client_with(&Pair { cert: read("shop.pem"), key }).execute(&asked).unwrap();

    let trust = service.certs.path().join("cert.pem").display().to_string();
    let (port, mut lease) = (service.port.to_string(), python());
    lease.arg(repository("examples/lease.py")).args(["--tenant", "orders", "--port", &port]);
    lease.args(["--cert", &trust, "--cert-file", "shop.pem", "--key-file", "shop-key.pem"]);
    let leased = lease.current_dir(dir.path()).output().unwrap();
    assert!(leased.status.success(), "{}", says(&leased));

    let line = shell[1].lines().find(|line| line.contains(" health ")).unwrap();
    let health = |line: &str| {
        let arguments = line.replace("--ca-file ca.pem", &format!("--ca-file {trust}"));
        let mut health = command();
        health.args(arguments.split(' ').skip(1)).current_dir(dir.path());
        health.args(["--address", &format!("localhost:{}", service.port)]).output().unwrap()
    };
    let well = health(line);
    assert!(well.status.success() && says(&well).contains(": healthy ("), "{}", says(&well));
    let without = health(line.split(" --cert-file").next().unwrap());
    assert_eq!(without.status.code(), Some(1), "{}", says(&without));
    let hint = "it may want a client certificate: --cert-file and --key-file";
    assert!(says(&without).contains(hint), "{}", says(&without));
    service.log().wait_for("event=tls_handshake_failed reason=tls");
}

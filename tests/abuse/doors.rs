//! Wrong doors: callers who are not known, or are not who they say. Nothing is gained by them, and
//! nobody else loses anything.

mod certificates;
mod flood;
mod handshakes;
mod rates;
mod revoked;
mod stolen;
mod tenants;

use std::path::PathBuf;

use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::health::health_check_response::ServingStatus;
use connection_pool_manager::proto::health::HealthCheckRequest;
use connection_pool_manager::proto::sql::{ExecuteRequest, ListenRequest, Statement};
use grpcio::MetadataBuilder;
use openssl::sha::sha256;

use crate::harness::{code, refused, tenant, Service, Tenant};

/// The tokens of `shop` and of `ops`, and one of `shop` that has expired.
const SHOP: &str = "shop-token-0f8a1c";
const OPS: &str = "ops-token-77ab90";
const OLD: &str = "old-token-5d5d5d";

fn digest(token: &str) -> String {
    sha256(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The identities of these tests.
fn identities() -> String {
    format!(
        "[identities.shop]\ntokens = [{{ sha256 = \"{}\" }}, \
         {{ sha256 = \"{}\", expires = 2020-01-01T00:00:00Z }}]\n\
         [identities.ops]\ntokens = [{{ sha256 = \"{}\" }}]\n",
        digest(SHOP),
        digest(OLD),
        digest(OPS)
    )
}

/// A file with this text, which lives as long as the directory.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

/// A service with these identities, whose clients are `shop`.
fn service(arguments: &[&str]) -> Service {
    let (_dir, path) = file(&identities());
    let mut all = vec!["--config", path.to_str().unwrap()];
    all.extend(arguments);
    Service::with(&all).with_token(SHOP)
}

fn one_shot(tenant: &Tenant) -> ExecuteRequest {
    ExecuteRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statements: vec![Statement { sql: "select 1".to_owned(), ..Statement::default() }],
        ..ExecuteRequest::default()
    }
}

/// The errors of all calls that name a tenant.
fn knock(client: &Client, tenant: &Tenant) -> Vec<CallError> {
    let listen = ListenRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        channels: vec!["news".to_owned()],
        ..ListenRequest::default()
    };
    let open = crate::harness::request(tenant);
    vec![
        refused(client.acquire(&tenant.name, &tenant.dsn)),
        refused(client.execute(&one_shot(tenant))),
        refused(client.listen(&listen).and_then(|mut stream| stream.next())),
        refused(client.open_session(open)),
        refused(client.stats(&tenant.name)),
        refused(client.health(&tenant.name)),
    ]
}

fn causes(errors: &[CallError]) -> Vec<(i32, String, String)> {
    let cause = |error: &CallError| {
        let info = error.info.as_ref().expect("details");
        (error.code, error.reason.clone(), info.metadata["cause"].clone())
    };
    errors.iter().map(cause).collect()
}

#[track_caller]
fn assert_unknown(errors: &[CallError], cause: &str) {
    let one = (code::UNAUTHENTICATED, "UNAUTHENTICATED".to_owned(), cause.to_owned());
    assert_eq!(causes(errors), vec![one; errors.len()]);
}

#[test]
fn a_wrong_token_opens_nothing_and_is_told_to_nobody() {
    let (service, tenant) = (service(&[]), tenant());
    let headers = |pairs: &[(&str, &str)]| {
        let mut metadata = MetadataBuilder::new();
        for (key, value) in pairs {
            metadata.add_str(key, value).unwrap();
        }
        service.nameless().with_metadata(metadata.build())
    };
    let bearer = |token: &str| headers(&[("authorization", &format!("Bearer {token}"))]);
    let (upper, right) = (SHOP.to_uppercase(), format!("Bearer {SHOP}"));
    let mut refusals = 0;
    for (client, cause) in [
        (service.nameless(), "no_credentials"),
        (bearer("wrong-token-123456"), "unknown_token"),
        (bearer(&upper), "unknown_token"),
        (bearer(&digest(SHOP)), "unknown_token"),
        (bearer(OLD), "expired_token"),
        (headers(&[("authorization", SHOP)]), "malformed_token"),
        (headers(&[("authorization", &format!("Basic {SHOP}"))]), "malformed_token"),
        (headers(&[("authorization", &format!("Bearer  {SHOP}"))]), "malformed_token"),
        (headers(&[("authorization", &right), ("authorization", &right)]), "malformed_token"),
        (headers(&[("token", SHOP), ("x-authorization", &right)]), "no_credentials"),
    ] {
        let errors = knock(&client, &tenant);
        assert_unknown(&errors, cause);
        refusals += errors.len();
        let shown = format!("{errors:?}");
        for secret in [SHOP, OLD, &upper, "wrong-token-123456", &digest(SHOP)] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    let (_, page) = service.get("/metrics");
    let counted: f64 = page
        .lines()
        .filter_map(|line| line.strip_prefix("connpool_auth_failures_total{")?.split_once("} "))
        .map(|(_, count)| count.parse::<f64>().unwrap())
        .sum();
    assert_eq!(counted, refusals as f64);
    assert_eq!(tenant.backends(), 0, "nobody has reached PostgreSQL");
    assert!(!page.contains(&format!("tenant=\"{}\"", tenant.name)), "{page}");
    // Who is known is served, by another scheme's spelling too.
    let lease = service.lease(&tenant);
    assert_eq!(lease.value("select 7"), "7");
    let lower = headers(&[("authorization", &format!("bearer {SHOP}"))]);
    lower.execute(&one_shot(&tenant)).expect("the word's case is of no account");
    let log = service.log().text();
    assert!(log.contains("event=access_denied reason=unknown_token peer="), "{log}");
    for secret in [SHOP, OPS, OLD, &upper, "wrong-token-123456", &digest(SHOP)] {
        assert!(!log.contains(secret) && !page.contains(secret));
    }
}

#[test]
fn health_answers_everybody_and_tells_strangers_of_no_tenant() {
    let (service, tenant) = (service(&[]), tenant());
    let _lease = service.lease(&tenant);
    let stranger = service.nameless();
    let mut elsewhere = MetadataBuilder::new();
    elsewhere.add_str("authorization", "Bearer wrong-token-123456").unwrap();
    // A balancer has no identity, or a token for another place.
    for metadata in [MetadataBuilder::new(), elsewhere] {
        let option = grpcio::CallOption::default().headers(metadata.build());
        let asked = HealthCheckRequest::default();
        let told = stranger.health_stub().check(&asked, option.wait_for_ready(true)).unwrap();
        assert_eq!(told.status.enum_value(), Ok(ServingStatus::SERVING));
    }
    assert_eq!(stranger.health("").unwrap().tenants.len(), 0);
    assert_eq!(service.client().health("").unwrap().tenants.len(), 1);
}

#[test]
fn a_digest_in_the_file_that_is_none_is_a_start_error_without_the_token() {
    let (_dir, path) = file(&format!("[identities.shop]\ntokens = [{{ sha256 = \"{SHOP}\" }}]\n"));
    let mut program = crate::harness::command();
    program.args(["serve", "--config", path.to_str().unwrap()]);
    let said = crate::harness::refusal(program);
    assert!(said.contains("config.toml:2) must be 64 hexadecimal digits"), "{said}");
    assert!(!said.contains(SHOP), "{said}");
}

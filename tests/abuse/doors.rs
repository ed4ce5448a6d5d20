//! Wrong doors: callers who are not known, or are not who they say. Nothing is gained by them, and
//! nobody else loses anything.
//!
//! | Door | Tried by |
//! |---|---|
//! | No certificate, one of another authority, an expired one | `certificates::without_a_good_certificate_nobody_gets_through_the_handshake` |
//! | One that the file does not list | `certificates::the_most_specific_names_of_a_certificate_tell_who_it_is` |
//! | Struck out of the file and read again | `revoked::who_is_struck_out_of_the_file_ends_with_its_next_step_and_others_go_on` |
//! | The right certificate for another tenant | `tenants::the_right_certificate_for_another_tenant_opens_nothing_here` |
//! | The token of another tenant; `Listen` on a tenant of others | `tenants::a_known_caller_is_denied_at_a_tenant_of_others_as_at_one_that_does_not_exist` |
//! | An expired token, one in the wrong case or place | `a_wrong_token_opens_nothing_and_is_told_to_nobody` |
//! | A call of an operator without the role; an observer who acts | `roles::an_observer_and_a_caller_without_a_role_have_nothing_done` |
//! | A look without a role | `admin::only_a_role_lets_a_caller_look_and_without_identities_nobody_has_one` (service) |
//! | A stolen `connection_id` | `stolen::another_ones_connection_id_is_as_good_as_an_unknown_one` |
//! | A `lease_name` as `connection_id` | `stolen::a_lease_name_is_no_connection_id` |
//! | A `request_id` of another identity | `stolen::a_request_id_of_another_identity_is_another_request` |
//! | The lease of another's `Session` | `stolen::the_lease_of_anothers_session_is_as_good_as_an_unknown_one` |
//! | A forbidden host as a name, decimal, octal, hexadecimal, IPv6, IPv4-mapped | `allowed_hosts::a_forbidden_address_is_not_connected_to_in_any_spelling` (service) |
//! | A name with two addresses, one that changes before the connect | `backend::connect::tests` (unit) |
//! | A name as a question whether it exists | `allowed_hosts::a_name_that_is_not_there_and_one_that_is_not_allowed_are_answered_alike` (service) |
//! | Squatting the name of a configured tenant | `configured_tenants::a_configured_tenant_has_its_name_whether_its_database_is_there_or_not` (service) |
//! | Plaintext to the port of TLS, TLS 1.0 and 1.1 | `handshakes::plaintext_and_old_tls_end_at_the_port` |
//! | TLS to the port of plaintext | `handshakes::tls_ends_at_a_port_without_it` |
//! | Renegotiation | `handshakes::a_handshake_within_a_connection_is_refused` |
//! | Oversized metadata | `flood::metadata_beyond_what_grpc_takes_ends_its_call_only` |
//! | Oversized messages | `oversized`, `malformed_requests` |
//! | Half-open calls | `unfinished_calls` |
//! | Frames of no call | `stray::a_stranger_who_sends_frames_of_no_call_is_closed_long_before_he_hurts_others` |
//! | 5 000 idle connections | `crowds::five_thousand_connections_that_say_nothing_take_nothing_from_others` |
//! | Rapid reset | `crowds::calls_that_are_taken_back_at_once_leave_no_lease_and_no_waiter` |
//! | 100 000 wrong tokens | `flood::a_hundred_thousand_wrong_tokens_cost_nobody_a_call_and_the_log_a_few_lines` |
//! | A configuration file that others can read | `configuration::a_file_that_others_can_read_is_warned_of` (service) |
//! | Secrets in the log at trace, errors, metrics, pages, `check-config`, arguments, environment | `secrets::no_secret_is_in_the_log_at_trace_in_errors_metrics_pages_or_arguments` |
//! | A DSN as an argument | `secrets::a_dsn_is_no_argument_of_the_command_line` |
//! | The doors of HTTP | `http_doors` (service) |

mod certificates;
mod crowds;
mod flood;
mod handshakes;
mod rates;
mod revoked;
mod roles;
mod secrets;
mod stolen;
mod stray;
mod tenants;

use std::path::PathBuf;

use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::health::health_check_response::ServingStatus;
use connection_pool_manager::proto::health::HealthCheckRequest;
use connection_pool_manager::proto::sql::{ExecuteRequest, ListenRequest, Statement};
use grpcio::MetadataBuilder;

use crate::harness::{code, digest, refused, tenant, Service, Tenant};

/// The tokens of `shop` and of `ops`, and one of `shop` that has expired.
const SHOP: &str = "shop-token-0f8a1c";
const OPS: &str = "ops-token-77ab90";
const OLD: &str = "old-token-5d5d5d";

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

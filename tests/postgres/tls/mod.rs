//! TLS to PostgreSQL: what each sslmode checks, and what is said when it fails.

mod front;
mod fronts;
mod methods;
mod world;

use std::sync::OnceLock;

use crate::harness::pki::Authority;
use crate::harness::sql::assert_error;
use crate::harness::*;
use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::sql::ExecuteRequest;
use front::{curious, Front, Manner, CLOSES};
use world::World;

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(10))
}

/// The tenant's DSN by the name of the server's certificate, with these keys.
fn by_name(keys: &str) -> String {
    world().dsn(&format!("host=localhost hostaddr=127.0.0.1 {keys}"))
}

/// A lease by this DSN, of a tenant of its own.
#[track_caller]
fn leased(service: &Service, dsn: &str) -> Held {
    let client = service.client();
    let granted = client.acquire(&fresh(), dsn).unwrap_or_else(|error| panic!("{dsn}: {error}"));
    let pid = granted.lease.backend_pid;
    Held { client, id: granted.connection_id, pid }
}

#[track_caller]
fn refusal(service: &Service, dsn: &str) -> CallError {
    refused(service.client().acquire(&fresh(), dsn))
}

/// The DSN is refused at once, for what it is.
#[track_caller]
fn assert_rejected(service: &Service, dsn: &str, part: &str) {
    let error = refusal(service, dsn);
    assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert!(error.message.contains(part), "{error}");
}

/// A name of a tenant that nobody has used.
fn fresh() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

const ENCRYPTED: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// A DSN for a front that closes after a handshake which was to its liking.
fn to_front(front: &Front, host: &str, keys: &str) -> String {
    world().dsn(&format!("host={host} hostaddr=127.0.0.1 port={} {keys}", front.port))
}

#[test]
fn the_right_certificate_is_good_for_every_mode() {
    let service = world().service();
    let whole = format!("sslrootcert={}", world().dir.path().join("ca.pem").display());
    for keys in [
        "sslmode=verify-full sslrootcert=ca.pem",
        "sslmode=verify-ca sslrootcert=./ca.pem",
        &format!("sslmode=require {whole}"),
        "sslmode=require",
        "sslmode=prefer",
        "sslmode=verify-full sslrootcert=ca.pem channel_binding=require",
    ] {
        assert_eq!(leased(&service, &by_name(keys)).value(ENCRYPTED), "true", "{keys}");
    }
}

/// A statement that is cancelled leaves its backend alive; had the cancel request
/// failed, the backend would have been closed.
#[track_caller]
fn assert_cancellable(lease: &Held) {
    let error = refused(lease.client.execute(&ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![statement("select pg_sleep(600)")],
        timeout: millis(300),
        ..ExecuteRequest::default()
    }));
    assert_error(&error, code::DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
    assert_eq!(lease.run(&["select 1"]).results.len(), 1);
}

#[test]
fn a_cancel_request_makes_the_same_checks_as_its_session() {
    let service = world().service();
    let keys = "sslmode=verify-full sslrootcert=ca.pem";
    assert_cancellable(&leased(&service, &by_name(keys)));

    // Another server answers by then, whose certificate is not to be trusted: it
    // must not get to know the key.
    let to = Some(world().postgres.port());
    let front = Front::new(&world().ours.server("x", &["localhost"], 1), Manner { to, ..CLOSES });
    let lease = leased(&service, &to_front(&front, "localhost", keys));
    front.shows(&Authority::new("other").server("x", &["localhost"], 1));
    let call = lease.run_later("select pg_sleep(600)");
    eventually("it runs", || {
        let running = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' \
                       and state = 'active' and pid = ";
        let found = world().postgres.sql("postgres", &format!("{running}{}", lease.pid));
        found.unwrap().trim() == "1"
    });
    drop(call);
    eventually("the cancel is seen to fail", || {
        let failed = "connpool_cancel_requests_total{cause=\"caller\",result=\"failed\"}";
        service.metric(failed) == Some(1.0)
    });
    assert_eq!(front.seen().len(), 1, "{:?}", front.seen());
}

#[test]
fn a_certificate_of_an_authority_that_is_not_trusted_is_refused_by_who_checks() {
    let service = world().service();
    for mode in ["verify-full", "verify-ca", "require"] {
        let dsn = by_name(&format!("sslmode={mode} sslrootcert=other-ca.pem"));
        assert_rejected(&service, &dsn, "localhost:");
        assert_rejected(&service, &dsn, "certificate verify failed");
    }
    leased(&service, &by_name("sslmode=prefer sslrootcert=other-ca.pem"));
    let system = refusal(&service, &by_name("sslrootcert=system"));
    assert!(system.message.contains("certificate verify failed"), "{system}");
    let failures = "connpool_backend_open_failures_total{reason=\"untrusted\",tenant=\"_other\"}";
    eventually("they are counted", || service.metric(failures) == Some(7.0));
}

#[test]
fn a_certificate_for_another_name_is_refused_by_verify_full_alone() {
    let service = world().service();
    let dsn = world().dsn("sslmode=verify-full sslrootcert=ca.pem");
    let part = "the server's certificate names localhost, *.db.example, not 127.0.0.1";
    assert_rejected(&service, &dsn, part);
    leased(&service, &world().dsn("sslmode=verify-ca sslrootcert=ca.pem"));
    // The name counts, wherever the address leads.
    let dsn = |host| {
        world()
            .dsn(&format!("host={host} hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=ca.pem"))
    };
    leased(&service, &dsn("a.db.example"));
    for host in ["db.example", "a.b.db.example", "nowhere"] {
        assert_rejected(&service, &dsn(host), &format!(", not {host} ("));
    }
}

#[test]
fn a_certificate_that_has_expired_is_refused() {
    let world = World::new(-1);
    let service = world.service();
    let dsn = world.dsn("sslmode=verify-ca sslrootcert=ca.pem");
    let mut last = None;
    eventually("the server has its certificate", || {
        let error = refusal(&service, &dsn);
        let expired = error.message.contains("certificate has expired");
        last = Some(error);
        expired
    });
    assert_error(&last.unwrap(), code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    leased(&service, &world.dsn("sslmode=require"));
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let service = world().service();
    let with = |database: &str, name: &str| {
        by_name(&format!(
            "dbname={database} sslmode=verify-full sslrootcert=ca.pem sslcert={name}.pem \
             sslkey={name}.key"
        ))
    };
    for database in ["wants_cert", "wants_both"] {
        let lease = leased(&service, &with(database, "client"));
        let shown = "select client_dn from pg_stat_ssl where pid = pg_backend_pid()";
        assert_eq!(lease.value(shown), format!("/CN={}", world().tenant.name));
        let without = by_name(&format!("dbname={database} sslmode=require"));
        assert_rejected(&service, &without, "connection requires a valid client certificate");
        assert_rejected(&service, &with(database, "stranger"), "authentication failed");
        assert_rejected(&service, &with(database, "foreign"), "TLS: ");
    }
}

#[test]
fn a_file_that_does_not_serve_is_named_and_its_content_is_not() {
    let service = world().service();
    world().file("empty.pem", b"", 0o644);
    let link = world().dir.path().join("link.pem");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let missing = "there is no such file";
    for (keys, part) in [
        ("sslrootcert=missing.pem", format!("sslrootcert: {missing}")),
        ("sslrootcert=link.pem", format!("sslrootcert: {missing}")),
        ("sslrootcert=.", format!("sslrootcert: {missing}")),
        ("sslrootcert=noise.pem", "sslrootcert: the file has no certificate".to_owned()),
        ("sslrootcert=empty.pem", "sslrootcert: the file has no certificate".to_owned()),
        ("sslcert=client.pem sslkey=exposed.key", "sslkey: the file must be readable".to_owned()),
        ("sslcert=client.pem sslkey=locked.key", "one with a passphrase".to_owned()),
        ("sslcert=client.pem sslkey=client.pem", "sslkey: the file must be readable".to_owned()),
        ("sslcert=client.pem sslkey=stranger.key", "sslkey: the key does not belong".to_owned()),
        ("sslcert=noise.pem sslkey=client.key", "sslcert: the file has no certificate".to_owned()),
    ] {
        let error = refusal(&service, &by_name(&format!("sslmode=require {keys}")));
        assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
        assert!(error.message.contains(&part), "{keys}: {error}");
        assert!(!error.message.contains("nothing of the kind"), "{error}");
    }
}

#[test]
fn a_renewed_file_is_used_by_the_next_connection_of_the_same_pool() {
    let service = world().service();
    let ours = world().ours.pem();
    world().file("renewed.pem", &ours, 0o644);
    let dsn = by_name("sslmode=verify-ca sslrootcert=renewed.pem pool_max_conns=2");
    let (client, tenant) = (service.client(), fresh());
    let first = client.acquire(&tenant, &dsn).unwrap();
    world().file("renewed.pem", &Authority::new("new").pem(), 0o644);
    let error = refused(client.acquire(&tenant, &dsn));
    assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert!(error.message.contains("certificate verify failed"), "{error}");
    client.run(&first.connection_id, &["select 1"]).expect("the open one goes on");
    world().file("renewed.pem", &ours, 0o644);
    client.acquire(&tenant, &dsn).expect("the file is good again");
}

#[test]
fn a_client_names_no_file_outside_of_the_directory_for_them() {
    let (with, without) = (world().service(), Service::start());
    for file in ["/etc/passwd", "../x", "/there/is/no/such/file"] {
        let dsn = by_name(&format!("sslmode=verify-ca sslrootcert={file}"));
        for (service, part) in [
            (&with, "dsn: sslrootcert: must name a file in the service's directory"),
            (&without, "dsn: sslrootcert: a client may name files only if"),
        ] {
            let error = refusal(service, &dsn);
            assert_error(&error, code::INVALID_ARGUMENT, "INVALID_ARGUMENT");
            assert!(error.message.starts_with(part), "{error}");
            assert!(error.message.contains("--dsn-cert-dir"), "{error}");
        }
    }
    assert_rejected(&without, &by_name("sslrootcert=system"), "certificate verify failed");
}

#[test]
fn without_tls_no_dsn_that_needs_it_connects() {
    let plain = Embedded::start(Options::default()).expect("PostgreSQL starts");
    let (service, tenant) = (world().service(), tenant_on(&plain));
    let off = "alter system set ssl = off;\nselect pg_reload_conf();";
    plain.sql("postgres", off).unwrap();
    let dsn = |keys: &str| format!("{} host=localhost hostaddr=127.0.0.1 {keys}", tenant.dsn);
    eventually("TLS is off", || {
        let lease = leased(&service, &dsn("sslmode=prefer"));
        lease.value(ENCRYPTED) == "false"
    });
    for mode in ["require", "verify-ca sslrootcert=ca.pem", "verify-full sslrootcert=ca.pem"] {
        let word = mode.split(' ').next().unwrap();
        let part = format!("the server does not support TLS, but sslmode={word} asks for it");
        assert_rejected(&service, &dsn(&format!("sslmode={mode}")), &part);
    }
    let part = "channel_binding=require needs TLS, which the server does not support";
    assert_rejected(&service, &dsn("channel_binding=require"), part);
    assert_eq!(leased(&service, &dsn("sslmode=disable")).value(ENCRYPTED), "false");
}

#[test]
fn a_password_goes_out_in_clear_text_over_tls_only() {
    let service = world().service();
    leased(&service, &by_name("dbname=clear sslmode=require"));
    let part = "asks for the password in clear text over a connection without TLS; it was not sent";
    assert_rejected(&service, &by_name("dbname=clear sslmode=disable"), part);
    leased(&service, &by_name("dbname=hashed sslmode=disable user=hashed password=h"));

    let (port, told) = curious();
    for mode in ["disable", "prefer"] {
        assert_rejected(&service, &by_name(&format!("port={port} sslmode={mode}")), part);
        let sent = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(String::from_utf8_lossy(&sent), "");
    }
}

#[test]
fn channel_binding_is_had_or_refused() {
    let service = world().service();
    leased(&service, &by_name("sslmode=require channel_binding=require"));
    leased(&service, &by_name("sslmode=require channel_binding=disable"));
    for keys in ["dbname=clear", "dbname=hashed user=hashed password=h"] {
        let dsn = by_name(&format!("{keys} sslmode=require channel_binding=require"));
        assert_rejected(&service, &dsn, "server did not use channel binding");
    }
    // Whoever stands between ends the TLS that SCRAM was to be bound to.
    let between = Manner { to: Some(world().postgres.port()), ..CLOSES };
    let front = Front::new(&world().ours.server("x", &["localhost"], 1), between);
    let dsn = |binding| {
        by_name(&format!("port={} sslmode=require channel_binding={binding}", front.port))
    };
    assert_rejected(&service, &dsn("require"), "server did not use channel binding");
    leased(&service, &dsn("disable"));
}

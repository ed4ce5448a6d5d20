//! Requests that break a rule fail with the field and the rule.

use crate::harness::{code, eventually, refused, request, tenant, Held, Service, Tenant};
use connection_pool_manager::client::service::{statement, CallError, Client};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, RenewRequest};
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteRequest, Statement, Value};
use protobuf::well_known_types::duration::Duration;
use protobuf::MessageField;

/// Must not be in any error or log line.
const PASSWORD: &str = "hunter2";

/// Well formed, but the id of no lease.
const UNKNOWN_ID: &str = "conn-nobody-0123456789abcdef0123456789abcdef";

#[track_caller]
fn assert_invalid(error: &CallError, field: &str, part: &str) {
    assert_eq!(
        (error.code, &*error.reason),
        (code::INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        "{error}"
    );
    let info = error.info.as_ref().expect("an ErrorInfo");
    assert_eq!(info.metadata.get("field").map(String::as_str), Some(field), "{error}");
    assert!(error.message.contains(part), "{:?} lacks {part:?}", error.message);
    assert!(!error.message.contains(PASSWORD), "{}", error.message);
}

#[track_caller]
fn assert_error(error: &CallError, code: i32, reason: &str, part: &str) {
    assert_eq!((error.code, &*error.reason), (code, reason), "{error}");
    assert!(error.message.contains(part), "{:?} lacks {part:?}", error.message);
}

fn duration(seconds: i64, nanos: i32) -> MessageField<Duration> {
    MessageField::some(Duration { seconds, nanos, ..Duration::default() })
}

fn tenants_that_are_none(client: &Client) {
    let dsn = "host=127.0.0.1 user=u password=hunter2";
    for (name, part) in [
        (String::new(), "tenant_id is required"),
        ("a".repeat(129), "1 to 128"),
        ("a b".to_owned(), "letters, digits"),
        ("grün".to_owned(), "letters, digits"),
        ("a\nb".to_owned(), "letters, digits"),
    ] {
        assert_invalid(&refused(client.acquire(&name, dsn)), "tenant_id", part);
        assert_invalid(&refused(client.stats(&name)), "tenant_id", part);
    }
    let unknown = refused(client.stats("nobody"));
    assert_error(&unknown, code::NOT_FOUND, "TENANT_NOT_FOUND", "pool not found for tenant nobody");
}

fn connection_strings_that_are_none(client: &Client) {
    for (dsn, part) in [
        ("", "dsn is required"),
        ("   ", "dsn is required"),
        ("hunter2", "dsn"),
        ("host=127.0.0.1 password='hunter2", "dsn"),
        ("host=127.0.0.1 colour=hunter2 user=u", "colour"),
        // Behind a password a word may be the rest of it, so it is not shown.
        ("host=127.0.0.1 user=u password=my hunter2=x", "unknown key"),
        ("host=127.0.0.1 user=u password=hunter2 port=hunter2", "port"),
        ("host=127.0.0.1 user=u password=hunter2 port=70000", "port"),
        ("host=127.0.0.1 user=u password=hunter2 port=0", "port"),
        ("host=127.0.0.1 user=u password=hunter2 sslmode=hunter2", "sslmode"),
        ("host=127.0.0.1 user=u password=hunter2 pool_max_conns=0", "pool_max_conns"),
        ("host=/run/postgresql user=u password=hunter2", "Unix sockets"),
        ("host=127.0.0.1 password=hunter2", "user"),
        ("user=u password=hunter2", "host"),
        ("postgres://u:hunter2@127.0.0.1:port/db", "port"),
        ("postgres://u:hunter2@%2Frun%2Fpostgresql/db", "Unix sockets"),
        ("postgres://u:hun@ter2@127.0.0.1/db?a", "dsn"),
    ] {
        assert_invalid(&refused(client.acquire("new", dsn)), "dsn", part);
        let one_shot = ExecuteRequest {
            tenant_id: "new".to_owned(),
            dsn: dsn.to_owned(),
            statements: vec![statement("select 1")],
            ..ExecuteRequest::default()
        };
        assert_invalid(&refused(client.execute(&one_shot)), "dsn", part);
    }
    let long = format!("host=127.0.0.1 user=u password={PASSWORD}{}", "x".repeat(8192));
    assert_invalid(&refused(client.acquire("new", &long)), "dsn", "8192");
}

fn connection_ids_that_are_none(client: &Client) {
    let renew = |id: &str| {
        client.renew(&RenewRequest { connection_id: id.to_owned(), ..RenewRequest::default() })
    };
    for id in [
        "",
        "x",
        "conn-t-123",
        "conn--0123456789abcdef0123456789abcdef",
        &UNKNOWN_ID.to_uppercase(),
    ] {
        let part = "invalid connection ID";
        assert_invalid(&refused(client.release(id)), "connection_id", part);
        assert_invalid(&refused(renew(id)), "connection_id", part);
        if !id.is_empty() {
            assert_invalid(&refused(client.run(id, &["select 1"])), "connection_id", part);
        }
    }
    for error in [
        refused(client.release(UNKNOWN_ID)),
        refused(renew(UNKNOWN_ID)),
        refused(client.run(UNKNOWN_ID, &["select 1"])),
    ] {
        assert_error(
            &error,
            code::NOT_FOUND,
            "LEASE_NOT_FOUND",
            "connection not found: this instance",
        );
    }
}

fn terms_out_of_range(client: &Client, tenant: &Tenant, lease: &Held) {
    for bad in [duration(-1, 0), duration(0, -1), duration(0, 1_000_000_000)] {
        let (ask, part) = (request(tenant), "zero or more");
        let asked = |request: ConnectionRequest| refused(client.acquire_with(&request));
        let error = asked(ConnectionRequest { ttl: bad.clone(), ..ask.clone() });
        assert_invalid(&error, "ttl", part);
        let error = asked(ConnectionRequest { wait_timeout: bad.clone(), ..ask.clone() });
        assert_invalid(&error, "wait_timeout", part);
        let error = asked(ConnectionRequest { max_lifetime: bad.clone(), ..ask.clone() });
        assert_invalid(&error, "max_lifetime", part);
        let renew = RenewRequest {
            connection_id: lease.id.clone(),
            ttl: bad.clone(),
            ..RenewRequest::default()
        };
        assert_invalid(&refused(client.renew(&renew)), "ttl", part);
        let execute =
            ExecuteRequest { timeout: bad, ..execute(lease, vec![statement("select 1")]) };
        assert_invalid(&refused(client.execute(&execute)), "timeout", part);
    }
    for holder in ["a\nb".to_owned(), "a\u{7f}".to_owned(), "é".repeat(129)] {
        let asked = ConnectionRequest { holder, ..request(tenant) };
        assert_invalid(&refused(client.acquire_with(&asked)), "holder", "128");
    }
}

fn execute(lease: &Held, statements: Vec<Statement>) -> ExecuteRequest {
    ExecuteRequest { connection_id: lease.id.clone(), statements, ..ExecuteRequest::default() }
}

fn statements_that_break_a_rule(client: &Client, tenant: &Tenant, lease: &Held) {
    let one = || vec![statement("select 1")];
    let both = ExecuteRequest { tenant_id: tenant.name.clone(), ..execute(lease, one()) };
    assert_invalid(&refused(client.execute(&both)), "connection_id", "exactly one");
    let neither = ExecuteRequest { statements: one(), ..ExecuteRequest::default() };
    assert_invalid(&refused(client.execute(&neither)), "connection_id", "exactly one");
    assert_invalid(&refused(client.execute(&execute(lease, vec![]))), "statements", "1 to 1000");
    let many = execute(lease, vec![statement("select 1"); 1001]);
    assert_invalid(&refused(client.execute(&many)), "statements", "1 to 1000");
    let negative = ExecuteRequest { max_rows: -1, ..execute(lease, one()) };
    assert_invalid(&refused(client.execute(&negative)), "max_rows", "zero or more");
    let nul = execute(lease, vec![statement("select 1"), statement("select '\0'")]);
    assert_invalid(&refused(client.execute(&nul)), "statements.sql", "statements[1].sql");
    let long = execute(lease, vec![statement(&format!("select '{}'", "x".repeat(3 << 20)))]);
    assert_invalid(&refused(client.execute(&long)), "statements.sql", "3145728");
}

fn parameters_that_do_not_fit(client: &Client, lease: &Held) {
    let with = |sql: &str, kinds: Vec<Option<Kind>>| {
        let parameters = kinds.into_iter().map(|kind| Value { kind, ..Value::default() }).collect();
        let statement = Statement { sql: sql.to_owned(), parameters, ..Statement::default() };
        refused(client.execute(&execute(lease, vec![statement])))
    };
    let text = |text: &str| Some(Kind::Text(text.to_owned()));
    let field = "statements.parameters";
    let add = "select $1::int + $2::int";
    assert_invalid(&with(add, vec![text("1"), None]), field, "statements[0].parameters[1]");
    assert_invalid(
        &with(add, vec![text("1")]),
        field,
        "statements[0].parameters: the statement takes 2 parameters, 1 given",
    );
    let one = with("select $1", vec![]);
    assert_invalid(&one, field, "parameters: the statement takes 1 parameter, 0 given");
    assert_invalid(&with("select 1", vec![text("1")]), field, "takes 0 parameters, 1 given");
    let bytes = Some(Kind::Bytes(vec![1]));
    assert_invalid(&with(add, vec![text("1"), bytes]), field, "($2)");
    assert_invalid(&with("select $1::text", vec![text("a\0b")]), field, "NUL");
    // What PostgreSQL judges, PostgreSQL refuses.
    for (sql, value) in [
        ("select $1::int", text(PASSWORD)),
        ("select $1::int", Some(Kind::Double(0.5))),
        ("select $1::uuid", Some(Kind::Int(1))),
        ("select $1::bool", text("maybe")),
    ] {
        let error = with(sql, vec![value]);
        assert_error(&error, code::INVALID_ARGUMENT, "SQL_ERROR", "22P02");
    }
}

fn another_connection_string(client: &Client, tenant: &Tenant) {
    for other in ["dbname=postgres", "port=1 password=hunter2", "pool_max_conns=3"] {
        let dsn = format!("{} {other}", tenant.dsn);
        let error = refused(client.acquire(&tenant.name, &dsn));
        assert_error(&error, code::FAILED_PRECONDITION, "DSN_MISMATCH", &tenant.name);
        assert!(!error.message.contains(PASSWORD));
    }
    let wrong = format!("{} password={PASSWORD}", tenant.dsn);
    for name in ["stranger", &tenant.name] {
        let error = refused(client.acquire(name, &wrong));
        assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED", "28P01");
        assert!(!error.message.contains(PASSWORD));
    }
}

fn a_message_too_large(client: &Client, lease: &Held) {
    let half = statement(&format!("select '{}'", "x".repeat(5 << 19)));
    let error = refused(client.execute(&execute(lease, vec![half.clone(), half])));
    assert_eq!(error.code, code::RESOURCE_EXHAUSTED, "{error}");
}

#[test]
fn every_broken_rule_is_named_and_nothing_leaks() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let client = &lease.client;
    // Twice, so that the second round finds whatever the service keeps.
    let mut kept = None;
    for _ in 0..2 {
        tenants_that_are_none(client);
        connection_strings_that_are_none(client);
        connection_ids_that_are_none(client);
        terms_out_of_range(client, &tenant, &lease);
        statements_that_break_a_rule(client, &tenant, &lease);
        parameters_that_do_not_fit(client, &lease);
        another_connection_string(client, &tenant);
        a_message_too_large(client, &lease);
        eventually("the pool is filled", || tenant.backends() == 5);
        let now = (service.threads(), service.descriptors());
        let (threads, descriptors) = *kept.get_or_insert(now);
        eventually("threads and descriptors are what they were", || {
            service.threads() <= threads + 3 && service.descriptors() <= descriptors + 3
        });
    }
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    assert_eq!(service.metric("connpool_tenants{state=\"active\"}"), Some(1.0));
    assert_eq!(service.metric("connpool_tenants{state=\"opening\"}"), Some(0.0));
    client.release(&lease.id).unwrap();
    service.wait_quiet(&tenant.name);
    let log = service.log().text();
    assert!(
        !log.contains(PASSWORD) && !log.contains(&tenant.password),
        "a password in the log:\n{log}"
    );
    assert!(!log.contains(&lease.id), "a connection id in the log:\n{log}");
}

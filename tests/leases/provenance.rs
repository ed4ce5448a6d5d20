//! Who holds what, from where, since when: as the grant, the log and the metrics
//! tell it, and what they never tell.

use crate::harness::{
    acquire_later, answer, eventually, millis, refused, request, tenant, Held, Service, Tenant,
};
use connection_pool_manager::client::service::statement;
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteRequest, Statement, Value};

fn held_by(tenant: &Tenant, holder: &str) -> ConnectionRequest {
    ConnectionRequest {
        holder: holder.to_owned(),
        wait_timeout: millis(300_000),
        ..request(tenant)
    }
}

/// Lines of the log with both in them.
fn lines(service: &Service, event: &str, part: &str) -> Vec<String> {
    let text = service.log().text();
    let found = text.lines().filter(|line| line.contains(event) && line.contains(part));
    found.map(str::to_owned).collect()
}

/// The one line that tells of the end of this lease.
fn end_of(service: &Service, lease_name: &str) -> String {
    let part = format!(" lease={lease_name} ");
    eventually("its end is told", || !lines(service, "event=lease_ended", &part).is_empty());
    let mut found = lines(service, "event=lease_ended", &part);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[track_caller]
fn assert_tells(line: &str, granted: &ConnectionResponse, parts: &[&str]) {
    let lease = &granted.lease;
    let own = [
        format!(" tenant={} ", lease.tenant_id),
        format!(" lease={} ", lease.lease_name),
        format!(" pid={} ", lease.backend_pid),
        format!(" holder={:?} ", lease.holder),
        format!(" peer={} ", lease.peer),
    ];
    for part in own.iter().map(String::as_str).chain(parts.iter().copied()) {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
}

#[test]
fn a_grant_tells_the_connection_it_was_asked_for_on() {
    let (service, tenant) = (Service::start(), tenant());
    let (one, other) = (service.client(), service.client());
    let peer = |granted: ConnectionResponse| granted.lease.peer.clone();
    let first = peer(one.acquire_with(&request(&tenant)).unwrap());
    let port = first.strip_prefix("ipv4:127.0.0.1:").map(str::parse::<u16>);
    assert!(matches!(port, Some(Ok(port)) if port != service.port), "{first}");
    assert_eq!(peer(one.acquire_with(&request(&tenant)).unwrap()), first);
    assert_ne!(peer(other.acquire_with(&request(&tenant)).unwrap()), first);
    let (_stream, opened) = one.open_session(request(&tenant)).unwrap();
    assert_eq!(opened.lease.peer, first);
}

#[test]
fn the_end_of_a_lease_is_one_log_line_with_its_holder_and_last_command() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = |asked: &ConnectionRequest, statements: &[&str]| {
        let granted = client.acquire_with(asked).unwrap();
        if !statements.is_empty() {
            client.run(&granted.connection_id, statements).unwrap();
        }
        granted
    };
    let unused = lease(&held_by(&tenant, "ada's job"), &[]);
    client.release(&unused.connection_id).unwrap();
    let line = end_of(&service, &unused.lease.lease_name);
    assert_tells(&line, &unused, &["reason=released", "last_command=\"\"", "transaction=none"]);
    assert!(!line.contains("in_transaction_s="), "{line}");

    let done = lease(
        &held_by(&tenant, "bob"),
        &["create table t (n int)", "insert into t values (1), (2)"],
    );
    client.release(&done.connection_id).unwrap();
    let line = end_of(&service, &done.lease.lease_name);
    assert_tells(&line, &done, &["last_command=\"INSERT 0 2\"", "transaction=none"]);

    let brief = ConnectionRequest { ttl: millis(1000), ..held_by(&tenant, "eve\u{2019}s \"job\"") };
    let left = lease(&brief, &["begin", "delete from t where n = 1"]);
    let line = end_of(&service, &left.lease.lease_name);
    assert_tells(
        &line,
        &left,
        &["reason=ttl", "last_command=\"DELETE 1\"", "transaction=open", " in_transaction_s="],
    );
    let (stream, opened) = client.open_session(held_by(&tenant, "a stream")).unwrap();
    drop(stream);
    let line = end_of(&service, &opened.lease.lease_name);
    assert!(line.contains("reason=stream_lost") && line.contains("holder=\"a stream\""), "{line}");
}

fn with_parameter(lease: &Held, sql: &str, parameter: &str) -> ExecuteRequest {
    let value = Value { kind: Some(Kind::Text(parameter.to_owned())), ..Value::default() };
    ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![Statement { parameters: vec![value], ..statement(sql) }],
        ..ExecuteRequest::default()
    }
}

#[test]
fn the_log_never_tells_sql_names_of_secrets_or_values() {
    let service = Service::with(&["--leak-warning", "1"]);
    let tenant = tenant();
    let request_id = b"hush-request-id-0".to_vec();
    let client = &service.client();
    let asked = ConnectionRequest { request_id, ..request(&tenant) };
    let granted = client.acquire_with(&asked).unwrap();
    let (id, pid) = (granted.connection_id.clone(), granted.lease.backend_pid);
    let lease = Held { client: client.clone(), id, pid };
    lease.run(&["create table hush_table (hush_column text unique)", "begin"]);
    let insert = "insert into hush_table values ($1)";
    client.execute(&with_parameter(&lease, insert, "hush-value")).unwrap();
    refused(client.execute(&with_parameter(&lease, insert, "hush-value")));
    lease.fails(&["select 'hush-literal' from hush_nowhere"]);
    lease.run(&["rollback"]);
    lease.fails(&["hush_syntax error"]);
    lease.fails(&["do $$ begin raise exception 'hush-raised'; end $$"]);
    lease.run(&["do $$ begin raise warning 'hush-warning'; end $$"]);
    let mut brief = with_parameter(&lease, "select pg_sleep(600), $1::text", "hush-slept");
    brief.timeout = millis(20);
    refused(client.execute(&brief));
    let (mut stream, opened) = client.open_session(request(&tenant)).unwrap();
    stream.execute(1, &["select 'hush-stream'"]).unwrap();
    stream.next().unwrap().unwrap();
    service.log().wait_for("event=lease_held_too_long");
    tenant.sql(&format!("select pg_terminate_backend({})", lease.pid));
    lease.fails(&["select 'hush-lost'"]);
    end_of(&service, &granted.lease.lease_name);
    drop(stream);
    end_of(&service, &opened.lease.lease_name);
    let text = service.log().text();
    let random = |id: &str| id.rsplit('-').next().unwrap().to_owned();
    let (one, other) = (random(&lease.id), random(&opened.connection_id));
    let shown = text.to_lowercase();
    for secret in ["hush", one.as_str(), other.as_str(), tenant.password.as_str(), "password="] {
        assert!(!shown.contains(secret), "the log shows {secret:?}");
    }
}

/// Makes a tenant exhausted by these holders, and waits until that was told.
fn exhaust(service: &Service, holders: &[&str]) -> (Tenant, Vec<ConnectionResponse>, String) {
    let (tenant, client) = (tenant().pool_of(holders.len()), service.client());
    let lease = |holder: &&str| client.acquire_with(&held_by(&tenant, holder)).unwrap();
    let granted: Vec<_> = holders.iter().map(lease).collect();
    let _waits = Box::leak(Box::new(acquire_later(&client, &held_by(&tenant, "late"))));
    let line = service.log().wait_for(&format!("event=pool_exhausted tenant={} ", tenant.name));
    (tenant, granted, line)
}

/// Waits until a whole round of the keeper has come after this: the first of two tenants may
/// be told of by a round that had begun before.
fn a_round_passes(service: &Service) {
    for _ in 0..2 {
        exhaust(service, &["another"]);
    }
}

#[test]
fn an_exhausted_tenant_is_one_line_that_names_the_holders_however_long_it_lasts() {
    // The keeper's rounds are as short.
    let service = Service::with(&["--leak-warning", "1"]);
    let (first, granted, line) = exhaust(&service, &["night job", "ada", "night job"]);
    let parts = ["used=3", "limit=3", "waiting=1", "holders=\"night job (2), ada (1)\""];
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    let told = || lines(&service, "event=pool_exhausted", &format!("={} ", first.name)).len();
    // Each of these is told in a later round.
    for _ in 0..3 {
        exhaust(&service, &["another"]);
    }
    assert_eq!(told(), 1);
    // It is told anew when it was over in between.
    let client = service.client();
    client.release(&granted[0].connection_id).unwrap();
    service.wait_stats(&first.name, "nobody waits", |stats| stats.waiting == 0);
    a_round_passes(&service);
    let again = acquire_later(&client, &held_by(&first, "later"));
    eventually("it is told again", || told() == 2);
    client.release(&granted[1].connection_id).unwrap();
    answer(again).unwrap();
}

#[test]
fn a_tenant_near_its_limit_is_one_line_until_it_was_well_below() {
    // The keeper's rounds are as short.
    let service = Service::with(&["--leak-warning", "1"]);
    let (busy, client) = (tenant().pool_of(10), service.client());
    let lease = || client.acquire_with(&held_by(&busy, "job")).unwrap().connection_id;
    let told = || lines(&service, "event=pool_nearly_exhausted", &format!("={} ", busy.name));
    let seven: Vec<String> = (0..7).map(|_| lease()).collect();
    a_round_passes(&service);
    assert!(told().is_empty(), "seven of ten are not many: {:?}", told());
    let eighth = lease();
    eventually("it is told", || !told().is_empty());
    assert!(
        told()[0].contains(" WARN ") && told()[0].ends_with(" used=8 limit=10"),
        "{:?}",
        told()
    );
    // It goes up and down, and each of these is told in a later round.
    client.release(&eighth).unwrap();
    a_round_passes(&service);
    let eighth = lease();
    a_round_passes(&service);
    assert_eq!(told().len(), 1);
    for id in seven.iter().chain([&eighth]) {
        client.release(id).unwrap();
    }
    service.wait_quiet(&busy.name);
    a_round_passes(&service);
    (0..8).for_each(|_| drop(lease()));
    eventually("it is told again", || told().len() == 2);
}

#[test]
fn a_lease_held_too_long_is_logged_and_counted_once() {
    let service = Service::with(&["--leak-warning", "1"]);
    let (leaky, other) = (tenant(), tenant());
    let client = service.client();
    let granted = client.acquire_with(&held_by(&leaky, "forgetful")).unwrap();
    client.run(&granted.connection_id, &["begin", "select 1"]).unwrap();
    let part = format!(" lease={} ", granted.lease.lease_name);
    let told = || lines(&service, "event=lease_held_too_long", &part);
    let count = |tenant: &Tenant| {
        let label = format!("connpool_lease_leak_warnings_total{{tenant=\"{}\"}}", tenant.name);
        service.metric(&label)
    };
    eventually("it is told", || !told().is_empty());
    assert_tells(&told()[0], &granted, &["transaction=open", "in_transaction_s=", "held_s="]);
    // Each of these is told in a later round.
    for n in 1..=3 {
        client.acquire_with(&held_by(&other, "later")).unwrap();
        eventually("the later one is told", || count(&other) == Some(f64::from(n)));
    }
    assert_eq!((told().len(), count(&leaky)), (1, Some(1.0)));
    // One line for each, and no more.
    eventually("the last is told", || lines(&service, "event=lease_held_too_long", "").len() >= 4);
    assert_eq!(lines(&service, "event=lease_held_too_long", "").len(), 4);
}

//! Leases from grant to end.

use crate::harness;
use crate::harness::{answer, code, eventually, millis, refused, request, tenant, Service, Tenant};
use connection_pool_manager::client::service::{statement, text_at};
use connection_pool_manager::proto::connection_pool::{
    ConnectionRequest, LeaseEndReason, ReleaseOutcome, RenewRequest, TransactionState,
};
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteRequest, Value};

#[test]
fn every_operation_of_a_lease_runs_on_the_same_backend() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    let pid = lease.lease.backend_pid;
    for _ in 0..5 {
        let answer = client.run(&lease.connection_id, &["select pg_backend_pid()"]).unwrap();
        assert_eq!(text_at(&answer, 0, 0, 0), pid.to_string());
    }
    assert!(tenant.backend_pids().contains(&pid));
}

#[test]
fn a_second_release_succeeds_and_says_that_the_lease_had_ended() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
    let first = client.release(&lease.connection_id).unwrap();
    assert!(first.success);
    assert_eq!(first.outcome, ReleaseOutcome::RELEASE_OUTCOME_RELEASED.into());
    let second = client.release(&lease.connection_id).unwrap();
    assert!(second.success);
    assert_eq!(second.outcome, ReleaseOutcome::RELEASE_OUTCOME_ALREADY_ENDED.into());
    assert_eq!(second.end_reason, LeaseEndReason::LEASE_END_REASON_RELEASED.into());
    let late = refused(client.run(&lease.connection_id, &["select 1"]));
    assert_eq!((late.code, late.reason.as_str()), (code::FAILED_PRECONDITION, "LEASE_ENDED"));
}

#[test]
fn nothing_of_a_session_is_left_for_the_next_lease_on_its_backend() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let name = &tenant.name;
    tenant.sql(&format!("create role {name}_clerk; grant {name}_clerk to {name}"));
    let clerk = format!("{name}_clerk");
    let set_role = format!("set role {clerk}");
    let of_mine = "from_sql and name = 'mine'";
    let prepared = format!("select count(*) from pg_prepared_statements where {of_mine}");
    let locks = "select count(*) from pg_locks where locktype = 'advisory' \
                 and database = (select oid from pg_database where datname = current_database())";
    let temp = "select to_regclass('pg_temp.leftover')::text";
    let custom = "select current_setting('shop.customer', true)";
    let channels = "select count(*) from pg_listening_channels()";
    let cursors = "select count(*) from pg_cursors where name = 'mine'";
    let cases = [
        ("create temp table leftover (n int)", temp, "leftover", "NULL"),
        ("set work_mem = '77MB'", "show work_mem", "77MB", "4MB"),
        ("set shop.customer = 'ada'", custom, "ada", ""),
        ("set search_path = pg_temp", "show search_path", "pg_temp", "\"$user\", public"),
        ("select pg_advisory_lock(42)", locks, "1", "0"),
        ("prepare mine as select 1", prepared.as_str(), "1", "0"),
        ("declare mine cursor with hold for select 1", cursors, "1", "0"),
        ("listen news", channels, "1", "0"),
        (set_role.as_str(), "select current_user::text", clerk.as_str(), name.as_str()),
    ];
    let first = service.lease(&tenant);
    first.release();
    for (change, look, changed, clean) in cases {
        let lease = service.lease(&tenant);
        lease.run(&[change]);
        assert_eq!(lease.value(look), changed, "{change}");
        lease.release();
        let next = service.lease(&tenant);
        assert_eq!((lease.pid, next.pid), (first.pid, first.pid), "{change}");
        assert_eq!(next.value(look), clean, "{change}");
        next.release();
    }
}

#[test]
fn a_release_rolls_an_open_transaction_back() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    lease.run(&["create table orders (n int)", "begin", "insert into orders values (1)"]);
    assert_eq!(lease.value("select count(*) from orders"), "1");
    let released = lease.client.release(&lease.id).unwrap();
    assert_eq!(released.outcome, ReleaseOutcome::RELEASE_OUTCOME_ROLLED_BACK.into());

    let next = service.lease(&tenant);
    assert_eq!(next.pid, lease.pid);
    let answer = next.run(&["select count(*) from orders"]);
    assert_eq!(text_at(&answer, 0, 0, 0), "0");
    let state = TransactionState::TRANSACTION_STATE_NONE;
    assert_eq!(answer.session.transaction_state, state.into());
    assert_eq!(tenant.sql("select count(*) from orders"), "0");
}

#[test]
fn a_release_leaves_the_leases_of_others_alone() {
    let (service, tenant) = (Service::start(), tenant().pool_of(2));
    let (one, other) = (service.lease(&tenant), service.lease(&tenant));
    other.run(&["create table orders (n int)", "begin", "insert into orders values (1)"]);
    one.release();
    let heir = service.lease(&tenant);
    // The old name does not reach the lease that has the permit now.
    one.release();
    assert_eq!(heir.value("select pg_backend_pid()"), heir.pid.to_string());
    other.run(&["commit"]);
    assert_eq!(other.value("select pg_backend_pid()"), other.pid.to_string());
    assert_eq!(tenant.sql("select count(*) from orders"), "1");
}

#[test]
fn an_idle_lease_ends_with_its_ttl_and_its_connection_is_free_again() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease_with(&ConnectionRequest { ttl: millis(1000), ..request(&tenant) });
    lease.run(&["create table orders (n int)", "begin", "insert into orders values (1)"]);
    service.log().wait_for("event=lease_ended reason=ttl");
    assert_eq!(lease.end_reason(), "ttl");
    let late = lease.client.release(&lease.id).unwrap();
    assert_eq!(late.outcome, ReleaseOutcome::RELEASE_OUTCOME_ALREADY_ENDED.into());
    assert_eq!(late.end_reason, LeaseEndReason::LEASE_END_REASON_TTL.into());
    let next = service.lease(&tenant);
    assert_eq!(next.value("select count(*) from orders"), "0");
}

#[test]
fn a_transaction_left_idle_ends_its_lease_whatever_is_renewed() {
    let (service, tenant) = (Service::start(), tenant().pool_of(2));
    let short = ConnectionRequest { idle_in_transaction: millis(1000), ..request(&tenant) };
    let (left, calm) = (service.lease_with(&short), service.lease_with(&short));
    calm.run(&["create table orders (n int)"]);
    left.run(&["begin", "insert into orders values (1)"]);
    let ended = "event=lease_ended reason=idle_in_transaction";
    eventually("its end", || {
        let renewed = left
            .client
            .renew(&RenewRequest { connection_id: left.id.clone(), ..RenewRequest::default() });
        assert!(renewed.is_ok() || renewed.is_err_and(|error| error.reason == "LEASE_ENDED"));
        service.log().text().contains(ended)
    });
    assert_eq!(left.end_reason(), "idle_in_transaction");
    let late = left.client.release(&left.id).unwrap();
    assert_eq!(late.end_reason, LeaseEndReason::LEASE_END_REASON_IDLE_IN_TRANSACTION.into());
    // The clock is that of transactions: a lease without one has outlived it.
    assert_eq!(calm.value("select count(*) from orders"), "0");
}

fn renew(lease: &harness::Held, ttl: Option<u64>) -> i64 {
    let renewed = lease.client.renew(&RenewRequest {
        connection_id: lease.id.clone(),
        ttl: ttl.map(millis).unwrap_or_default(),
        ..RenewRequest::default()
    });
    renewed.unwrap().ttl.seconds
}

const HOUR: u64 = 3_600_000;

#[test]
fn a_ttl_is_granted_within_its_range() {
    let (service, tenant) = (Service::start(), tenant());
    let granted = |ttl: u64| {
        let asked = ConnectionRequest { ttl: millis(ttl), ..request(&tenant) };
        service.client().acquire_with(&asked).unwrap().lease.ttl.seconds
    };
    assert_eq!((granted(10 * HOUR), granted(1), granted(90_000)), (3600, 1, 90));
    let lease = service.lease(&tenant);
    assert_eq!(renew(&lease, None), 300);
    assert_eq!(renew(&lease, Some(10 * HOUR)), 3600);
    assert_eq!(renew(&lease, None), 3600);
}

#[test]
fn a_renewed_lease_outlives_an_equal_one_that_was_granted_later() {
    let (service, tenant) = (Service::start(), tenant());
    let short = ConnectionRequest { ttl: millis(5000), ..request(&tenant) };
    let renewed = service.lease_with(&short);
    assert_eq!(renew(&renewed, Some(HOUR)), 3600);
    let left_alone = service.lease_with(&short);
    service.log().wait_for("event=lease_ended reason=ttl");
    assert_eq!(left_alone.end_reason(), "ttl");
    renewed.run(&["select 1"]);
    // The other way round: what is renewed to less ends the earlier.
    assert_eq!(renew(&renewed, Some(1)), 1);
    service.wait_stats(&tenant.name, "both have ended", |stats| stats.leases == 0);
    assert_eq!(renewed.end_reason(), "ttl");
}

#[test]
fn a_busy_lease_ends_when_its_longest_life_is_over() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let brief = ConnectionRequest { max_lifetime: millis(3000), ..request(&tenant) };
    let lease = service.lease_with(&brief);
    let error = refused(answer(lease.run_later("select pg_sleep(60)")));
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"), "{error}");
    assert_eq!(error.info.unwrap().metadata["cause"], "max_lifetime");
    assert_eq!(lease.end_reason(), "max_lifetime");
    service.lease(&tenant).run(&["select 1"]);
    assert_eq!(tenant.running("pg_sleep"), 0);
}

#[test]
fn a_busy_lease_is_not_ended_by_its_ttl() {
    let (service, tenant) = (Service::start(), tenant());
    let short = ConnectionRequest { ttl: millis(1000), ..request(&tenant) };
    let blocker = service.lease(&tenant);
    blocker.run(&["select pg_advisory_lock(7)"]);
    let busy = service.lease_with(&short);
    let waiting = busy.run_later("select pg_advisory_lock(7)");
    eventually("the statement stands", || tenant.running("pg_advisory_lock") == 1);

    let idle = service.lease_with(&short);
    let line = service.log().wait_for("event=lease_ended reason=ttl");
    assert!(line.contains(&format!("pid={}", idle.pid)), "{line}");
    assert_eq!(tenant.running("pg_advisory_lock"), 1);

    blocker.release();
    let done = answer(waiting).unwrap();
    assert!(!done.session.lease_ended);
}

#[test]
fn a_busy_lease_takes_no_second_operation_and_no_release_but_a_forced_one() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    let sleep = lease.run_later("select pg_sleep(600)");
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    let second = lease.fails(&["select 1"]);
    let release = refused(lease.client.release(&lease.id));
    for error in [second, release] {
        assert_eq!((error.code, error.reason.as_str()), (code::FAILED_PRECONDITION, "LEASE_BUSY"));
    }
    assert_eq!(tenant.running("pg_sleep"), 1);

    let forced = lease.client.release_with(&lease.id, true).unwrap();
    assert_eq!(forced.outcome, ReleaseOutcome::RELEASE_OUTCOME_CANCELLING.into());
    let error = refused(answer(sleep));
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"), "{error}");
    assert_eq!(error.info.unwrap().metadata["cause"], "release");
    assert_eq!(lease.end_reason(), "released");
    service.lease(&tenant).run(&["select 1"]);
    assert_eq!(tenant.running("pg_sleep"), 0);
}

#[test]
fn a_grant_says_what_was_granted_and_fencing_tokens_only_grow() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let asked = ConnectionRequest { holder: "ada's job".to_owned(), ..request(&tenant) };
    let grants: Vec<_> = (0..10).map(|_| client.acquire_with(&asked).unwrap()).collect();
    assert!(grants.windows(2).all(|two| two[0].lease.fencing_token < two[1].lease.fencing_token));
    for grant in &grants {
        let secret = grant.connection_id.strip_prefix(&format!("conn-{}-", tenant.name)).unwrap();
        assert_eq!(secret.len(), 32);
        assert!(secret.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{secret}");
        assert_eq!((grant.error.as_str(), &grant.lease.tenant_id), ("", &tenant.name));
        assert_eq!(grant.lease.holder, "ada's job");
        assert_eq!((grant.lease.ttl.seconds, grant.lease.lifetime_remaining.seconds), (300, 3600));
    }
    let mut pids: Vec<i32> = grants.iter().map(|grant| grant.lease.backend_pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 10, "two leases share a backend");
}

#[test]
fn the_log_knows_no_secret() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    let with_parameter = |sql: &str| ExecuteRequest {
        connection_id: lease.id.clone(),
        statements: vec![connection_pool_manager::proto::sql::Statement {
            parameters: vec![Value {
                kind: Some(Kind::Text("hush-hush".to_owned())),
                ..Value::default()
            }],
            ..statement(sql)
        }],
        ..ExecuteRequest::default()
    };
    lease.client.execute(&with_parameter("select $1::text")).unwrap();
    refused(lease.client.execute(&with_parameter("select $1::text::int")));
    let other = Tenant { dsn: tenant.dsn.replace(&tenant.password, "wrong-secret"), ..tenant };
    refused(service.client().acquire("stranger", &other.dsn));
    refused(service.client().acquire(&other.name, &other.dsn));
    lease.release();
    service.log().wait_for("event=lease_ended");
    service.log().wait_for("event=connect_failed");
    let text = service.log().text();
    let digits = lease.id.rsplit('-').next().unwrap();
    for secret in [digits, other.password.as_str(), "wrong-secret", "hush-hush", "password="] {
        assert!(!text.contains(secret), "the log shows {secret:?}");
    }
}

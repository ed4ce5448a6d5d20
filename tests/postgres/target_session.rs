//! Which server of several is taken, what is asked of it, and the settings that
//! sessions start with.

use std::sync::OnceLock;

use crate::harness;
use crate::harness::proxy::Proxy;
use crate::harness::sql::assert_error;
use crate::harness::*;
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::embedded::{Embedded, Options, StopMode};

/// A PostgreSQL in recovery, which waits for what never comes. It has the roles
/// of the first tenant of this file.
fn standby() -> &'static Embedded {
    static STANDBY: OnceLock<Embedded> = OnceLock::new();
    STANDBY.get_or_init(|| {
        let mut postgres = Embedded::start(Options::default()).expect("PostgreSQL starts");
        postgres.create_tenant(NAME, PASSWORD).unwrap();
        postgres.stop(StopMode::Fast).unwrap();
        std::fs::write(postgres.data_dir().join("standby.signal"), "").unwrap();
        postgres.start_again().expect("the standby starts");
        postgres
    })
}

const NAME: &str = "shop";
const PASSWORD: &str = "secret-of-shop";

/// The tenant that both have, and the ports of primary and standby.
fn shop() -> (u16, u16) {
    static PRIMARY: OnceLock<u16> = OnceLock::new();
    let primary = PRIMARY.get_or_init(|| {
        postgres().create_tenant(NAME, PASSWORD).unwrap();
        postgres().port()
    });
    (*primary, standby().port())
}

/// A DSN for these servers of this machine.
fn dsn(ports: &[u16], wanted: &str) -> String {
    let hosts = vec!["127.0.0.1"; ports.len()].join(",");
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!(
        "host={hosts} port={} user={NAME} password={PASSWORD} dbname={NAME} pool_min_conns=0 \
         target_session_attrs={wanted}",
        ports.join(",")
    )
}

/// A name of a tenant that nobody has used.
fn fresh() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The port of the server that a lease by this DSN comes to.
#[track_caller]
fn port_of(service: &Service, dsn: &str) -> u16 {
    let client = service.client();
    let granted = client.acquire(&fresh(), dsn).unwrap_or_else(|error| panic!("{dsn}: {error}"));
    let answer = client.run(&granted.connection_id, &["select inet_server_port()"]).unwrap();
    connection_pool_manager::client::service::text_at(&answer, 0, 0, 0).parse().unwrap()
}

#[track_caller]
fn refused_by_all(service: &Service, dsn: &str) -> CallError {
    let error = refused(service.client().acquire(&fresh(), dsn));
    assert_error(&error, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
    error
}

#[test]
fn the_first_server_that_is_what_is_wanted_is_taken() {
    let (service, (primary, standby)) = (Service::start(), shop());
    for (wanted, taken) in [
        ("any", [primary, standby]),
        ("read-write", [primary, primary]),
        ("primary", [primary, primary]),
        ("read-only", [standby, standby]),
        ("standby", [standby, standby]),
        ("prefer-standby", [standby, standby]),
    ] {
        let there = port_of(&service, &dsn(&[primary, standby], wanted));
        let back = port_of(&service, &dsn(&[standby, primary], wanted));
        assert_eq!([there, back], taken, "{wanted}");
    }
    assert_eq!(port_of(&service, &dsn(&[primary], "prefer-standby")), primary);
    assert_eq!(port_of(&service, &dsn(&[1, primary], "prefer-standby")), primary);
}

#[test]
fn a_refused_login_is_not_tried_again_for_want_of_a_standby() {
    let (service, (primary, _)) = (Service::start(), shop());
    let proxy = Proxy::to(primary);
    let dsn = format!("{} password=wrong", dsn(&[proxy.port], "prefer-standby"));
    let error = refused(service.client().acquire(&fresh(), &dsn));
    assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert_eq!(proxy.taken(), 1);
}

#[test]
fn the_error_names_why_each_server_was_passed_over() {
    let (service, (primary, standby)) = (Service::start(), shop());
    for (port, wanted, why) in [
        (standby, "read-write", "the session is read-only"),
        (standby, "primary", "the server is in hot standby mode"),
        (primary, "read-only", "the session is not read-only"),
        (primary, "standby", "the server is not in hot standby mode"),
    ] {
        let error = refused_by_all(&service, &dsn(&[port, 1], wanted));
        let part = format!("127.0.0.1:{port}: {why} (target_session_attrs={wanted})");
        assert!(error.message.contains(&part), "{error}");
        assert!(error.message.contains("127.0.0.1:1: "), "{error}");
    }
    let wrong = dsn(&[standby, primary], "primary").replace(PASSWORD, "wrong");
    let error = refused(service.client().acquire(&fresh(), &wrong));
    assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert!(!error.message.contains(&format!(":{primary}")), "it tried the next one: {error}");
}

#[test]
fn a_session_that_cannot_write_is_not_read_write_wherever_it_is() {
    let (service, tenant) = (Service::start(), tenant());
    let wanted = |wanted| format!("{} target_session_attrs={wanted}", tenant.dsn);
    let off = format!("alter database {} set default_transaction_read_only = on", tenant.name);
    postgres().sql("postgres", &off).unwrap();
    let error = refused_by_all(&service, &wanted("read-write"));
    assert!(error.message.contains("the session is read-only"), "{error}");
    for other in ["read-only", "primary"] {
        port_of(&service, &wanted(other));
    }
    let by_dsn = format!("{} default_transaction_read_only=off", wanted("read-write"));
    port_of(&service, &by_dsn);
}

/// Two backends of a tenant, one leased and one at rest.
fn pair(service: &Service, tenant: &Tenant) -> (Held, i32) {
    let (held, other) = (service.lease(tenant), service.lease(tenant));
    other.release();
    let resting = "one is at rest";
    service.wait_stats(&tenant.name, resting, |stats| stats.idle_connections == 1);
    (held, other.pid)
}

#[test]
fn after_a_write_failed_as_read_only_no_backend_serves_without_being_asked_again() {
    // Its settings change, so it is nobody else's.
    let postgres = Embedded::start(Options::default()).unwrap();
    let (service, mut tenant) = (Service::start(), tenant_on(&postgres).pool_of(2));
    tenant.dsn += " target_session_attrs=read-write";
    let (held, _) = pair(&service, &tenant);
    held.run(&["create table account (name text)"]);
    let turn = |setting: &str| {
        let sql = format!("alter system set default_transaction_read_only = {setting}");
        postgres.sql("postgres", &format!("{sql};\nselect pg_reload_conf()")).unwrap();
    };
    turn("on");
    let write = "insert into account values ('alice')";
    eventually("the session can no longer write", || match held.client.run(&held.id, &[write]) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.postgres.expect("a PostgresError").sqlstate, "25006");
            true
        }
    });
    // The lease itself goes on.
    held.run(&["select 1"]);
    let error = refused(service.client().acquire(&tenant.name, &tenant.dsn));
    assert_error(&error, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
    assert!(error.message.contains("the session is read-only"), "{error}");
    turn("off");
    eventually("a server that can write is back", || {
        service.client().acquire(&tenant.name, &tenant.dsn).is_ok()
    });
    held.release();
    let closed = format!(
        "connpool_backend_closes_total{{reason=\"reset_failed\",tenant=\"{}\"}}",
        tenant.name
    );
    eventually("it is closed", || service.metric(&closed) == Some(1.0));
}

#[test]
fn a_doubt_costs_its_own_backend_and_the_others_one_question() {
    let (service, mut tenant) = (Service::start(), tenant().pool_of(2));
    tenant.dsn += " target_session_attrs=primary";
    let (held, resting) = pair(&service, &tenant);
    let error = held.fails(&["begin read only", "create table account (name text)"]);
    assert_eq!(error.postgres.unwrap().sqlstate, "25006");
    held.release();
    eventually("it is closed", || tenant.backend_pids() == [resting]);
    assert_eq!(service.lease(&tenant).pid, resting);

    // Where writing is not asked for, it is a mistake like any other.
    let other = harness::tenant().pool_of(1);
    let lease = service.lease(&other);
    lease.fails(&["begin read only", "create table account (name text)"]);
    lease.release();
    assert_eq!(service.lease(&other).pid, lease.pid);
}

#[test]
fn sessions_start_with_the_settings_of_the_dsn_and_come_back_to_them() {
    let (service, mut tenant) = (Service::start(), tenant().pool_of(1));
    let odd = "a b\\c'd\te=f  g";
    tenant.dsn += &format!(
        " options='-c work_mem=1MB -c my.other=x' search_path='one, two' work_mem=2MB my.app='{}'",
        odd.replace('\\', "\\\\").replace('\'', "\\'")
    );
    let shown = "select current_setting('search_path') || '|' || current_setting('work_mem') \
                 || '|' || current_setting('my.other') || '|' || current_setting('my.app')";
    let expected = format!("one, two|2MB|x|{odd}");
    let lease = service.lease(&tenant);
    assert_eq!(lease.value(shown), expected);
    lease.run(&["set search_path = three", "set work_mem = '3MB'", "set my.app = 'y'"]);
    lease.release();
    let next = service.lease(&tenant);
    assert_eq!((next.pid, next.value(shown)), (lease.pid, expected));
}

#[test]
fn values_are_the_same_whatever_the_dsn_sets() {
    let (service, tenant) = (Service::start(), tenant());
    let sql = "select date '2024-02-03', timestamptz '2024-02-03 04:05:06+00', \
               interval '1 day 02:03:04.5', bytea '\\x00ff', 0.1::float8, 1.5::numeric, \
               'it\u{e9}', money '12.5'::numeric";
    let plain = service.lease(&tenant).run(&[sql]).results;
    let odd = "datestyle='SQL, DMY' intervalstyle=iso_8601 timezone=Asia/Tokyo \
               bytea_output=escape extra_float_digits=-15 lc_numeric=C \
               options='-c client_encoding=LATIN1'";
    let client = service.client();
    let granted = client.acquire(&fresh(), &format!("{} {odd}", tenant.dsn)).unwrap();
    let answer = client.run(&granted.connection_id, &[sql]).unwrap();
    assert_eq!(answer.results[0].rows, plain[0].rows);
}

#[test]
fn a_setting_that_postgresql_rejects_fails_at_once() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let dsn = format!("{} work_mem=plenty", tenant.dsn);
    let error = refused(client.acquire(&fresh(), &dsn));
    assert_error(&error, code::FAILED_PRECONDITION, "CONNECT_REJECTED");
    assert!(error.message.contains("work_mem"), "{error}");
    let error = refused(client.acquire(&fresh(), &format!("{} workmem=1MB", tenant.dsn)));
    assert_error(&error, code::INVALID_ARGUMENT, "INVALID_ARGUMENT");
    assert!(error.message.contains("workmem: unknown key"), "{error}");
}

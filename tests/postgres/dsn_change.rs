//! A tenant's DSN changes in more than its password while the tenant is there.

use crate::harness;
use crate::harness::proxy::Proxy;
use crate::harness::{
    acquire_later, answer, code, eventually, refused, request, tenant, Service, Tenant,
};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::embedded::{Embedded, Options};
use connection_pool_manager::proto::sql::ListenRequest;

/// The same tenant by a way of its own, as if its database were there.
fn moved(tenant: &Tenant) -> (Proxy, Tenant) {
    let proxy = Proxy::to(harness::postgres().port());
    let tenant = tenant.over(&proxy);
    (proxy, tenant)
}

/// Refused for these keys.
#[track_caller]
fn differs_in(error: &CallError, keys: &str) {
    let said = (error.code, error.reason.as_str());
    assert_eq!(said, (code::FAILED_PRECONDITION, "DSN_MISMATCH"), "{error}");
    assert_eq!(error.info.as_ref().unwrap().metadata["keys"], keys);
    assert!(error.message.contains(&keys.replace(',', ", ")), "{error}");
}

#[test]
fn a_moved_database_takes_over_at_once_when_nobody_uses_the_tenant() {
    let (service, old) = (Service::start(), tenant().pool_of(2));
    let (proxy, new) = moved(&old);
    let lease = service.lease(&old);
    let before = lease.pid;
    lease.release();
    let fresh = service.lease(&new);
    let told = service.log().wait_for("event=servers_changed");
    let (from, to) = (harness::postgres().port(), proxy.port);
    let place = format!("database=\"{0}\" user=\"{0}\"", old.name);
    for part in ["WARN", &format!("from=\"127.0.0.1:{from}\" to=\"127.0.0.1:{to}\" {place}")] {
        assert!(told.contains(part), "{told}");
    }
    let created = service.log().wait_for("event=pool_created");
    let there = format!("server=\"127.0.0.1:{from}\" {place}");
    assert!(created.contains(&there) && !created.contains(&old.password), "{created}");
    assert_eq!((proxy.taken(), fresh.pid == before), (1, false));
    eventually("what rested is closed", || old.backends() == 1);
    // Whoever has yet to hear of it is told, and gets in again when nobody is here.
    differs_in(&refused(service.client().acquire(&old.name, &old.dsn)), "port");
    fresh.release();
    let back = service.lease(&old);
    eventually("only one is left", || old.backends() == 1);
    assert_eq!(back.value("select 1"), "1");
    assert_eq!(service.client().stats(&old.name).unwrap().leases, 1);
}

#[test]
fn a_moved_database_takes_over_while_checks_of_the_old_one_hang() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let new = tenant.with("pool_health_check_period=1s");
    let (proxy, old) = moved(&new);
    service.lease(&old).release();
    service.wait_quiet(&old.name);
    proxy.hold();
    // A check has the only permit, and then the attempts to open another connection.
    service.wait_stats(&old.name, "it is asked", |stats| stats.active_connections == 1);
    assert_eq!(service.lease(&new).value("select 1"), "1");
}

#[test]
fn nothing_takes_over_while_the_tenant_is_in_use() {
    let (service, old) = (Service::start(), tenant().pool_of(2));
    let client = service.client();
    let (proxy, new) = moved(&old);
    let lease = service.lease(&old);
    differs_in(&refused(client.acquire(&new.name, &new.dsn)), "port");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    lease.release();

    let listen = ListenRequest {
        tenant_id: old.name.clone(),
        dsn: old.dsn.clone(),
        channels: vec!["news".to_owned()],
        ..ListenRequest::default()
    };
    let mut listener = client.listen(&listen).unwrap();
    assert!(listener.next().unwrap().is_some(), "it has started");
    differs_in(&refused(client.acquire(&new.name, &new.dsn)), "port");
    drop(listener);
    assert_eq!(proxy.taken(), 0, "nobody was asked there");
    // Nobody but the listener was in the way.
    eventually("it is gone", || client.acquire(&new.name, &new.dsn).is_ok());
}

#[test]
fn a_lease_that_is_granted_meanwhile_keeps_the_name() {
    let (service, old) = (Service::start(), tenant().pool_of(2));
    let (proxy, new) = moved(&old);
    service.lease(&old).release();
    proxy.hold();
    let client = service.client();
    let waits = acquire_later(&client, &request(&new));
    eventually("it is being tried", || proxy.taken() == 1);
    let lease = service.lease(&old);
    proxy.forward();
    differs_in(&refused(answer(waits)), "port");
    assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    eventually("nothing is left of the other", || old.backends() == 1);
}

#[test]
fn a_server_of_somebody_else_takes_nothing_over() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    // Not the process: a server that answers late is asked on another connection.
    let port = || {
        let lease = service.lease(&tenant);
        let port = lease.value("show port");
        lease.release();
        port
    };
    let before = port();
    let theirs = Embedded::start(Options::default()).unwrap();
    theirs.create_tenant(&tenant.name, "theirs").unwrap();
    let dsn = theirs.tenant_dsn(&tenant.name, "theirs") + " pool_max_conns=1 pool_min_conns=0";
    differs_in(&refused(service.client().acquire(&tenant.name, &dsn)), "port");
    let asked = theirs.sql(
        "postgres",
        "select count(*) from pg_stat_activity where application_name like 'connpool/%'",
    );
    assert_eq!(asked.unwrap().trim(), "0");
    assert_eq!(port(), before);
}

#[test]
fn the_password_beside_another_server_is_guessed_no_faster_than_alone() {
    let (service, tenant) = (Service::start(), tenant());
    let held = service.lease(&tenant);
    for n in 0..5 {
        let guess = tenant.with(&format!("host=localhost password=guess{n}"));
        differs_in(&refused(service.client().acquire(&guess.name, &guess.dsn)), "host");
    }
    held.release();
    // Right or wrong: the answer is the same, and nobody is asked.
    for password in ["guess5", &tenant.password] {
        let guess = tenant.with(&format!("host=localhost password={password}"));
        let error = refused(service.client().acquire(&guess.name, &guess.dsn));
        assert_eq!(error.reason, "LOGIN_LIMIT", "{error}");
    }
    // Whoever has shown the right one goes on.
    held.client.acquire(&tenant.name, &tenant.dsn).unwrap();
}

#[test]
fn what_else_differs_is_named_and_no_value_is() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    service.lease(&tenant).release();
    for (keys, named) in [
        ("dbname=postgres", "dbname"),
        ("sslmode=require pool_max_conns=3", "sslmode,pool_max_conns"),
        ("port=1 dbname=postgres password=hunter2", "port,dbname"),
        ("search_path=hunter2 my.app=hunter2", "my.app,search_path"),
    ] {
        let error = refused(client.acquire(&tenant.name, &tenant.with(keys).dsn));
        differs_in(&error, named);
        assert!(!error.message.contains("hunter2"), "{error}");
    }
}

#[test]
fn applications_of_one_tenant_share_its_pool() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant.with("application_name=first"));
    let pid = lease.pid;
    assert_eq!(lease.value("show application_name"), "first");
    lease.release();
    service.wait_quiet(&tenant.name);
    let lease = service.lease(&tenant.with("application_name=second"));
    assert_eq!(lease.pid, pid);
    // It is the pool's; who wants its own sets it.
    assert_eq!(lease.value("show application_name"), "first");
    lease.run(&["set application_name = 'second'"]);
    lease.release();
    assert_eq!(service.lease(&tenant).value("show application_name"), "first");
}

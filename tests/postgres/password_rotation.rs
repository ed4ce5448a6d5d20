//! A tenant's password is changed while it is in use.

use crate::harness;
use crate::harness::proxy::Proxy;
use crate::harness::{
    acquire_later, answer, code, eventually, refused, request, tenant, Held, Service, Tenant,
};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::sql::ListenRequest;

/// The same tenant with another password.
fn with(tenant: &Tenant, password: &str) -> Tenant {
    let dsn = format!("{} password={password}", tenant.dsn);
    Tenant { name: tenant.name.clone(), password: password.to_owned(), dsn }
}

fn change(tenant: &Tenant, password: &str) -> Tenant {
    tenant.sql(&format!("alter role {} password '{password}'", tenant.name));
    with(tenant, password)
}

#[track_caller]
fn is_wrong(error: &CallError) {
    let said = (error.code, error.reason.as_str());
    assert_eq!(said, (code::FAILED_PRECONDITION, "CONNECT_REJECTED"), "{error}");
    assert_eq!(error.info.as_ref().unwrap().metadata["sqlstate"], "28P01");
}

#[test]
fn a_new_password_that_works_takes_over_and_leases_continue_to_their_end() {
    let (service, old) = (Service::start(), tenant().pool_of(2));
    let client = service.client();
    let (leased, resting) = (service.lease(&old), service.lease(&old));
    resting.release();
    service.wait_stats(&old.name, "one rests", |stats| stats.idle_connections == 1);
    let new = change(&old, "changed");
    let fresh = service.lease(&new);
    service.log().wait_for("event=password_changed");
    // One lease of each.
    assert_eq!(leased.value("select pg_backend_pid()"), leased.pid.to_string());
    assert_eq!(fresh.value("select pg_backend_pid()"), fresh.pid.to_string());
    eventually("what rested is closed", || old.backends() == 2);
    let mut told = None;
    eventually("the service knows of it", || {
        let error = refused(client.acquire(&old.name, &old.dsn));
        let known = error.reason != "SERVICE_LIMIT";
        told = Some(error);
        known
    });
    is_wrong(&told.expect("it was asked"));
    assert_eq!(client.stats(&new.name).unwrap().leases, 2);
    leased.release();
    eventually("what was leased is closed when it comes back", || old.backends() == 1);
    fresh.release();
    service.wait_quiet(&new.name);
    assert_eq!(service.lease(&new).pid, fresh.pid);
    let text = service.log().text();
    assert!(!text.contains("changed\"") && !text.contains(&old.password), "a password is logged");
}

#[test]
fn waiting_and_listening_calls_with_the_old_password_fail() {
    let (service, old) = (Service::start(), tenant().pool_of(2));
    let client = service.client();
    let channels = vec!["news".to_owned()];
    let listen = ListenRequest {
        tenant_id: old.name.clone(),
        dsn: old.dsn.clone(),
        channels,
        ..ListenRequest::default()
    };
    let mut listener = client.listen(&listen).unwrap();
    assert!(listener.next().unwrap().is_some(), "it has started");
    let held = service.lease(&old);
    let waits = acquire_later(&client, &request(&old));
    service.wait_stats(&old.name, "it waits", |stats| stats.waiting == 1);
    let fresh = service.lease(&change(&old, "changed"));
    for error in [refused(answer(waits)), listener.next().expect_err("it is over")] {
        let said = (error.code, error.reason.as_str());
        assert_eq!(said, (code::FAILED_PRECONDITION, "DSN_MISMATCH"), "{error}");
    }
    held.release();
    fresh.release();
    eventually("only the new one is left", || old.backends() == 1);
}

#[test]
fn a_wrong_password_changes_nothing() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let client = service.client();
    let lease = service.lease(&tenant);
    is_wrong(&refused(client.acquire(&tenant.name, &with(&tenant, "wrong").dsn)));
    assert_eq!(lease.value("select 1"), "1");
    lease.release();
    // Not even while it is away, or full.
    assert_eq!(service.lease(&tenant).pid, lease.pid);
    let stats = client.stats(&tenant.name).unwrap();
    assert_eq!((stats.total_connections, stats.waiting), (1, 0));
}

#[test]
fn few_passwords_are_tried_at_once_and_nothing_is_left_of_them() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let client = service.client();
    let proxy = Proxy::to(harness::postgres().port());
    let tenant = tenant.over(&proxy);
    let lease = service.lease(&tenant);
    proxy.hold();
    let guess = |n: usize| request(&with(&tenant, &format!("guess{n}")));
    let tried: Vec<_> = (0..4).map(|n| acquire_later(&client, &guess(n))).collect();
    // Those beyond the limit are told at once.
    eventually("the others are told", || at_their_limit(&service) == 2.0);
    proxy.forward();
    let errors: Vec<CallError> = tried.into_iter().map(|call| refused(answer(call))).collect();
    let of = |reason: &str| errors.iter().filter(|error| error.reason == reason).count();
    assert_eq!((of("CONNECT_REJECTED"), of("CALLER_LIMIT")), (2, 2), "{errors:?}");
    is_wrong(&refused(client.acquire_with(&guess(9))));
    assert_eq!(lease.value("select 1"), "1");
    lease.release();
    let again = lease.client.acquire(&tenant.name, &tenant.dsn).expect("it has the right one");
    assert_eq!(again.lease.backend_pid, lease.pid);
}

/// How many requests were beyond what their callers may have.
fn at_their_limit(service: &Service) -> f64 {
    let metric = "connpool_acquire_failures_total{reason=\"caller_limit\"";
    let page = service.get("/metrics").1;
    let lines = page.lines().filter(|line| line.starts_with(metric));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn what_one_client_tries_leaves_room_for_what_another_knows() {
    let (service, old) = (Service::start(), tenant().pool_of(1));
    let (guesser, client) = (service.client(), service.client());
    let proxy = Proxy::to(harness::postgres().port());
    let old = old.over(&proxy);
    let lease = service.lease(&old);
    proxy.hold();
    let guess = |n: usize| request(&with(&old, &format!("guess{n}")));
    let tried: Vec<_> = (0..4).map(|n| acquire_later(&guesser, &guess(n))).collect();
    eventually("two are told", || at_their_limit(&service) == 2.0);
    eventually("two are tried", || proxy.taken() == 3);
    let right = acquire_later(&client, &request(&change(&old, "changed")));
    eventually("it is tried beside them", || proxy.taken() == 4);
    proxy.forward();
    assert!(answer(right).is_ok());
    tried.into_iter().for_each(|call| drop(refused(answer(call))));
    assert_eq!(lease.value("select 1"), "1");
}

#[test]
fn the_right_password_need_not_wait_for_a_wrong_one_that_is_being_tried() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let client = service.client();
    let proxy = Proxy::to(harness::postgres().port());
    let tenant = tenant.over(&proxy);
    proxy.hold();
    let wrong = acquire_later(&client, &request(&with(&tenant, "wrong")));
    eventually("it is being tried", || service.knows(&tenant.name));
    let right = acquire_later(&client, &request(&tenant));
    eventually("so is the other", || proxy.taken() >= 2);
    proxy.forward();
    assert!(answer(right).is_ok());
    // Refused, or told that another password is right, whatever comes first.
    assert_eq!(refused(answer(wrong)).code, code::FAILED_PRECONDITION);
    assert_eq!(client.stats(&tenant.name).unwrap().leases, 1);
    is_wrong(&refused(client.acquire(&tenant.name, &with(&tenant, "wrong").dsn)));
}

#[test]
fn old_and_new_together_have_up_to_twice_the_connections_and_no_more() {
    let (service, first) = (Service::start(), tenant().pool_of(2));
    let old = [service.lease(&first), service.lease(&first)];
    let second = change(&first, "second");
    let new = [service.lease(&second), service.lease(&second)];
    assert_eq!(first.backends(), 4);
    let third = change(&first, "third");
    let error = refused(service.client().acquire(&third.name, &third.dsn));
    assert_eq!(error.reason, "SERVICE_LIMIT", "{error}");
    assert!(error.message.contains("earlier passwords"), "{error}");
    for lease in old.iter().chain(&new) {
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    }
    old.iter().for_each(Held::release);
    let client = service.client();
    eventually("the oldest are closed", || client.acquire(&third.name, &third.dsn).is_ok());
    eventually("nothing is left of them", || first.backends() == 3);
}

#[test]
fn a_role_with_no_more_connections_than_its_pool_can_change_its_password() {
    let (service, old) = (Service::start(), tenant().pool_of(2));
    old.sql(&format!("alter role {} connection limit 2", old.name));
    let leases = [service.lease(&old), service.lease(&old)];
    leases.iter().for_each(Held::release);
    service.wait_stats(&old.name, "both rest", |stats| stats.idle_connections == 2);
    let new = change(&old, "changed");
    let client = service.client();
    // PostgreSQL takes a moment to end those that were closed.
    eventually("it is let in", || client.acquire(&new.name, &new.dsn).is_ok());
    eventually("only the new one is left", || old.backends() == 1);
}

#[test]
fn where_any_password_would_do_none_takes_over() {
    let (service, tenant) = (Service::start(), tenant().pool_of(2));
    let client = service.client();
    let hba = harness::postgres().data_dir().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    let trusts = format!("host {} all 127.0.0.1/32 trust\n{rules}", tenant.name);
    std::fs::write(&hba, trusts).unwrap();
    tenant.sql("select pg_reload_conf()");
    let mut tries = 0;
    eventually("it is trusted", || {
        tries += 1;
        let probe = with(&tenant, "any");
        client.acquire(&format!("probe{tries}"), &probe.dsn).is_ok()
    });
    let lease = service.lease(&tenant);
    let opens = format!("connpool_backend_opens_total{{tenant=\"{}\"}}", tenant.name);
    let before = service.metric(&opens).expect("it was opened");
    for password in ["one", "two"] {
        let error = refused(client.acquire(&tenant.name, &with(&tenant, password).dsn));
        assert_eq!(error.reason, "DSN_MISMATCH", "{error}");
    }
    assert_eq!(service.metric(&opens), Some(before));
    assert_eq!(lease.value("select 1"), "1");
}

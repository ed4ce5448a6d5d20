//! How the service stops: what it waits for, what it ends, and what it leaves.

use crate::harness;
use crate::harness::proxy::Proxy;
use crate::harness::{
    acquire_later, answer, code, eventually, execute_later, now, postgres, refused, request,
    tenant, Service,
};
use rustix::process::Signal;

#[test]
fn either_signal_ends_an_idle_service_and_its_backends() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut service, tenant) = (Service::start(), tenant());
        service.lease(&tenant).release();
        eventually("the pool is warm", || tenant.backends() == 5);
        service.wait_quiet(&tenant.name);
        service.signal(signal);
        assert_eq!(service.wait().code(), Some(0), "{signal:?}");
        eventually("no backend is left", || tenant.backends() == 0);
        service.log().wait_for("event=stopped ");
    }
}

#[test]
fn a_service_that_never_had_a_tenant_ends_too() {
    assert_eq!(Service::start().stop().code(), Some(0));
}

#[test]
fn a_lease_stays_usable_during_the_drain_and_its_release_ends_the_service() {
    let mut service = Service::with(&["--drain-timeout", "600"]);
    let tenant = tenant();
    let lease = service.lease(&tenant);
    lease.run(&["create table orders (n int)", "begin", "insert into orders values (1)"]);
    service.signal(Signal::TERM);
    service.log().wait_for("event=draining");
    let newcomer = refused(lease.client.acquire(&tenant.name, &tenant.dsn));
    let elsewhere = refused(service.client().acquire("stranger", &tenant.dsn));
    for error in [newcomer, elsewhere] {
        assert_eq!((error.code, error.reason.as_str()), (code::UNAVAILABLE, "DRAINING"), "{error}");
    }
    lease.run(&["insert into orders values (2)", "commit"]);
    lease.release();
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(tenant.sql("select count(*) from orders"), "2");
    eventually("no backend is left", || tenant.backends() == 0);
    assert!(!service.log().text().contains("event=drain_timeout"));
}

#[test]
fn waiting_requests_fail_when_the_drain_begins() {
    let mut service = Service::with(&["--drain-timeout", "600"]);
    let tenant = tenant().pool_of(1);
    let held = service.lease(&tenant);
    let waiting: Vec<_> = (0..20).map(|_| acquire_later(&held.client, &request(&tenant))).collect();
    service.wait_stats(&tenant.name, "all stand", |stats| stats.waiting == 20);
    service.signal(Signal::TERM);
    for call in waiting {
        let error = refused(answer(call));
        assert_eq!((error.code, error.reason.as_str()), (code::UNAVAILABLE, "DRAINING"), "{error}");
    }
    held.run(&["select 1"]);
    held.release();
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_statement_that_outlasts_the_drain_is_cancelled_and_fails() {
    let mut service = Service::with(&["--drain-timeout", "1"]);
    let tenant = tenant();
    let (busy, idle) = (service.lease(&tenant), service.lease(&tenant));
    idle.run(&["create table orders (n int)", "begin", "insert into orders values (1)"]);
    let sleep = busy.run_later("select pg_sleep(600)");
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    service.signal(Signal::TERM);
    let error = refused(answer(sleep));
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "CANCELLED"), "{error}");
    assert_eq!(error.info.unwrap().metadata["cause"], "shutdown");
    assert_eq!(service.wait().code(), Some(0));
    eventually("no backend is left", || tenant.backends() == 0);
    assert_eq!(tenant.sql("select count(*) from orders"), "0");
    service.log().wait_for("event=drain_timeout");
    service.log().wait_for("event=stopped ");
    assert!(!service.log().text().contains("event=connections_left"));
}

#[test]
fn a_one_shot_that_outlasts_the_drain_is_cancelled_too() {
    let mut service = Service::with(&["--drain-timeout", "1"]);
    let tenant = tenant();
    let request = harness::sql::sleeping_one_shot(&tenant);
    let client = service.client();
    let sleep = execute_later(&client, &request);
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    service.signal(Signal::TERM);
    let error = refused(answer(sleep));
    let said = [code::ABORTED, code::CANCELLED, code::UNAVAILABLE];
    assert!(said.contains(&error.code), "{error}");
    assert_eq!(service.wait().code(), Some(0));
    eventually("no backend is left", || tenant.backends() == 0);
    assert!(!service.log().text().contains("event=connections_left"));
}

#[test]
fn what_hangs_does_not_hold_a_stop_up() {
    let mut service = Service::with(&["--drain-timeout", "1"]);
    let proxy = Proxy::to(postgres().port());
    let (busy, unknown) = (tenant().over(&proxy).pool_of(4), tenant().over(&proxy).pool_of(4));
    let client = service.client();
    let (lease, _idle) = (service.lease(&busy), service.lease(&busy));
    let sleep = lease.run_later("select pg_sleep(600)");
    let one_shot = execute_later(&client, &harness::sql::sleeping_one_shot(&busy));
    eventually("they sleep", || busy.running("pg_sleep") == 2);
    service.lease(&busy).release();
    // Neither logins nor cancels nor goodbyes are answered.
    proxy.hold();
    let taken = proxy.taken();
    let login = acquire_later(&client, &request(&unknown));
    eventually("it logs in", || proxy.taken() > taken);
    let began = now();
    service.signal(Signal::TERM);
    assert_eq!(service.wait().code(), Some(0));
    let took = now() - began;
    println!("stopped after {took:?}");
    // The drain, and what TimeoutStopSec of docs/operation.md allows for.
    assert!(took.as_secs() < 1 + 25, "{took:?}");
    for error in [refused(answer(sleep)), refused(answer(one_shot)), refused(answer(login))] {
        assert!(!error.message.is_empty(), "{error}");
    }
}

#[test]
fn a_second_signal_ends_a_long_drain_at_once() {
    let mut service = Service::with(&["--drain-timeout", "600"]);
    let tenant = tenant();
    let lease = service.lease(&tenant);
    service.signal(Signal::TERM);
    service.log().wait_for("event=draining");
    lease.run(&["select 1"]);
    service.signal(Signal::INT);
    assert_eq!(service.wait().code(), Some(1));
    eventually("no backend is left", || tenant.backends() == 0);
}

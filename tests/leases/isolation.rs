//! What one caller does or suffers is nothing to the others.

use crate::harness;
use crate::harness::parked;
use crate::harness::proxy::Proxy;
use crate::harness::sql::{one_shot, sleeping_one_shot};
use crate::harness::{
    acquire_later, answer, eventually, execute_later, refused, request, tenant, Later, Service,
    Tenant,
};
use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::Client;
use connection_pool_manager::proto::sql::session_request::Kind;
use futures_util::FutureExt;

#[track_caller]
fn assert_unanswered<T: Unpin>(calls: &mut [Later<T>]) {
    for call in calls {
        assert!(call.now_or_never().is_none(), "it has been answered");
    }
}

/// Uses a tenant in every way, to the end.
fn live(client: &Client, tenant: &Tenant) {
    let granted = client.acquire_with(&request(tenant)).unwrap();
    client.run(&granted.connection_id, &["begin", "select 1", "commit"]).unwrap();
    client.release(&granted.connection_id).unwrap();
    client.execute(&one_shot(tenant, &["select 1"])).unwrap();
    let (mut session, _) = client.open_session(request(tenant)).unwrap();
    session.execute(1, &["select 1"]).unwrap();
    session.next().unwrap().unwrap();
    session.close().unwrap();
    session.next().unwrap().unwrap();
    assert!(session.next().unwrap().is_none());
}

#[test]
fn a_tenant_works_while_another_is_full_of_work_and_of_waiting_requests() {
    let (service, full, free) = (Service::start(), tenant(), tenant());
    let (busy, waiting, own) = (service.client(), service.client(), service.client());
    let mut work: Vec<_> =
        (0..20).map(|_| execute_later(&busy, &sleeping_one_shot(&full))).collect();
    eventually("all sleep", || full.running("pg_sleep") == 20);
    let mut line: Vec<_> = (0..180).map(|_| acquire_later(&waiting, &parked(&full))).collect();
    service.wait_stats(&full.name, "all stand", |stats| stats.waiting == 180);
    // Also on a connection that has 180 calls of the full tenant.
    for client in [&own, &waiting, &busy] {
        for _ in 0..30 {
            live(client, &free);
        }
    }
    assert_unanswered(&mut work);
    assert_unanswered(&mut line);
    assert_eq!(full.running("pg_sleep"), 20);
    assert_eq!(own.stats(&full.name).unwrap().waiting, 180);
    drop(line);
    service.wait_stats(&full.name, "all have left", |stats| stats.waiting == 0);
    drop(work);
    for tenant in [&full, &free] {
        service.wait_quiet(&tenant.name);
    }
    live(&busy, &full);
}

const BIG: &str = "select repeat('x', 3000000)";

/// Sends more than fits on the way, and reads nothing.
fn flood(session: &mut Session) {
    for id in 0..20 {
        session.execute(id, &[BIG]).unwrap();
    }
}

#[test]
fn a_stream_with_unread_answers_delays_only_itself() {
    let (service, tenant, other) = (Service::start(), tenant(), tenant());
    let lazy = service.client();
    let before = service.proc_status("VmRSS:");
    let mut lazies: Vec<Session> = Vec::new();
    for _ in 0..5 {
        let (mut session, _) = lazy.open_session(request(&tenant)).unwrap();
        flood(&mut session);
        lazies.push(session);
    }
    for client in [&service.client(), &lazy] {
        for _ in 0..10 {
            live(client, &tenant);
            live(client, &other);
        }
    }
    // They are where they were, and an answer each is all that is in memory.
    assert_eq!(lazy.stats(&tenant.name).unwrap().leases, 5);
    let grown = service.proc_status("VmRSS:").saturating_sub(before);
    assert!(grown < 200_000, "{grown} KiB");
    // Who reads at last has all of it.
    let mut late = lazies.pop().unwrap();
    late.close().unwrap();
    let mut answers = 0;
    while late.next().unwrap().is_some() {
        answers += 1;
    }
    assert_eq!(answers, 21);
    drop(lazies);
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_connection_that_is_frozen_holds_only_itself_up() {
    let (service, tenant, other) = (Service::start(), tenant(), tenant());
    let proxy = Proxy::to(service.port);
    let frozen = service.client_by(proxy.port);
    let lease = frozen.acquire(&tenant.name, &tenant.dsn).unwrap();
    let (mut idle, _) = frozen.open_session(request(&tenant)).unwrap();
    let (mut full, _) = frozen.open_session(request(&tenant)).unwrap();
    flood(&mut full);
    let mut work = [execute_later(&frozen, &sleeping_one_shot(&tenant))];
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    proxy.hold();
    let client = service.client();
    for _ in 0..20 {
        live(&client, &tenant);
        live(&client, &other);
    }
    assert_unanswered(&mut work);
    assert_eq!(client.stats(&tenant.name).unwrap().leases, 3);
    // It goes on where it stood.
    proxy.forward();
    idle.execute(1, &["select 1"]).unwrap();
    idle.next().unwrap().unwrap();
    frozen.run(&lease.connection_id, &["select 1"]).unwrap();
    frozen.release(&lease.connection_id).unwrap();
    drop((idle, full, work));
    service.wait_quiet(&tenant.name);
}

/// In how many ways a client can be doing something when it is killed.
const STATES: usize = 5;

/// A client that is in this state, and has one permit or waits for one.
fn client_in(state: usize, far: &Client, service: &Service, tenant: &Tenant) -> Session {
    if state == 0 {
        let mut session = far.session().unwrap();
        session.send(Kind::Open(parked(tenant))).unwrap();
        service.wait_stats(&tenant.name, "it waits", |stats| stats.waiting == 1);
        return session;
    }
    let (mut session, _) = far.open_session(request(tenant)).unwrap();
    match state {
        1 => {}
        2 => {
            session.execute(1, &["begin", "create table never (n int)"]).unwrap();
            session.next().unwrap().unwrap();
        }
        3 => {
            session.execute(1, &["select pg_sleep(600)"]).unwrap();
            session.execute(2, &["create table never (n int)"]).unwrap();
            eventually("it sleeps", || tenant.running("pg_sleep") == 1);
        }
        _ => flood(&mut session),
    }
    session
}

#[test]
fn a_client_that_is_killed_leaves_nothing_behind_in_whatever_state() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let client = service.client();
    let settled = || {
        live(&client, &tenant);
        service.wait_quiet(&tenant.name);
        eventually("idle workers have ended", || {
            service.metric("connpool_worker_threads") == Some(0.0)
        });
    };
    settled();
    let (threads, descriptors) = (service.threads(), service.descriptors());
    for _ in 0..3 {
        for state in 0..STATES {
            // One state needs a lease in its way.
            let held = (state == 0).then(|| service.lease(&tenant));
            let proxy = Proxy::to(service.port);
            let far = service.client_by(proxy.port);
            let session = client_in(state, &far, &service, &tenant);
            proxy.cut();
            service.wait_stats(&tenant.name, "it left", |stats| stats.waiting == 0);
            drop(held.inspect(harness::Held::release));
            service.wait_quiet(&tenant.name);
            drop(session);
        }
    }
    assert_eq!(tenant.sql("select to_regclass('never') is null"), "t");
    settled();
    eventually("descriptors are as before", || service.descriptors() <= descriptors);
    let after = service.threads();
    assert!(after <= threads + 2, "{threads} threads, then {after}");
}

#[test]
fn the_lease_of_a_client_that_vanished_without_a_word_is_given_back() {
    let service = Service::with(&["--keepalive-time", "1", "--keepalive-timeout", "10"]);
    let tenant = tenant().pool_of(3);
    let proxy = Proxy::to(service.port);
    let far = service.client_by(proxy.port);
    let (idle, opened) = far.open_session(request(&tenant)).unwrap();
    let (mut busy, _) = far.open_session(request(&tenant)).unwrap();
    busy.execute(1, &["begin", "select pg_sleep(600)"]).unwrap();
    eventually("it sleeps", || tenant.running("pg_sleep") == 1);
    let (mut silent, _) = service.client().open_session(request(&tenant)).unwrap();
    let waiting = acquire_later(&far, &parked(&tenant));
    service.wait_stats(&tenant.name, "it stands", |stats| stats.waiting == 1);
    proxy.lose();
    service.wait_stats(&tenant.name, "they are gone", |stats| {
        (stats.waiting, stats.leases, stats.active_connections) == (0, 1, 1)
    });
    assert_eq!(tenant.running("pg_sleep"), 0);
    let late = refused(service.client().run(&opened.connection_id, &["select 1"]));
    assert_eq!(late.info.unwrap().metadata["end_reason"], "stream_lost");
    // Silence alone is no offence.
    silent.execute(1, &["select 1"]).unwrap();
    silent.next().unwrap().unwrap();
    drop((idle, busy, silent));
    proxy.cut();
    refused(answer(waiting));
    service.wait_quiet(&tenant.name);
}

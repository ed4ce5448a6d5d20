//! What a tenant, a connection and a caller may have, and what those are told
//! who want more.

use crate::harness::{park, parked};
use std::collections::HashMap;

use crate::harness::sql::{one_shot, sleeping_one_shot};
use crate::harness::{
    acquire_later, answer, code, eventually, execute_later, millis, refused, request, retry_delay,
    tenant, Held, Later, Service, Tenant,
};
use connection_pool_manager::client::service::session::Session;
use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use futures_executor::block_on;
use futures_util::FutureExt;

/// The facts of a refusal for want of room, which is worth another try later.
#[track_caller]
fn facts(call: Later<ConnectionResponse>, reason: &str) -> HashMap<String, String> {
    let raw = block_on(call).expect_err("it is refused");
    assert!(retry_delay(&raw).is_some_and(|delay| !delay.is_zero()), "no RetryInfo: {raw}");
    facts_of(CallError::from(raw), reason)
}

#[track_caller]
fn facts_of(error: CallError, reason: &str) -> HashMap<String, String> {
    let said = (error.code, error.reason.as_str());
    assert_eq!(said, (code::RESOURCE_EXHAUSTED, reason), "{error}");
    error.info.expect("an ErrorInfo").metadata
}

#[track_caller]
fn assert_facts(facts: &HashMap<String, String>, tenant: &Tenant, wanted: &[(&str, &str)]) {
    assert_eq!(facts["tenant"], tenant.name);
    for (key, value) in wanted {
        assert_eq!(facts.get(*key).map(String::as_str), Some(*value), "{key} in {facts:?}");
    }
}

/// A tenant whose pool is larger than one caller's share of 20.
fn large() -> Tenant {
    let mut tenant = tenant();
    tenant.dsn += " pool_max_conns=30 pool_min_conns=0";
    tenant
}

fn leases(client: &Client, tenant: &Tenant, count: usize) -> Vec<Held> {
    let lease = |_| {
        let granted = client.acquire(&tenant.name, &tenant.dsn).unwrap();
        Held { client: client.clone(), pid: granted.lease.backend_pid, id: granted.connection_id }
    };
    (0..count).map(lease).collect()
}

#[test]
fn a_full_queue_refuses_at_once_with_its_numbers() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let clients: Vec<_> = (0..8).map(|_| service.client()).collect();
    let mut line: Vec<_> = clients.iter().flat_map(|client| park(client, &tenant, 125)).collect();
    service.wait_stats(&tenant.name, "all stand", |stats| stats.waiting == 1000);
    let told = facts(acquire_later(&held.client, &parked(&tenant)), "QUEUE_FULL");
    let full = [("used", "1"), ("waiting", "1000"), ("limit", "1000"), ("position", "1001")];
    assert_facts(&told, &tenant, &full);
    // Who wants a one-shot stands in the same queue.
    let told =
        facts_of(refused(held.client.execute(&one_shot(&tenant, &["select 1"]))), "QUEUE_FULL");
    assert_facts(&told, &tenant, &full);
    // A place that is given up can be taken.
    line.pop();
    service.wait_stats(&tenant.name, "one has left", |stats| stats.waiting == 999);
    line.extend(park(&held.client, &tenant, 1));
    service.wait_stats(&tenant.name, "another stands", |stats| stats.waiting == 1000);
    // A grant that meets a caller on his way out may count as delivered.
    drop(line);
    service.wait_stats(&tenant.name, "all have left", |stats| stats.waiting == 0);
    held.release();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_wait_timeout_returns_the_position_in_the_queue() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let mut line = park(&held.client, &tenant, 3);
    service.wait_stats(&tenant.name, "three stand", |stats| stats.waiting == 3);
    let brief = ConnectionRequest { wait_timeout: millis(100), ..request(&tenant) };
    let told = facts(acquire_later(&held.client, &brief), "WAIT_TIMEOUT");
    let fourth = [("used", "1"), ("waiting", "3"), ("limit", "1"), ("position", "4")];
    assert_facts(&told, &tenant, &fourth);
    drop(line.remove(0));
    service.wait_stats(&tenant.name, "one has left", |stats| stats.waiting == 2);
    let told = facts(acquire_later(&held.client, &brief), "WAIT_TIMEOUT");
    assert_facts(&told, &tenant, &[("waiting", "2"), ("position", "3")]);
}

#[test]
fn a_connection_may_park_192_requests_and_its_releases_pass_them() {
    let (service, tenant, other) = (Service::start(), tenant().pool_of(1), tenant());
    let crowded = service.client();
    let held = crowded.acquire(&tenant.name, &tenant.dsn).unwrap();
    // gRPC keeps no order among calls that are sent at once.
    let mut line = Vec::new();
    for standing in 1..=3 {
        line.extend(park(&crowded, &tenant, 1));
        service.wait_stats(&tenant.name, "it stands", |stats| stats.waiting == standing);
    }
    line.extend(park(&crowded, &tenant, 189));
    service.wait_stats(&tenant.name, "all stand", |stats| stats.waiting == 192);
    let told = facts(acquire_later(&crowded, &parked(&tenant)), "CALLER_LIMIT");
    assert_facts(&told, &tenant, &[("used", "192"), ("limit", "192")]);
    // Only waiting is limited: where there is no need to, it is served.
    let there = crowded.acquire(&other.name, &other.dsn).unwrap();
    crowded.release(&there.connection_id).unwrap();
    // Another connection may still wait, behind them.
    let another = service.client();
    let mut late = acquire_later(&another, &parked(&tenant));
    service.wait_stats(&tenant.name, "it stands", |stats| stats.waiting == 193);
    let mut id = held.connection_id;
    for call in line.drain(..3) {
        crowded.release(&id).unwrap();
        id = answer(call).unwrap().connection_id;
        crowded.run(&id, &["select 1"]).unwrap();
    }
    assert!((&mut late).now_or_never().is_none(), "it overtook");
    drop(line);
    service.wait_stats(&tenant.name, "all have left", |stats| stats.waiting == 1);
    crowded.release(&id).unwrap();
    another.release(&answer(late).unwrap().connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_caller_has_twenty_leases_at_a_tenant_although_more_are_free() {
    let (service, tenant, other) = (Service::start(), large(), tenant());
    let (greedy, modest) = (service.client(), service.client());
    let held = leases(&greedy, &tenant, 20);
    let told = facts(acquire_later(&greedy, &parked(&tenant)), "CALLER_LIMIT");
    assert_facts(&told, &tenant, &[("used", "20"), ("limit", "20")]);
    assert_eq!(modest.stats(&tenant.name).unwrap().waiting, 0);
    leases(&modest, &tenant, 1);
    leases(&greedy, &other, 1);
    held[7].release();
    // Its permit is back when the session has been reset.
    eventually("it has another", || greedy.acquire(&tenant.name, &tenant.dsn).is_ok());
    let told = facts(acquire_later(&greedy, &parked(&tenant)), "CALLER_LIMIT");
    assert_facts(&told, &tenant, &[("used", "20")]);
}

#[test]
fn streams_count_as_leases_and_one_shots_do_not() {
    let (service, tenant) = (Service::start(), large());
    let client = service.client();
    let held = leases(&client, &tenant, 10);
    let open = |_| client.open_session(request(&tenant)).unwrap().0;
    let mut streams: Vec<Session> = (0..10).map(open).collect();
    facts(acquire_later(&client, &parked(&tenant)), "CALLER_LIMIT");
    let stream = client.open_session(request(&tenant)).map(drop);
    facts_of(refused(stream), "CALLER_LIMIT");
    let sleeps: Vec<_> =
        (0..9).map(|_| execute_later(&client, &sleeping_one_shot(&tenant))).collect();
    eventually("all sleep", || tenant.running("pg_sleep") == 9);
    client.execute(&one_shot(&tenant, &["select 1"])).unwrap();
    drop(streams.pop());
    eventually("it has another", || client.acquire(&tenant.name, &tenant.dsn).is_ok());
    facts(acquire_later(&client, &parked(&tenant)), "CALLER_LIMIT");
    drop((held, sleeps));
}

#[test]
fn where_one_caller_may_have_all_there_is_it_waits() {
    let (service, tenant) = (Service::start(), tenant().pool_of(20));
    let client = service.client();
    let held = leases(&client, &tenant, 20);
    let next = acquire_later(&client, &parked(&tenant));
    service.wait_stats(&tenant.name, "it stands", |stats| stats.waiting == 1);
    held[0].release();
    answer(next).unwrap();
}

#[test]
fn a_caller_at_its_limit_is_passed_over_when_its_turn_comes() {
    let (service, tenant) = (Service::start(), large());
    let (greedy, first, second) = (service.client(), service.client(), service.client());
    let own = leases(&greedy, &tenant, 18);
    let foreign = leases(&first, &tenant, 12);
    let line = park(&greedy, &tenant, 4);
    service.wait_stats(&tenant.name, "four stand", |stats| stats.waiting == 4);
    let behind = acquire_later(&second, &parked(&tenant));
    service.wait_stats(&tenant.name, "five stand", |stats| stats.waiting == 5);
    for lease in &foreign[..3] {
        lease.release();
    }
    answer(behind).unwrap();
    // gRPC keeps no order among calls that are sent at once.
    let (granted, refused): (Vec<_>, Vec<_>) =
        line.into_iter().map(block_on).partition(Result::is_ok);
    assert_eq!((granted.len(), refused.len()), (2, 2));
    for error in refused.into_iter().filter_map(Result::err) {
        let told = facts_of(CallError::from(error), "CALLER_LIMIT");
        assert_facts(&told, &tenant, &[("used", "20"), ("limit", "20")]);
    }
    drop(own);
}

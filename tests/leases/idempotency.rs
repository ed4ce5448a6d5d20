//! GetConnection with a `request_id`: repeated, it is the same request.

use crate::harness::parked;
use std::collections::HashSet;

use crate::harness::proxy::Proxy;
use crate::harness::{
    acquire_later, answer, code, eventually, millis, postgres, refused, request, tenant, Later,
    Service, Tenant,
};
use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use futures_executor::block_on;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::FutureExt;

/// A request of this name that waits as long as a request may.
fn named(tenant: &Tenant, name: &str) -> ConnectionRequest {
    ConnectionRequest { request_id: format!("{name:-<16}").into_bytes(), ..parked(tenant) }
}

/// Asks, and waits until so many stand in the queue.
fn stand(
    service: &Service,
    client: &Client,
    asked: &ConnectionRequest,
    standing: i32,
) -> Later<ConnectionResponse> {
    let call = acquire_later(client, asked);
    service.wait_stats(&asked.tenant_id, "it stands", |stats| stats.waiting == standing);
    call
}

#[track_caller]
fn assert_superseded(error: &CallError) {
    assert_eq!((error.code, error.reason.as_str()), (code::ABORTED, "SUPERSEDED"), "{error}");
}

#[test]
fn a_repeat_is_answered_with_the_same_lease_while_that_lives() {
    // Another backend could not be had.
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let (near, far) = (service.client(), service.client());
    let first = near.acquire_with(&named(&tenant, "job")).unwrap();
    for client in [&near, &far] {
        let again = client.acquire_with(&named(&tenant, "job")).unwrap();
        assert_eq!(again.connection_id, first.connection_id);
        assert_eq!(again.lease.lease_name, first.lease.lease_name);
        client.run(&again.connection_id, &["select 1"]).unwrap();
    }
    let stats = near.stats(&tenant.name).unwrap();
    assert_eq!((stats.leases, stats.acquire_count, tenant.backends()), (1, 1, 1));
    far.release(&first.connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_repeat_takes_the_place_of_the_first_in_the_queue() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let (near, far) = (service.client(), service.client());
    let early = stand(&service, &near, &parked(&tenant), 1);
    let first = stand(&service, &near, &named(&tenant, "job"), 2);
    let late = stand(&service, &near, &parked(&tenant), 3);
    let repeat = acquire_later(&far, &named(&tenant, "job"));
    assert_superseded(&refused(answer(first)));
    assert_eq!(near.stats(&tenant.name).unwrap().waiting, 3);
    let mut calls = FuturesUnordered::new();
    for (name, call) in [("late", late), ("repeat", repeat), ("early", early)] {
        calls.push(async move { (name, call.await) });
    }
    held.release();
    let mut order = Vec::new();
    while let Some((name, granted)) = block_on(calls.next()) {
        order.push(name);
        near.release(&granted.unwrap().connection_id).unwrap();
    }
    assert_eq!(order, ["early", "repeat", "late"]);
    assert_eq!(service.wait_quiet(&tenant.name).acquire_count, 4);
}

#[test]
fn a_superseded_caller_that_leaves_does_not_cancel_the_request() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let (near, far) = (service.client(), service.client());
    let mut held = near.acquire(&tenant.name, &tenant.dsn).unwrap();
    for round in 0..100 {
        let asked = named(&tenant, &format!("job-{round}"));
        let first = stand(&service, &near, &asked, 1);
        let repeat = acquire_later(&far, &asked);
        // It has been superseded, or is going to be, or the repeat comes too late
        // for that.
        drop(first);
        near.release(&held.connection_id).unwrap();
        held = answer(repeat).unwrap();
    }
    far.release(&held.connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn the_only_caller_who_leaves_leaves_the_queue_and_a_repeat_stands_at_its_end() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let (near, far) = (service.client(), service.client());
    let first = stand(&service, &near, &named(&tenant, "job"), 1);
    let other = stand(&service, &near, &parked(&tenant), 2);
    drop(first);
    service.wait_stats(&tenant.name, "it has left", |stats| stats.waiting == 1);
    let repeat = stand(&service, &far, &named(&tenant, "job"), 2);
    held.release();
    let other = answer(other).unwrap();
    let mut repeat = repeat;
    assert!((&mut repeat).now_or_never().is_none(), "it overtook");
    near.release(&other.connection_id).unwrap();
    far.release(&answer(repeat).unwrap().connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_lease_that_has_ended_is_not_handed_out_again() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let client = service.client();
    let brief = ConnectionRequest { ttl: millis(1000), ..named(&tenant, "job") };
    let first = client.acquire_with(&brief).unwrap();
    client.release(&first.connection_id).unwrap();
    let second = client.acquire_with(&brief).unwrap();
    service.log().wait_for("event=lease_ended reason=ttl");
    let third = client.acquire_with(&named(&tenant, "job")).unwrap();
    let ids = [&first, &second, &third].map(|granted| &granted.connection_id);
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), 3);
    client.run(&third.connection_id, &["select 1"]).unwrap();
    assert_eq!(client.stats(&tenant.name).unwrap().leases, 1);
}

#[test]
fn the_same_name_at_another_tenant_is_another_request() {
    let (service, one, other) = (Service::start(), tenant(), tenant());
    let client = service.client();
    let here = client.acquire_with(&named(&one, "job")).unwrap();
    let there = client.acquire_with(&named(&other, "job")).unwrap();
    assert_ne!(here.connection_id, there.connection_id);
    assert_eq!(there.lease.tenant_id, other.name);
    for tenant in [&one, &other] {
        assert_eq!(client.stats(&tenant.name).unwrap().leases, 1);
    }
}

#[test]
fn a_repeat_with_another_dsn_fails_and_changes_nothing() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let (near, far) = (service.client(), service.client());
    let granted = near.acquire_with(&named(&tenant, "granted")).unwrap();
    let waiting = stand(&service, &near, &named(&tenant, "waiting"), 1);
    for name in ["granted", "waiting"] {
        let guessed = tenant.dsn.replace(&tenant.password, "guessed");
        let other = format!("{} connect_timeout=7", tenant.dsn);
        for (dsn, reason) in [(guessed, "CONNECT_REJECTED"), (other, "DSN_MISMATCH")] {
            let request = ConnectionRequest { dsn, ..named(&tenant, name) };
            let error = refused(far.acquire_with(&request));
            let said = (error.code, error.reason.as_str());
            assert_eq!(said, (code::FAILED_PRECONDITION, reason), "{error}");
            let facts = error.info.unwrap().metadata;
            assert!(
                facts.keys().all(|fact| ["tenant", "sqlstate", "keys"].contains(&&**fact)),
                "{facts:?}"
            );
            assert!(!error.message.contains(&granted.lease.lease_name), "{}", error.message);
        }
    }
    near.release(&granted.connection_id).unwrap();
    near.release(&answer(waiting).unwrap().connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_request_id_is_16_to_64_bytes_long() {
    let (service, tenant) = (Service::start(), tenant());
    let client = service.client();
    let of = |bytes| ConnectionRequest { request_id: vec![0; bytes], ..request(&tenant) };
    for bytes in [1, 15, 65] {
        let error = refused(client.acquire_with(&of(bytes)));
        let said = (error.code, error.reason.as_str());
        assert_eq!(said, (code::INVALID_ARGUMENT, "INVALID_ARGUMENT"), "{error}");
        assert_eq!(error.info.unwrap().metadata["field"], "request_id");
        assert!(error.message.contains("request_id must be 16 to 64"), "{}", error.message);
    }
    for bytes in [16, 64] {
        client.acquire_with(&of(bytes)).unwrap();
    }
}

#[test]
fn a_grant_whose_answer_was_lost_on_the_way_is_there_for_the_repeat() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let proxy = Proxy::to(service.port);
    let far = service.client_by(proxy.port);
    let lost = stand(&service, &far, &named(&tenant, "job"), 1);
    proxy.hold();
    held.release();
    service.wait_stats(&tenant.name, "it is granted", |stats| stats.acquire_count == 2);
    let repeat = held.client.acquire_with(&named(&tenant, "job")).unwrap();
    proxy.cut();
    refused(answer(lost));
    held.client.run(&repeat.connection_id, &["select 1"]).unwrap();
    let stats = held.client.stats(&tenant.name).unwrap();
    assert_eq!((stats.leases, stats.acquire_count), (1, 2));
    held.client.release(&repeat.connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_repeat_that_meets_a_grant_on_its_way_to_one_who_leaves_gets_a_usable_lease() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let (near, far) = (service.client(), service.client());
    let mut held = near.acquire(&tenant.name, &tenant.dsn).unwrap();
    for round in 0..150 {
        let asked = named(&tenant, &format!("job-{round}"));
        let first = stand(&service, &far, &asked, 1);
        near.release(&held.connection_id).unwrap();
        let repeat = acquire_later(&near, &asked);
        drop(first);
        held = match answer(repeat) {
            Ok(granted) => granted,
            Err(error) => panic!("round {round}: {error}"),
        };
        near.run(&held.connection_id, &["select 1"]).unwrap();
    }
    assert_eq!(near.stats(&tenant.name).unwrap().leases, 1);
    near.release(&held.connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_failed_connect_fails_all_repeats_and_a_later_one_tries_again() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let proxy = Proxy::to(postgres().port());
    let dsn = format!("{} port={}", tenant.dsn, proxy.port);
    let by_proxy = |asked: ConnectionRequest| ConnectionRequest { dsn: dsn.clone(), ..asked };
    let client = service.client();
    proxy.hold();
    let first = acquire_later(&client, &by_proxy(named(&tenant, "job")));
    eventually("it is being opened", || {
        client.stats(&tenant.name).is_ok_and(|stats| stats.opening == 1)
    });
    let other = stand(&service, &client, &by_proxy(named(&tenant, "other")), 1);
    let nameless = stand(&service, &client, &by_proxy(parked(&tenant)), 2);
    let repeat = acquire_later(&client, &by_proxy(named(&tenant, "job")));
    assert_superseded(&refused(answer(first)));
    proxy.cut();
    for call in [repeat, other, nameless] {
        let error = refused(answer(call));
        let said = (error.code, error.reason.as_str());
        assert_eq!(said, (code::UNAVAILABLE, "DATABASE_UNAVAILABLE"), "{error}");
    }
    proxy.forward();
    let granted = client.acquire_with(&by_proxy(named(&tenant, "job"))).unwrap();
    client.run(&granted.connection_id, &["select 1"]).unwrap();
}

//! Who gets a connection, when, and what becomes of those who do not.

use crate::harness::{park, parked};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{
    acquire_later, answer, code, eventually, millis, postgres, refused, request, retry_delay,
    tenant, Service,
};
use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use futures_executor::block_on;
use futures_util::stream::{FuturesUnordered, StreamExt};

#[test]
fn two_hundred_cold_clients_share_twenty_backends_and_all_are_served() {
    let (service, tenant) = (Service::start(), tenant());
    // PostgreSQL itself refuses the twenty-first.
    tenant.sql(&format!("alter role {} connection limit 20", tenant.name));
    let clients: Vec<Client> = (0..4).map(|_| service.client()).collect();
    let releaser = service.client();
    let done = AtomicBool::new(false);
    let (served, most) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                most = most.max(tenant.backends());
            }
            most
        });
        let calls = clients.iter().flat_map(|client| park(client, &tenant, 50));
        let mut calls: FuturesUnordered<_> = calls.collect();
        let mut served = Vec::new();
        while let Some(granted) = block_on(calls.next()) {
            let released = granted.map(|granted| releaser.release(&granted.connection_id));
            served.push(released.map_err(|error| error.to_string()));
        }
        done.store(true, Ordering::Release);
        (served, watcher.join().unwrap())
    });
    for one in &served {
        assert!(matches!(one, Ok(Ok(released)) if released.success), "{one:?}");
    }
    assert_eq!(served.len(), 200);
    assert!((1..=20).contains(&most), "{most} backends at once");
    let stats = service.wait_quiet(&tenant.name);
    assert_eq!(stats.acquire_count, 200);
    let log = service.log().text();
    assert_eq!(log.matches("event=pool_created").count(), 1);
    assert_eq!(log.matches("event=connect_failed").count(), 0);
}

#[test]
fn grants_come_in_the_order_of_arrival() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let clients = [service.client(), service.client(), service.client()];
    let mut calls = FuturesUnordered::new();
    for number in 0..12_usize {
        let call = acquire_later(&clients[number % clients.len()], &parked(&tenant));
        calls.push(async move { (number, call.await) });
        let standing = number as i32 + 1;
        service.wait_stats(&tenant.name, "it stands", |stats| stats.waiting == standing);
    }
    held.release();
    let mut order = Vec::new();
    while let Some((number, granted)) = block_on(calls.next()) {
        order.push(number);
        held.client.release(&granted.unwrap().connection_id).unwrap();
    }
    assert_eq!(order, (0..12).collect::<Vec<_>>());
}

#[test]
fn waiting_requests_take_no_thread_and_delay_no_other() {
    let (service, full, free) = (Service::start(), tenant(), tenant());
    let clients = [service.client(), service.client()];
    let leases: Vec<_> =
        (0..20).map(|_| clients[0].acquire(&full.name, &full.dsn).unwrap()).collect();
    let other = service.client();
    eventually("idle workers have ended", || {
        service.metric("connpool_worker_threads") == Some(0.0)
    });
    let before = service.threads();
    let calls: Vec<_> = clients.iter().flat_map(|client| park(client, &full, 90)).collect();
    service.wait_stats(&full.name, "all stand", |stats| stats.waiting == 180);
    assert_eq!(service.metric("connpool_worker_threads"), Some(0.0));
    let after = service.threads();
    assert!(before.abs_diff(after) <= 2, "{before} threads, then {after}");

    for _ in 0..50 {
        let granted = other.acquire(&free.name, &free.dsn).unwrap();
        other.release(&granted.connection_id).unwrap();
    }
    let stats = other.stats(&full.name).unwrap();
    assert_eq!((stats.waiting, stats.leases, stats.acquire_count), (180, 20, 20));

    drop(calls);
    service.wait_stats(&full.name, "all have left", |stats| stats.waiting == 0);
    for lease in leases {
        other.release(&lease.connection_id).unwrap();
    }
    service.wait_quiet(&full.name);
}

#[test]
fn a_wait_timeout_returns_the_use_of_the_pool_and_a_retry_delay() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let brief = ConnectionRequest { wait_timeout: millis(50), ..request(&tenant) };
    let raw = block_on(acquire_later(&held.client, &brief)).unwrap_err();
    assert!(retry_delay(&raw).is_some_and(|delay| !delay.is_zero()));
    let error = CallError::from(raw);
    assert_eq!((error.code, error.reason.as_str()), (code::RESOURCE_EXHAUSTED, "WAIT_TIMEOUT"));
    let facts = error.info.unwrap().metadata;
    assert_eq!((facts["tenant"].as_str(), facts["used"].as_str()), (tenant.name.as_str(), "1"));
    assert_eq!(facts["waiting"], "0");
    assert_eq!(held.client.stats(&tenant.name).unwrap().waiting, 0);
    held.run(&["select 1"]);
}

#[test]
fn a_wait_of_zero_is_answered_although_others_stand_before_it() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let standing = park(&held.client, &tenant, 1);
    service.wait_stats(&tenant.name, "one stands", |stats| stats.waiting == 1);
    let hasty = ConnectionRequest { wait_timeout: millis(0), ..request(&tenant) };
    let error = refused(held.client.acquire_with(&hasty));
    assert_eq!((error.code, error.reason.as_str()), (code::RESOURCE_EXHAUSTED, "WAIT_TIMEOUT"));
    assert_eq!(held.client.stats(&tenant.name).unwrap().waiting, 1);
    held.release();
    for call in standing {
        held.client.release(&answer(call).unwrap().connection_id).unwrap();
    }
    // With a connection at rest a wait of zero is enough, once its permit is back.
    eventually("it is served without a wait", || held.client.acquire_with(&hasty).is_ok());
}

#[test]
fn a_caller_who_cancels_leaves_the_queue_and_the_next_in_line_is_served() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let (first, second) = (service.client(), service.client());
    let leaving = park(&first, &tenant, 3);
    service.wait_stats(&tenant.name, "three stand", |stats| stats.waiting == 3);
    let staying = park(&second, &tenant, 1);
    service.wait_stats(&tenant.name, "four stand", |stats| stats.waiting == 4);
    drop(leaving);
    service.wait_stats(&tenant.name, "three have left", |stats| stats.waiting == 1);
    held.release();
    for call in staying {
        second.release(&answer(call).unwrap().connection_id).unwrap();
    }
    assert_eq!(service.wait_quiet(&tenant.name).acquire_count, 2);
}

#[test]
fn a_caller_whose_connection_breaks_leaves_the_queue() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let far = service.client();
    let calls = park(&far, &tenant, 5);
    service.wait_stats(&tenant.name, "five stand", |stats| stats.waiting == 5);
    drop((calls, far));
    service.wait_stats(&tenant.name, "all have left", |stats| stats.waiting == 0);
    held.release();
    service.lease(&tenant).run(&["select 1"]);
}

#[test]
fn a_deadline_in_the_queue_ends_the_wait_on_both_sides() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let hurried = held.client.with_timeout(Duration::from_millis(500));
    let error = refused(hurried.acquire_with(&parked(&tenant)));
    assert_eq!(error.code, code::DEADLINE_EXCEEDED, "{error}");
    let left = format!(
        "connpool_acquire_failures_total{{reason=\"caller_gone\",tenant=\"{}\"}}",
        tenant.name
    );
    eventually("its leaving is counted", || service.metric(&left) == Some(1.0));
    assert_eq!(held.client.stats(&tenant.name).unwrap().waiting, 0);
    held.release();
    service.lease(&tenant).run(&["select 1"]);
}

/// A way to PostgreSQL that lets one connection through, once the sender speaks.
fn gated_way() -> (u16, crossbeam_channel::Sender<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (open, opened) = crossbeam_channel::bounded(1);
    #[allow(clippy::disallowed_methods)] // A test's own, ended by the end of the streams.
    std::thread::spawn(move || {
        let near = listener.accept().unwrap().0;
        opened.recv().unwrap();
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres().port())).unwrap();
        let copy = |mut from: TcpStream, mut to: TcpStream| {
            // Whatever ends it, the other side hears of it.
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        };
        let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || copy(back.0, back.1));
        copy(near, far);
    });
    (port, open)
}

#[test]
fn a_caller_who_left_during_the_connect_gets_no_grant_and_the_backend_serves_the_next() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let (port, open) = gated_way();
    let asked =
        ConnectionRequest { dsn: format!("{} port={port}", tenant.dsn), ..request(&tenant) };
    let client = service.client();
    let call = acquire_later(&client, &asked);
    eventually("it is being opened", || {
        client.stats(&tenant.name).is_ok_and(|stats| stats.opening == 1)
    });
    drop(call);
    // On the same connection, so it is answered after the cancel has arrived.
    assert_eq!(client.stats(&tenant.name).unwrap().opening, 1);
    open.send(()).unwrap();
    // Waiting calls are asked in turns whether their callers have left: the connection may be
    // there before this one is, and its lease ends when it cannot be delivered.
    let counted = |series: &str, reason: &str| {
        let labels = format!("reason=\"{reason}\",tenant=\"{}\"", tenant.name);
        service.metric(&format!("connpool_{series}_total{{{labels}}}")) == Some(1.0)
    };
    eventually("its leaving is seen", || {
        counted("acquire_failures", "caller_gone") || counted("leases_ended", "undelivered")
    });
    let stats = service.wait_quiet(&tenant.name);
    assert_eq!((stats.leases, stats.idle_connections), (0, 1));
    let opened = tenant.backend_pids();
    assert_eq!(opened, [service.lease_with(&asked).pid]);
}

#[test]
fn grants_that_meet_a_leaving_caller_are_taken_back() {
    let (service, tenant) = (Service::start(), tenant().pool_of(3));
    let clients = [service.client(), service.client()];
    // A grant that was sent before its caller left cannot be told from a
    // delivered one; it ends with its ttl.
    let asked = ConnectionRequest { ttl: millis(1000), ..parked(&tenant) };
    for round in 0..150_usize {
        let client = &clients[round % clients.len()];
        let mut calls: Vec<_> = (0..6).map(|_| acquire_later(client, &asked)).collect();
        let stays = calls.remove(0);
        // The others leave before the first has its grant, or while its release
        // hands the connection on.
        if round % 3 == 0 {
            calls.clear();
        }
        let granted = answer(stays).unwrap();
        client.release(&granted.connection_id).unwrap();
        drop(calls);
    }
    service.wait_quiet(&tenant.name);
    let leases = [service.lease(&tenant), service.lease(&tenant), service.lease(&tenant)];
    for lease in &leases {
        assert_eq!(lease.value("select pg_backend_pid()"), lease.pid.to_string());
    }
    assert_eq!(tenant.backends(), 3);
}

//! One client's tenants keep nobody else's out, and cost the others nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod harness;

use std::net::{Ipv4Addr, TcpListener};

use connection_pool_manager::client::Client;
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use harness::siege::Siege;
use harness::{
    acquire_later, code, eventually, millis, refused, request, tenant, Later, Service, Tenant,
};

/// A server that takes connections and says nothing.
fn mute() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("host=127.0.0.1 port={port} user=u password=p dbname=d"))
}

fn patient(name: String, dsn: &str) -> ConnectionRequest {
    ConnectionRequest {
        tenant_id: name,
        dsn: dsn.to_owned(),
        wait_timeout: millis(300_000),
        ..ConnectionRequest::default()
    }
}

/// A tenant of which no connection is left when nobody uses it.
fn passing(max: usize) -> Tenant {
    let mut tenant = tenant().pool_of(max);
    tenant.dsn += " pool_reset=close";
    tenant
}

/// Asks for many tenants at once, on one connection.
fn flood(client: &Client, dsn: &str, count: usize) -> Vec<Later<ConnectionResponse>> {
    let ask = |n| acquire_later(client, &patient(format!("flood{n}"), dsn));
    (0..count).map(ask).collect()
}

fn opening(service: &Service) -> f64 {
    service.metric("connpool_tenants{state=\"opening\"}").unwrap_or(0.0)
}

fn gave_way(service: &Service, state: &str) -> f64 {
    let series = format!("connpool_tenants_gave_way_total{{state=\"{state}\"}}");
    service.metric(&series).unwrap_or(0.0)
}

#[test]
fn tenants_that_lead_nowhere_keep_no_new_ones_out() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(2));
    let (_mute, dsn) = mute();
    let attacker = service.client();
    let calls = flood(&attacker, &dsn, 300);
    eventually("as many are being opened as may be", || opening(&service) == 100.0);
    // Each comes on a connection of its own.
    for newcomer in (0..10).map(|_| passing(2)) {
        let lease = service.lease(&newcomer);
        lease.run(&["select 1"]);
        lease.release();
    }
    assert!(gave_way(&service, "opening") >= 1.0);
    siege.bystander_goes_on(50);
    drop((calls, attacker));
    siege.end();
}

/// The same database under many names.
fn names(of: &Tenant, count: usize, max: usize) -> Vec<Tenant> {
    let one = |n| Tenant {
        name: format!("{}-{n}", of.name),
        password: of.password.clone(),
        dsn: format!("{} pool_max_conns={max}", of.dsn),
    };
    (0..count).map(one).collect()
}

#[test]
fn tenants_that_nobody_uses_give_way_and_those_in_use_stay() {
    let service = Service::with(&["--max-backends", "60"]);
    let siege = Siege::start(&service, tenant().pool_of(2));
    let (many, attacker) = (names(&passing(1), 5, 10), service.client());
    let mut leases = Vec::new();
    for one in &many {
        leases.push(attacker.acquire(&one.name, &one.dsn).unwrap());
    }
    // All are in use, and are told of by their sum: 2, and 5 times 10.
    let newcomer = passing(20);
    let error = refused(service.client().acquire_with(&request(&newcomer)));
    assert_eq!((error.code, &*error.reason), (code::RESOURCE_EXHAUSTED, "SERVICE_LIMIT"));
    let facts = error.info.unwrap().metadata;
    assert_eq!((&*facts["used"], &*facts["limit"]), ("72", "60"));
    // One stays in use, the others do not.
    for lease in &leases[1..] {
        attacker.release(&lease.connection_id).unwrap();
    }
    let client = service.client();
    let mut granted = None;
    eventually("there is room", || {
        granted = client.acquire(&newcomer.name, &newcomer.dsn).ok();
        granted.is_some()
    });
    assert_eq!(gave_way(&service, "unused"), 2.0);
    attacker.run(&leases[0].connection_id, &["select 1"]).unwrap();
    assert!(service.knows(&many[0].name));
    // What gave way comes back in place of another that is not used.
    let back = many[1..].iter().find(|one| !service.knows(&one.name)).unwrap();
    let again = attacker.acquire(&back.name, &back.dsn).unwrap();
    assert_eq!(gave_way(&service, "unused"), 3.0);
    assert!(service.knows(&newcomer.name), "it is in use");
    siege.bystander_goes_on(50);
    for lease in [&leases[0], &again, &granted.unwrap()] {
        client.release_with(&lease.connection_id, true).unwrap();
    }
    drop((attacker, client));
    siege.end();
}

#[test]
fn a_gateway_for_all_may_use_the_whole_budget_on_one_connection() {
    let service = Service::with(&["--max-backends", "40"]);
    let (many, gateway) = (names(&passing(1), 40, 1), service.client());
    let calls: Vec<_> = many.iter().map(|one| acquire_later(&gateway, &request(one))).collect();
    for call in calls {
        harness::answer(call).unwrap();
    }
    let one_more = passing(1);
    let error = refused(gateway.acquire_with(&request(&one_more)));
    assert_eq!(error.reason, "SERVICE_LIMIT", "{error}");
}

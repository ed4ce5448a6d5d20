//! Calls with the same `request_id` that race: whatever the order, the last one
//! is answered, on its own terms, and there is one lease.

use std::collections::{HashMap, HashSet};

use crate::harness::{
    acquire_later, answer, code, millis, refused, request, tenant, Later, Service, Tenant,
};
use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use futures_util::FutureExt;

const LONG: u64 = 300_000;

fn asked(tenant: &Tenant, name: &str, wait: u64) -> ConnectionRequest {
    let request_id = format!("{name:-<16}").into_bytes();
    ConnectionRequest { request_id, wait_timeout: millis(wait), ..request(tenant) }
}

/// Asks without a name, and waits until the wait is over.
fn let_pass(client: &Client, tenant: &Tenant, wait: u64) {
    let brief = ConnectionRequest { wait_timeout: millis(wait), ..request(tenant) };
    assert_eq!(refused(client.acquire_with(&brief)).reason, "WAIT_TIMEOUT");
}

fn is_superseded(error: &CallError) -> bool {
    (error.code, error.reason.as_str()) == (code::ABORTED, "SUPERSEDED")
}

#[test]
fn a_repeat_waits_for_as_long_as_it_asked_itself() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let client = service.client();
    let stand = |name, wait, standing| {
        let call = acquire_later(&client, &asked(&tenant, name, wait));
        service.wait_stats(&tenant.name, "it stands", |stats| stats.waiting == standing);
        call
    };
    let brief = stand("longer", 3000, 1);
    let patient = stand("shorter", LONG, 2);
    let mut longer = acquire_later(&client, &asked(&tenant, "longer", LONG));
    let shorter = acquire_later(&client, &asked(&tenant, "shorter", 100));
    assert!(is_superseded(&refused(answer(brief))));
    assert!(is_superseded(&refused(answer(patient))));
    let error = refused(answer(shorter));
    assert_eq!((error.code, error.reason.as_str()), (code::RESOURCE_EXHAUSTED, "WAIT_TIMEOUT"));
    // What came later and asked for as much as the first has waited so long.
    let_pass(&client, &tenant, 3000);
    assert!((&mut longer).now_or_never().is_none());
    held.release();
    client.release(&answer(longer).unwrap().connection_id).unwrap();
    service.wait_quiet(&tenant.name);
}

#[test]
fn a_repeat_that_comes_while_the_first_is_still_arriving_has_its_own_wait_too() {
    const BRIEF: u64 = 1500;
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let held = service.lease(&tenant);
    let (near, far) = (service.client(), service.client());
    // Their connections are there before the race begins.
    for client in [&near, &far] {
        client.stats(&tenant.name).unwrap();
    }
    let mut superseded = 0;
    for round in 0..2 {
        let pair = |n: u32| {
            let name = format!("{round}-{n}");
            let brief = acquire_later(&near, &asked(&tenant, &name, BRIEF));
            (brief, acquire_later(&far, &asked(&tenant, &name, LONG)))
        };
        // A connection may have 192 requests that wait.
        let pairs: Vec<_> = (0..180).map(pair).collect();
        let_pass(&held.client, &tenant, 2 * BRIEF);
        for (brief, mut patient) in pairs {
            let error = refused(answer(brief));
            match (&mut patient).now_or_never() {
                None => superseded += usize::from(is_superseded(&error)),
                Some(came) => {
                    let came = CallError::from(came.unwrap_err());
                    assert!(is_superseded(&came), "the patient one was told: {came}");
                }
            }
        }
        service.wait_stats(&tenant.name, "all have left", |stats| stats.waiting == 0);
    }
    assert!(superseded > 0, "there was no race");
}

/// Numbers that look random and are the same in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

/// Sends every name four times from eight connections in a random order, while
/// some callers leave; returns the calls of those who stay.
fn storm(
    random: &mut Seeded,
    clients: &[Client],
    tenant: &Tenant,
    names: &[String],
) -> Vec<(usize, Later<ConnectionResponse>)> {
    let mut order: Vec<usize> = (0..names.len() * 4).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i + 1));
    }
    let mut calls = Vec::new();
    for n in order {
        let (name, client) = (n % names.len(), &clients[random.below(clients.len())]);
        calls.push((name, acquire_later(client, &asked(tenant, &names[name], LONG))));
        if random.below(3) == 0 {
            drop(calls.swap_remove(random.below(calls.len())));
        }
    }
    calls
}

#[test]
fn in_a_storm_of_repeats_and_leaving_callers_each_request_gets_one_lease() {
    // The client that connects first may take most of the leases.
    let (service, mut tenant) = (Service::with(&["--leases-per-caller", "60"]), tenant());
    tenant.dsn += " pool_max_conns=60 pool_min_conns=0";
    let clients: Vec<Client> = (0..8).map(|_| service.client()).collect();
    let mut random = Seeded(0x5eed_cafe);
    for round in 0..5 {
        let names: Vec<String> = (0..50).map(|n| format!("{round}-{n}")).collect();
        let mut told: HashMap<usize, HashSet<String>> = HashMap::new();
        for (name, call) in storm(&mut random, &clients, &tenant, &names) {
            match answer(call) {
                Ok(granted) => drop(told.entry(name).or_default().insert(granted.connection_id)),
                Err(error) => assert!(is_superseded(&error), "{error}"),
            }
        }
        let again = |(n, name): (usize, &String)| {
            let client = &clients[n % clients.len()];
            client.acquire_with(&asked(&tenant, name, LONG)).unwrap()
        };
        let last: Vec<ConnectionResponse> = names.iter().enumerate().map(again).collect();
        for (name, ids) in &told {
            let only = HashSet::from([last[*name].connection_id.clone()]);
            assert_eq!(*ids, only, "round {round}: {} was told of others", names[*name]);
        }
        let pids: HashSet<i32> = last.iter().map(|granted| granted.lease.backend_pid).collect();
        assert_eq!(pids.len(), 50, "two leases share a backend");
        assert_eq!(clients[0].stats(&tenant.name).unwrap().leases, 50);
        for granted in &last {
            clients[1].run(&granted.connection_id, &["select 1"]).unwrap();
            clients[2].release(&granted.connection_id).unwrap();
        }
        service.wait_quiet(&tenant.name);
    }
}

//! Very many connections, and very many calls that are taken back.

use std::io::Write;
use std::net::Ipv4Addr;

use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use protobuf::Message;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::harness::h2::{frame, headers, message, DATA, END_HEADERS, END_STREAM, H2, HEADERS};
use crate::harness::h2::{PING, RST_STREAM};
use crate::harness::siege::Siege;
use crate::harness::{eventually, parked, tenant, Service};

/// Connections that say nothing, where there are descriptors for their two ends.
const IDLE: usize = 5_000;
/// Descriptors that both processes need besides.
const OTHERS: usize = 2_500;
/// What gRPC keeps for so many connections.
const IDLE_KB: usize = 512 * 1024;

/// Calls that are taken back at once: those of one connection, and how many times.
const RESETS: u32 = 20_000;
const ROUNDS: usize = 3;
const AT_ONCE: u32 = 500;
const RESETS_KB: usize = 256 * 1024;

/// Another host, as far as the service can tell.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// In this process and in those that it starts from now on; how many there are.
fn raise_descriptors() -> usize {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    now.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

#[test]
fn five_thousand_connections_that_say_nothing_take_nothing_from_others() {
    let count = IDLE.min(raise_descriptors().saturating_sub(OTHERS));
    assert!(count > 0, "too few descriptors");
    let most = (count + 100).to_string();
    let limits = ["--max-client-connections", &most, "--client-connections-per-address", "0"];
    // They answer no ping.
    let others = ["--insecure", "--max-backends", "10", "--keepalive-time", "3600"];
    let service = Service::with(&[&others, &limits[..]].concat());
    let lease = service.lease(&tenant().pool_of(2));
    let siege = Siege::start(&service, tenant().pool_of(2));
    let mut idle: Vec<H2> = (0..count)
        .map(|_| H2::connect_from(ELSEWHERE, service.port).expect("it is let in"))
        .collect();
    let clients = || service.metric("connpool_client_connections").expect("a gauge") as usize;
    eventually("all are there", || clients() >= count);
    siege.bystander_works(50);
    assert_eq!(service.get("/health/ready").0, 200);
    lease.run(&["select 1"]);
    let open = idle.iter_mut().map(|one| usize::from(one.is_open())).sum::<usize>();
    assert_eq!(open, count, "nobody was closed");
    println!("{count} connections: {} kB", siege.grown_kb());
    drop(idle);
    eventually("all have left", || clients() < 100);
    siege.end_within(IDLE_KB);
}

#[test]
fn calls_that_are_taken_back_at_once_leave_no_lease_and_no_waiter() {
    let service = Service::with(&["--insecure"]);
    let victim = tenant().pool_of(2);
    let holder = service.lease(&victim);
    let siege = Siege::start(&service, tenant());
    let asked: ConnectionRequest = parked(&victim);
    let body = message(&asked.write_to_bytes().unwrap(), false);
    let block = headers("/connectionpool.ConnectionPoolService/GetConnection", &[]);
    let mut sent = 0;
    for _ in 0..ROUNDS {
        let mut h2 = H2::connect(service.port).unwrap();
        for first in (0..RESETS).step_by(AT_ONCE as usize) {
            let some = (first..first + AT_ONCE).map(|n| 2 * n + 1).flat_map(|id| {
                let call = [
                    frame(HEADERS, END_HEADERS, id, &block),
                    frame(DATA, END_STREAM, id, &body),
                    frame(RST_STREAM, 0, id, &[0, 0, 0, 8]),
                ];
                call.concat()
            });
            if h2.stream.write_all(&some.collect::<Vec<u8>>()).is_err() {
                break;
            }
            sent += AT_ONCE;
        }
        // It has read all of it, or hung up.
        let _ = h2.frame(PING, 0, 0, &[7; 8]);
        while h2.read().is_some_and(|came| came.kind != PING || came.payload != [7; 8]) {}
        siege.bystander_works(10);
    }
    println!("{sent} calls were taken back");
    service.wait_stats(&victim.name, "one lease and nobody who waits", |stats| {
        (stats.leases, stats.waiting, stats.active_connections) == (1, 0, 1)
    });
    holder.run(&["select 1"]);
    holder.release();
    service.wait_quiet(&victim.name);
    // What gRPC has of calls that it has read and not ended yet.
    siege.end_within(RESETS_KB);
}

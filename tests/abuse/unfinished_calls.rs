//! Calls that are begun and not completed: what they may hold of gRPC's memory, which all
//! clients share.

use std::io::Write;
use std::net::Ipv4Addr;

use crate::harness::h2::{frame, headers, message, END_HEADERS, H2, HEADERS};
use crate::harness::siege::Siege;
use crate::harness::{eventually, now, tenant, Service};
use connection_pool_manager::proto::sql::CopyInStart;

const EXECUTE: &str = "/connectionpool.SqlService/Execute";
const MIB: usize = 1 << 20;

fn closed(service: &Service, reason: &str) -> f64 {
    let series = format!("connpool_client_connections_refused_total{{reason=\"{reason}\"}}");
    service.metric(&series).unwrap_or(0.0)
}

/// Begins a call whose one message is announced to have so many bytes.
fn begin(h2: &mut H2, announced: u32) -> Option<u32> {
    let id = h2.call(EXECUTE, &[]).ok()?;
    let mut prefix = message(&[], false);
    prefix[1..].copy_from_slice(&announced.to_be_bytes());
    h2.data(id, &prefix, false).ok()?;
    Some(id)
}

#[test]
fn calls_without_end_before_the_settings_are_acknowledged_cost_their_connection() {
    let service = Service::with(&["--insecure"]);
    let lease = service.lease(&tenant());
    let siege = Siege::start(&service, tenant());
    let block = headers(EXECUTE, &[]);
    for round in 1..=3 {
        // It does not read, so that it acknowledges nothing.
        let mut h2 = H2::connect(service.port).unwrap();
        let some = |from: u32| -> Vec<u8> {
            let ids = (from..from + 500).map(|n| 2 * n + 1);
            ids.flat_map(|id| frame(HEADERS, END_HEADERS, id, &block)).collect()
        };
        let sent = (0..200).take_while(|n| h2.stream.write_all(&some(n * 500)).is_ok()).count();
        assert!(sent < 200, "100 000 calls were taken");
        eventually("it is told", || closed(&service, "streams") >= f64::from(round));
        siege.bystander_works(10);
    }
    let line = service.log().wait_for("event=connections_closed reason=streams");
    assert!(line.contains("from=127.0.0.1:"), "{line}");
    lease.run(&["select 1"]);
    // 12 kB a call: without an end they would be more than a gigabyte.
    siege.end_within(256 * 1024);
}

#[test]
fn a_connection_that_completes_no_request_is_closed_before_it_hurts_others() {
    let service = Service::with(&["--insecure"]);
    let lease = service.lease(&tenant());
    let siege = Siege::start(&service, tenant());
    let mut h2 = H2::connect(service.port).unwrap();
    // Twice what one may hold, in messages that are not too large by themselves.
    let sent: usize = (0..128)
        .map_while(|_| begin(&mut h2, 4 * MIB as u32))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|id| h2.feed(id, MIB))
        .sum();
    assert!(sent < 128 * MIB, "all was taken");
    eventually("it is told", || closed(&service, "unread") == 1.0);
    // And in one that has no end.
    let mut h2 = H2::connect(service.port).unwrap();
    let id = begin(&mut h2, u32::MAX).unwrap();
    assert!(h2.feed(id, 512 * MIB) < 512 * MIB, "all was taken");
    eventually("it is told", || closed(&service, "unread") == 2.0);
    siege.bystander_works(10);
    lease.run(&["select 1"]);
    siege.end_within(256 * 1024);
}

#[test]
fn many_connections_together_hold_no_more_than_there_is_for_all() {
    let service = Service::with(&["--insecure", "--request-timeout", "60"]);
    let lease = service.lease(&tenant());
    let siege = Siege::start(&service, tenant());
    let mut all: Vec<H2> = (2..10)
        .map(|n| H2::connect_from(Ipv4Addr::new(127, 0, 0, n), service.port).unwrap())
        .collect();
    let mut sent = 0;
    for h2 in &mut all {
        let ids: Vec<u32> = (0..40).map_while(|_| begin(h2, 4 * MIB as u32)).collect();
        sent += ids.into_iter().map(|id| h2.feed(id, MIB)).sum::<usize>();
    }
    println!("{} MiB were sent", sent / MIB);
    eventually("somebody is closed", || closed(&service, "unread") >= 1.0);
    assert!(all.iter_mut().any(H2::is_open), "others go on");
    siege.bystander_works(20);
    lease.run(&["select 1"]);
    drop(all);
    siege.end_within(512 * 1024);
}

#[test]
fn much_that_is_taken_is_not_too_much() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["create unlogged table much (t text)"]);
    let line = [vec![b'x'; 1023], vec![b'\n']].concat();
    let data = line.repeat(256);
    let start = CopyInStart {
        connection_id: lease.id.clone(),
        sql: "copy much from stdin".to_owned(),
        ..CopyInStart::default()
    };
    let began = now();
    let mut copy = lease.client.copy_in(start).unwrap();
    for _ in 0..640 {
        copy.data(&data).unwrap();
    }
    assert_eq!(copy.finish().unwrap().rows_affected, 256 * 640);
    println!("160 MiB in {:?}", began.elapsed());
    assert_eq!(closed(&service, "unread"), 0.0);
}

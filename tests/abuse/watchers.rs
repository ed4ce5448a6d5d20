//! Calls of `grpc.health.v1.Health/Watch`, which everybody may make and which have no end of
//! their own.

use crate::harness::h2::{message, Frame, DATA, H2, RST_STREAM};
use crate::harness::{eventually, Service};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const RESOURCE_EXHAUSTED: i32 = 8;

/// Of one connection.
const MOST: usize = 8;

fn watch(h2: &mut H2) -> u32 {
    let id = h2.call(WATCH, &[]).unwrap();
    h2.data(id, &message(&[], false), true).unwrap();
    id
}

/// Waits for the status.
#[track_caller]
fn is_told(h2: &mut H2, call: u32) {
    let answers = |frame: &Frame| frame.kind == DATA && frame.stream == call;
    assert!(h2.read_until(answers).is_some(), "the connection was ended");
}

#[test]
fn a_connection_has_so_many_watchers_and_another_is_refused_whatever_it_asks_for() {
    let service = Service::with(&["--insecure"]);
    let mut h2 = H2::connect(service.port).unwrap();
    // It need not even ask.
    h2.call(WATCH, &[]).unwrap();
    let mut last = 0;
    for _ in 1..MOST {
        last = watch(&mut h2);
        is_told(&mut h2, last);
    }
    let refused = watch(&mut h2);
    assert_eq!(h2.status(refused), RESOURCE_EXHAUSTED);
    // One that is taken back makes room.
    h2.frame(RST_STREAM, 0, last, &[0, 0, 0, 8]).unwrap();
    let series = "connpool_requests_total{code=\"CANCELLED\",method=\"Health/Watch\"}";
    eventually("it has left", || service.metric(series) == Some(1.0));
    let call = watch(&mut h2);
    is_told(&mut h2, call);
    let mut other = H2::connect(service.port).unwrap();
    let call = watch(&mut other);
    is_told(&mut other, call);
}

#[test]
fn watchers_are_no_more_than_connections_may_be_and_each_connection_gets_its_first() {
    let limits = ["--max-client-connections", "4", "--client-connections-per-address", "0"];
    let service = Service::with(&[&["--insecure"], &limits[..]].concat());
    let mut greedy = H2::connect(service.port).unwrap();
    let calls: Vec<u32> = (0..4)
        .map(|_| {
            let call = watch(&mut greedy);
            is_told(&mut greedy, call);
            call
        })
        .collect();
    let mut other = H2::connect(service.port).unwrap();
    let call = watch(&mut other);
    is_told(&mut other, call);
    assert_eq!(greedy.status(calls[3]), RESOURCE_EXHAUSTED);
    // All places are taken, and this is not its first.
    let call = watch(&mut other);
    assert_eq!(other.status(call), RESOURCE_EXHAUSTED);
}

//! Bytes that belong to no call: frames of HTTP/2 that cost the service more than their sender.

use std::io::Write;

use super::{one_shot, service, SHOP};
use crate::harness::h2::{frame, headers, message};
use crate::harness::h2::{Frame, END_STREAM, H2, HEADERS, PING, WINDOW_UPDATE};
use crate::harness::siege::Siege;
use crate::harness::{eventually, tenant, Service};
use protobuf::Message;

const MIB: usize = 1 << 20;
const CHECK: &str = "/grpc.health.v1.Health/Check";
const EXECUTE: &str = "/connectionpool.SqlService/Execute";

fn closed(service: &Service) -> f64 {
    let series = "connpool_client_connections_refused_total{reason=\"stray\"}";
    service.metric(series).unwrap_or(0.0)
}

/// Sends so many bytes of small frames, or fewer if the connection ends.
fn sends(h2: &mut H2, bytes: usize) -> usize {
    let some = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(1000);
    let times = bytes.div_ceil(some.len());
    (0..times).take_while(|_| h2.stream.write_all(&some).is_ok()).count() * some.len()
}

/// Waits until all that was sent has been read.
fn is_heard(h2: &mut H2) -> bool {
    let _ = h2.frame(PING, 0, 0, &[7; 8]);
    h2.read_until(|frame| frame.kind == PING && frame.payload == [7; 8]).is_some()
}

/// Waits for the end of a call.
fn is_answered(h2: &mut H2, call: u32) -> bool {
    let ends = |frame: &Frame| {
        frame.kind == HEADERS && frame.flags & END_STREAM != 0 && frame.stream == call
    };
    h2.read_until(ends).is_some()
}

#[test]
fn a_stranger_who_sends_frames_of_no_call_is_closed_long_before_he_hurts_others() {
    let service = service(&["--insecure"]);
    let siege = Siege::start(&service, tenant());
    for round in 1..=2 {
        let mut h2 = H2::connect(service.port).unwrap();
        // One is refused, which makes him no client.
        let refused = h2.call(EXECUTE, &[("authorization", "Bearer guess")]).unwrap();
        assert!(is_answered(&mut h2, refused));
        assert!(sends(&mut h2, 1024 * MIB) < 1024 * MIB, "all was taken");
        eventually("it is told", || closed(&service) == f64::from(round));
    }
    siege.bystander_works(10);
    let line = service.log().wait_for("event=connections_closed reason=stray");
    assert!(line.contains("from=127.0.0.1:"), "{line}");
    siege.end();
}

#[test]
fn whoever_calls_and_whoever_was_let_in_is_none_of_them() {
    let service = service(&["--insecure"]);
    // A probe of a balancer, which has no identity: 12 times what it may send else.
    let mut probe = H2::connect(service.port).unwrap();
    // It asks for a name that is not there, so that no answer takes room.
    let (block, body) = (headers(CHECK, &[]), message(b"\x0a\x01x", false));
    let mut last = 0;
    for _ in 0..400 {
        let begun = probe.burst((0..50).map(|_| block.clone()), &body).unwrap();
        last = *begun.last().expect("fifty");
        assert!(is_answered(&mut probe, last));
    }
    assert!(last > 39_000);
    // A client, from its first call on.
    let mut client = H2::connect(service.port).unwrap();
    let token = format!("Bearer {SHOP}");
    let call = client.call(EXECUTE, &[("authorization", token.as_str())]).unwrap();
    let request = one_shot(&tenant()).write_to_bytes().unwrap();
    client.data(call, &message(&request, false), true).unwrap();
    assert!(is_answered(&mut client, call));
    assert_eq!(sends(&mut client, 2 * MIB) / MIB, 2);
    assert!(is_heard(&mut client));
    assert_eq!(closed(&service), 0.0);
}

//! Very many wrong tokens, and very long ones.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crossbeam_channel::never;
use protobuf::Message;

use super::{service, SHOP};
use crate::harness::h2::{headers, message, END_STREAM, H2, HEADERS, RST_STREAM, SETTINGS};
use crate::harness::header_blocks::Reader;
use crate::harness::siege::Siege;
use crate::harness::{code, now, refused, request, tenant, Tenant, PATIENCE};

const TOKENS: usize = 100_000;
/// They come at this rate, or as fast as they are answered where that takes longer.
const LASTS: Duration = Duration::from_secs(10);
/// Each connection has as many calls at a time; the service takes 256.
const AT_A_TIME: usize = 50;
/// gRPC has a thread for each of two connections.
const CONNECTIONS: usize = 2;
const EACH: usize = TOKENS / CONNECTIONS;

/// A setting of gRPC's own: binary values of headers come as they are, and not in Huffman's code.
const BINARY_AS_IT_IS: [u8; 6] = [0xfe, 0x03, 0, 0, 0, 1];
const GET_CONNECTION: &str = "/connectionpool.ConnectionPoolService/GetConnection";

/// Asks for a lease with each of these tokens, and reads each answer.
fn guess(port: u16, victim: &Tenant, tokens: Range<usize>) {
    let wanted = message(&request(victim).write_to_bytes().unwrap(), false);
    let mut h2 = H2::connect(port).unwrap();
    h2.frame(SETTINGS, 0, 0, &BINARY_AS_IT_IS).unwrap();
    let mut reader = Reader::default();
    let (began, count, mut rest) = (now(), tokens.len() as u32, tokens);
    while !rest.is_empty() {
        let due = began + LASTS / count * (count - rest.len() as u32);
        let _ = never::<()>().recv_timeout(due.saturating_duration_since(now()));
        let block = |n: usize| {
            let guess = format!("Bearer guess-{n:032x}");
            headers(GET_CONNECTION, &[("authorization", guess.as_str())])
        };
        let begun = h2.burst(rest.by_ref().take(AT_A_TIME).map(block), &wanted).unwrap();
        let mut open: BTreeSet<u32> = begun.into_iter().collect();
        while !open.is_empty() {
            let frame = h2.read().expect("the connection stays");
            assert_ne!(frame.kind, RST_STREAM, "a call is broken off");
            if frame.kind != HEADERS {
                continue;
            }
            let mut status = None;
            let read = |name: &[u8], value: &[u8]| {
                if name == b"grpc-status" {
                    status = std::str::from_utf8(value).unwrap().parse().ok();
                }
            };
            reader.read(&frame.payload, read).unwrap();
            if frame.flags & END_STREAM != 0 {
                assert_eq!(status, Some(code::UNAUTHENTICATED));
                assert!(open.remove(&frame.stream), "{frame:?}");
            }
        }
    }
}

#[test]
fn a_hundred_thousand_wrong_tokens_cost_nobody_a_call_and_the_log_a_few_lines() {
    let service = service(&["--insecure"]);
    let (victim, bystander) = (tenant(), tenant());
    let siege = Siege::start(&service, bystander);
    let began = now();
    let (port, victim) = (service.port, &victim);
    let took = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..CONNECTIONS)
            .map(|n| scope.spawn(move || guess(port, victim, n * EACH..(n + 1) * EACH)))
            .collect();
        siege.bystander_works(10);
        guesses.into_iter().for_each(|one| one.join().unwrap());
        began.elapsed()
    });
    let report = siege.end();
    println!(
        "{TOKENS} tokens in {took:?}; the bystander's median was {:?} and is {:?}",
        report.alone, report.during
    );
    let counted = "connpool_auth_failures_total{reason=\"unknown_token\"}";
    assert_eq!(service.metric(counted), Some(TOKENS as f64));
    assert_eq!(victim.backends(), 0);
    let log = service.log().text();
    assert!(!log.contains("guess-"), "{log}");
    // Fifty in ten seconds; a slow machine takes longer for the same flood.
    let lines = log.matches("event=access_denied").count();
    assert!((1..=1000).contains(&lines), "{lines} lines");
}

#[test]
fn metadata_beyond_what_grpc_takes_ends_its_call_only() {
    let (service, tenant) = (service(&[]), tenant());
    let lease = service.lease(&tenant);
    for bytes in [5_000, 12_000, 100_000, 1_000_000] {
        let client = service.nameless().with_token(&"a".repeat(bytes)).unwrap();
        let error = refused(client.with_timeout(PATIENCE).stats("any"));
        assert_ne!(error.code, code::DEADLINE_EXCEEDED, "{bytes}: {error:?}");
    }
    assert_eq!(lease.value("select 7"), "7");
    assert!(!service.log().text().contains(SHOP));
}

//! Very many wrong tokens, and very long ones.

use std::collections::VecDeque;
use std::time::Duration;

use grpcio::{CallOption, MetadataBuilder};

use super::{service, SHOP};
use crate::harness::siege::Siege;
use crate::harness::{answer, code, now, refused, request, tenant, PATIENCE};

/// Not all of them where they take longer than this.
const TOKENS: usize = 100_000;
const LASTS: Duration = Duration::from_secs(10);
/// Each connection has as many calls at a time.
const AT_A_TIME: usize = 100;

#[test]
fn a_flood_of_wrong_tokens_costs_nobody_a_call_and_the_log_a_few_lines() {
    let service = service(&[]);
    let (victim, bystander) = (tenant(), tenant());
    let siege = Siege::start(&service, bystander);
    let attacker = service.nameless();
    let wanted = request(&victim);
    let ask = |n: usize| {
        let mut metadata = MetadataBuilder::new();
        metadata.add_str("authorization", &format!("Bearer guess-{n:032x}")).unwrap();
        let option = CallOption::default().timeout(5 * PATIENCE).headers(metadata.build());
        attacker.pool_stub().get_connection_async(&wanted, option).expect("a call")
    };
    let (mut asked, until) = (VecDeque::new(), now() + LASTS);
    let mut tried = 0;
    while tried < TOKENS && now() < until {
        asked.push_back(ask(tried));
        tried += 1;
        if asked.len() == AT_A_TIME {
            let first = asked.pop_front().unwrap();
            assert_eq!(refused(answer(first)).code, code::UNAUTHENTICATED);
        }
    }
    for one in asked {
        assert_eq!(refused(answer(one)).code, code::UNAUTHENTICATED);
    }
    siege.bystander_works(50);
    drop(attacker);
    let report = siege.end();
    println!(
        "{tried} tokens; the bystander's median was {:?} and is {:?}",
        report.alone, report.during
    );
    let counted = "connpool_auth_failures_total{reason=\"unknown_token\"}";
    assert_eq!(service.metric(counted), Some(tried as f64));
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

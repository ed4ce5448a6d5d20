//! Labels, limits and registries.

use std::time::Duration;

use super::gauges::{CHANNELS, STATES};
use super::*;
use crate::client::call_error::Code;

#[test]
fn two_registries_live_beside_each_other_and_one_takes_the_names_once() {
    let (one, other) = (ClientMetrics::new(), ClientMetrics::new());
    one.meter("a").method("/a/B").call(Code::Ok, Duration::from_millis(3));
    let line = "grpc_client_requests_total{code=\"OK\",method=\"/a/B\",service=\"a\"} 1";
    assert!(one.encode().contains(line), "{}", one.encode());
    assert!(!other.encode().contains("grpc_client_requests_total{"));
    let registry = Registry::new();
    let shared = ClientMetrics::in_registry(&registry).unwrap();
    shared.meter("a").connects();
    assert!(registry.gather().iter().any(|family| family.name() == "grpc_client_connects_total"));
    assert!(ClientMetrics::in_registry(&registry).is_err());
}

#[test]
fn more_services_and_methods_than_there_may_be_share_a_series() {
    let metrics = ClientMetrics::new();
    for service in 0..SERVICES_MAX + 2 {
        metrics.meter(&format!("s{service}")).connects();
    }
    assert!(metrics.encode().contains("grpc_client_connects_total{service=\"_other\"} 2\n"));
    let meter = metrics.meter("s0");
    for method in 0..METHODS_MAX + 3 {
        meter.method(&format!("/s/M{method}")).call(Code::Aborted, Duration::ZERO);
    }
    let other = "{code=\"Aborted\",method=\"_other\",service=\"s0\"} 3\n";
    assert!(metrics.encode().contains(other), "{}", metrics.encode());
    let fresh = metrics.meter("s1");
    let long = format!("/{}", "m".repeat(METHOD_BYTES));
    for odd in ["", "no/slash", "/a b", "/a\n", &long] {
        assert_eq!(fresh.method_label(odd), OTHER, "{odd:?}");
    }
    assert_eq!(fresh.method_label("/shop.Users/Get"), "/shop.Users/Get");
}

#[test]
fn what_is_off_counts_nothing() {
    let meter = CallMeter::off();
    meter.connects();
    meter.method("/a/B").call(Code::Ok, Duration::ZERO);
    assert_eq!(meter.label(), None);
}

#[test]
fn no_label_ends_like_another_so_that_no_two_series_become_one() {
    // The metrics crate looks a series up by its values one after the other.
    let codes: Vec<&str> = (0..=17).map(|code| Code::of(code).go_name()).collect();
    let reasons = ["timeout", "not_connected", "too_many_waiters", "deadline", "closed"];
    let ends =
        ["lost", "resize", "moved", "broken", "stopped", "health", "age", "idle", "tls", "ejected"];
    let refusals = ["budget", "deadline", "not_idempotent"];
    let addresses = ["usable", "down", "ejected"];
    let outliers = ["failures", "error_ratio"];
    let families: [&[&str]; 8] =
        [&codes, &reasons, &ends, &refusals, &CHANNELS, &STATES, &addresses, &outliers];
    for labels in families {
        for one in labels {
            let alike = labels.iter().filter(|other| other.ends_with(one)).count();
            assert_eq!(alike, 1, "{one}");
        }
    }
}

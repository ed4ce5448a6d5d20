use prometheus::core::Collector;

use super::*;
use crate::core::lease_table::EndReason;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

fn page(metrics: &Metrics) -> String {
    let families = metrics.registry().gather();
    prometheus::TextEncoder::new().encode_to_string(&families).expect("text")
}

/// Everything on the page but the values.
fn series(metrics: &Metrics) -> Vec<String> {
    let page = page(metrics);
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[test]
fn only_admitted_tenants_have_series_and_these_go_with_them() {
    let metrics = Metrics::new(100);
    let fresh = Counts::new(&metrics, &tenant("fresh"));
    fresh.series().granted();
    assert!(!page(&metrics).contains("fresh"));
    assert!(page(&metrics).contains("connpool_leases_granted_total{tenant=\"_other\"} 1"));
    fresh.admit();
    fresh.series().granted();
    assert!(page(&metrics).contains("connpool_leases_granted_total{tenant=\"fresh\"} 1"));
    assert_eq!(metrics.label(&tenant("fresh")), "fresh");
    metrics.forget(&tenant("fresh"));
    assert!(!page(&metrics).contains("fresh"));
    // What goes on without its name is counted with the others.
    fresh.series().granted();
    assert!(page(&metrics).contains("connpool_leases_granted_total{tenant=\"_other\"} 2"));
    assert!(!page(&metrics).contains("fresh"));
    fresh.admit();
    fresh.series().granted();
    assert!(page(&metrics).contains("connpool_leases_granted_total{tenant=\"fresh\"} 1"));
}

#[test]
fn no_series_is_born_by_what_is_counted() {
    let metrics = Metrics::new(100);
    metrics.serves(&["/a.b.C/D"]);
    let own = Counts::new(&metrics, &tenant("t"));
    own.admit();
    let before = series(&metrics);
    let counted = own.series();
    for reason in ["wait_timeout", "caller_gone", "breaker_open", "something new"] {
        counted.acquire_failed(reason, Duration::ZERO);
        counted.open_failed(reason);
        counted.closed(reason);
        metrics.request_failed(reason);
        metrics.gave_way(reason);
        metrics.connection_refused(reason);
        metrics.cancelled(reason, true, true);
        for kind in [Kind::Execute, Kind::Query, Kind::CopyOut, Kind::CopyIn] {
            for place in [RunPlace::OneShot, RunPlace::Lease, RunPlace::Session] {
                counted.operated(kind, place, Some(reason), Duration::ZERO);
                counted.operated(kind, place, None, Duration::ZERO);
            }
        }
    }
    for reason in EndReason::ALL {
        counted.ended(*reason, Duration::ZERO);
    }
    counted.granted();
    counted.acquired(Duration::ZERO);
    counted.opened(Duration::ZERO);
    counted.checked(false);
    counted.leak_warned();
    metrics.statement(true);
    metrics.reset(Duration::ZERO);
    (0..20).for_each(|code| metrics.calls(b"/a.b.C/D").expect("served").ended(code));
    assert!(metrics.calls(b"/a.b.C/E").is_none());
    assert_eq!(series(&metrics), before);
    assert_eq!(
        metrics.0.families.operations.with_label_values(&["query", "ok", "lease", "t"]).get(),
        4
    );
    let of_one = before.iter().filter(|line| line.contains("tenant=\"t\"")).count();
    assert!(of_one < 300, "{of_one} series a tenant");
}

#[test]
fn the_tenant_is_the_last_label_so_that_no_two_series_become_one() {
    // The crate looks series up by a hash of all values one after the other, so that
    // ("ab", "c") and ("a", "bc") are one. Names of a closed set of which none begins
    // like another tell where the tenant's begins; they are checked where they are.
    let metrics = Metrics::new(100);
    let families = &metrics.0.families;
    for family in [
        &families.acquire_failures,
        &families.operations,
        &families.operation_failures,
        &families.leases_ended,
    ] {
        let labels = &family.desc()[0].variable_labels;
        assert_eq!(labels.last().map(String::as_str), Some("tenant"));
    }
    let family = &families.acquire_failures;
    family.with_label_values(&["x", "ab"]).inc();
    family.with_label_values(&["xa", "b"]).inc();
    let one = family.with_label_values(&["x", "ab"]).get();
    assert_eq!(one, 2, "it tells them apart by now: this rule can go");
}

#[test]
fn tenants_beyond_the_bound_share_a_label() {
    let metrics = Metrics::new(7);
    let last = "t7".to_owned();
    for n in 0..=7 {
        Counts::new(&metrics, &tenant(&format!("t{n}"))).admit();
    }
    assert_eq!(metrics.label(&tenant("t0")), "t0");
    assert_eq!(metrics.label(&tenant(&last)), OTHER);
    metrics.of(&tenant(&last)).granted();
    assert_eq!(metrics.0.families.leases_granted.with_label_values(&[OTHER]).get(), 1);
}

#[test]
fn a_tenant_of_the_name_that_all_others_share_takes_nothing_from_them() {
    let metrics = Metrics::new(7);
    let shared = tenant(OTHER);
    let counts = Counts::new(&metrics, &shared);
    counts.admit();
    counts.series().granted();
    metrics.forget(&shared);
    metrics.of(&tenant("t")).granted();
    assert!(page(&metrics).contains("connpool_leases_granted_total{tenant=\"_other\"} 2"));
}

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

#[test]
fn only_admitted_tenants_have_series_and_these_go_with_them() {
    let metrics = Metrics::default();
    let (known, unknown) = (tenant("known"), tenant("unknown"));
    metrics.admit(&known);
    metrics.ended("released", &known, Duration::ZERO);
    metrics.acquire_failed("connect", &unknown);
    let page = || {
        let families = metrics.registry().gather();
        prometheus::TextEncoder::new().encode_to_string(&families).expect("text")
    };
    assert!(page().contains("tenant=\"known\""));
    assert!(page().contains("tenant=\"_other\"") && !page().contains("unknown"));
    metrics.forget(&known);
    assert!(!page().contains("known"));
    assert!(page().contains("_other"));
}

#[test]
fn the_tenant_is_the_last_label_so_that_no_two_series_become_one() {
    // The crate looks series up by a hash of all values one after the other, so that
    // ("ab", "c") and ("a", "bc") are one. Names of a closed set of which none begins
    // like another tell where the tenant's begins; they are checked where they are.
    let metrics = Metrics::default();
    for family in [&metrics.0.acquire_failures, &metrics.0.operations, &metrics.0.leases_ended] {
        let labels = &family.desc()[0].variable_labels;
        assert_eq!(labels.last().map(String::as_str), Some("tenant"));
    }
    let (short, long) = (tenant("b"), tenant("ab"));
    metrics.admit(&short);
    metrics.admit(&long);
    metrics.acquire_failed("x", &long);
    metrics.acquire_failed("xa", &short);
    let one = metrics.0.acquire_failures.with_label_values(&["x", "ab"]).get();
    assert_eq!(one, 2, "it tells them apart by now: this rule can go");
}

#[test]
fn tenants_beyond_the_bound_share_a_label() {
    let metrics = Metrics::default();
    for n in 0..=TENANTS_MAX {
        metrics.admit(&tenant(&format!("t{n}")));
    }
    assert_eq!(metrics.label(&tenant("t0")), "t0");
    assert_eq!(metrics.label(&tenant(&format!("t{TENANTS_MAX}"))), OTHER);
}

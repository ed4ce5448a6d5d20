//! What a rule or a dashboard needs of the metrics: every series from the first scrape
//! on, and every end of a request counted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::sql::one_shot;
use crate::harness::{
    acquire_later, code, eventually, millis, refused, repository, request, tenant, Service, Tenant,
};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::session_request::Kind;
use rustix::process::Signal;

/// Everything on the page but the values, and but other tenants than this one.
fn series(service: &Service, tenant: &Tenant) -> BTreeSet<String> {
    let own = format!("tenant=\"{}\"", tenant.name);
    let page = service.get("/metrics").1;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    names.filter(|name| !name.contains("tenant=") || name.contains(&own)).collect()
}

/// Requests a connection of a pool that is used up, and waits for the timeout.
fn wait_until_timeout(service: &Service, tenant: &Tenant) {
    let hasty = ConnectionRequest { wait_timeout: millis(10), ..request(tenant) };
    let error = refused(service.client().acquire_with(&hasty));
    assert_eq!((error.code, &*error.reason), (code::RESOURCE_EXHAUSTED, "WAIT_TIMEOUT"));
}

impl Service {
    #[track_caller]
    fn wait_metric(&self, series: &str, value: f64) {
        let mut last = None;
        eventually(series, || {
            last = self.metric(series);
            last.is_some_and(|last| last >= value)
        });
        assert_eq!(last, Some(value), "{series}");
    }
}

#[test]
fn no_series_is_born_after_a_tenants_first_scrape() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    let first = series(&service, &tenant);
    assert!(first.iter().filter(|name| name.contains("tenant=")).count() < 320, "{first:?}");
    lease.fails(&["select nothing"]);
    wait_until_timeout(&service, &tenant);
    refused(lease.client.run(&lease.id, &["select pg_sleep(3600)"; 1001]));
    refused(
        lease
            .client
            .with_timeout(Duration::from_millis(50))
            .run(&lease.id, &["select pg_sleep(3600)"]),
    );
    eventually("the cancelled statement is over", || {
        lease.client.run(&lease.id, &["select 1"]).is_ok()
    });
    let wrong = ConnectionRequest { dsn: format!("{} port=1", tenant.dsn), ..request(&tenant) };
    refused(service.client().acquire_with(&wrong));
    lease.release();
    refused(lease.client.run(&lease.id, &["select 1"]));
    lease.client.execute(&one_shot(&tenant, &["select 1"])).unwrap();
    refused(lease.client.execute(&one_shot(&tenant, &["begin"])));
    let brief = ConnectionRequest { ttl: millis(1000), ..request(&tenant) };
    let leaked = service.lease_with(&brief);
    service.wait_stats(&tenant.name, "the lease has ended", |stats| stats.leases == 0);
    assert_eq!(leaked.end_reason(), "ttl");
    let (mut session, _) = lease.client.open_session(request(&tenant)).unwrap();
    session.execute(1, &["select nothing"]).unwrap();
    session.next().unwrap();
    // The end may come before the request counts as sent.
    let _ = session.send(Kind::Close(Default::default()));
    while session.next().unwrap().is_some() {}
    service.wait_quiet(&tenant.name);
    let last = series(&service, &tenant);
    let born: Vec<&String> = last.difference(&first).collect();
    assert!(born.is_empty(), "{born:#?}");
    let own = format!("tenant=\"{}\"", tenant.name);
    for (counter, value) in [
        ("leases_ended_total{reason=\"ttl\",", 1.0),
        ("leases_ended_total{reason=\"released\",", 2.0),
        ("acquire_failures_total{reason=\"wait_timeout\",", 1.0),
        ("acquire_failures_total{reason=\"dsn_mismatch\",", 1.0),
        ("operation_failures_total{reason=\"sql\",", 2.0),
        ("operation_failures_total{reason=\"left_open\",", 1.0),
        ("operation_failures_total{reason=\"cancelled\",", 1.0),
        ("operations_total{operation=\"execute\",outcome=\"ok\",place=\"one_shot\",", 1.0),
        ("operations_total{operation=\"execute\",outcome=\"failed\",place=\"session\",", 1.0),
        ("operations_total{operation=\"execute\",outcome=\"failed\",place=\"lease\",", 2.0),
        ("backend_closes_total{reason=\"other\",", 0.0),
    ] {
        let counter = format!("connpool_{counter}{own}}}");
        assert_eq!(service.metric(&counter), Some(value), "{counter}");
    }
}

#[test]
fn calls_are_counted_by_method_and_code_and_errors_by_reason() {
    let (service, tenant) = (Service::start(), tenant());
    let calls = |method: &str, code: &str| {
        format!("connpool_requests_total{{code=\"{code}\",method=\"{method}\"}}")
    };
    assert_eq!(service.metric(&calls("SqlService/Execute", "FAILED_PRECONDITION")), Some(0.0));
    let lease = service.lease(&tenant);
    lease.run(&["select 1"]);
    let running = lease.run_later("select pg_sleep(3600)");
    eventually("it runs", || tenant.running("pg_sleep") == 1);
    let busy = refused(lease.client.run(&lease.id, &["select 1"]));
    assert_eq!(busy.reason, "LEASE_BUSY");
    drop(running);
    let hurried = lease.client.with_timeout(Duration::from_millis(50));
    // By the service's own clock: a client may hang up just before it.
    eventually("the lease is free, and a deadline passes", || {
        refused(hurried.run(&lease.id, &["select pg_sleep(3600)"]));
        service.metric(&calls("SqlService/Execute", "DEADLINE_EXCEEDED")).unwrap() >= 1.0
    });
    refused(lease.client.acquire("", &tenant.dsn));
    lease.client.health("").unwrap();
    for (method, code) in [
        ("ConnectionPoolService/GetConnection", "OK"),
        ("ConnectionPoolService/GetConnection", "INVALID_ARGUMENT"),
        ("ConnectionPoolService/HealthCheck", "OK"),
        ("SqlService/Execute", "OK"),
    ] {
        service.wait_metric(&calls(method, code), 1.0);
    }
    let cancelled = calls("SqlService/Execute", "CANCELLED");
    eventually("who left is counted", || service.metric(&cancelled).unwrap() >= 1.0);
    for reason in ["lease_busy", "invalid_argument"] {
        let errors = format!("connpool_request_errors_total{{reason=\"{reason}\"}}");
        eventually(reason, || service.metric(&errors).unwrap() >= 1.0);
    }
}

#[test]
fn waits_that_fail_are_observed_too_and_the_buckets_reach_far_enough() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    wait_until_timeout(&service, &tenant);
    let own = format!("tenant=\"{}\"", tenant.name);
    let refusal = ConnectionRequest { dsn: format!("{} port=1", tenant.dsn), ..request(&tenant) };
    refused(service.client().acquire_with(&refusal));
    for (outcome, count) in [("granted", 1.0), ("gave_up", 1.0)] {
        let series = format!("connpool_acquire_wait_seconds_count{{outcome=\"{outcome}\",{own}}}");
        assert_eq!(service.metric(&series), Some(count), "{outcome}");
    }
    lease.release();
    service.wait_quiet(&tenant.name);
    let page = service.get("/metrics").1;
    for (family, least, most) in [
        ("connpool_acquire_wait_seconds", "0.0001", "60"),
        ("connpool_operation_seconds", "0.0001", "60"),
        ("connpool_lease_held_seconds", "0.0001", "3600"),
    ] {
        let mut bounds = page
            .lines()
            .filter(|line| line.starts_with(&format!("{family}_bucket")) && line.contains(&own))
            .filter_map(|line| line.split("le=\"").nth(1)?.split('"').next());
        assert_eq!(bounds.next(), Some(least), "{family}");
        assert!(bounds.any(|bound| bound == most), "{family}");
    }
}

#[test]
fn what_lasts_for_long_shows_while_it_lasts() {
    let (service, tenant) = (Service::start(), tenant().pool_of(1));
    let lease = service.lease(&tenant);
    let age = |family: &str| {
        let series = format!("connpool_{family}_seconds{{tenant=\"{}\"}}", tenant.name);
        service.metric(&series).expect("a gauge")
    };
    assert!(age("oldest_lease_age") > 0.0);
    assert_eq!((age("oldest_transaction_age"), age("longest_wait")), (0.0, 0.0));
    lease.run(&["begin"]);
    let client = service.client();
    let waits = acquire_later(&client, &request(&tenant));
    service.wait_stats(&tenant.name, "one waits", |stats| stats.waiting == 1);
    for family in ["oldest_lease_age", "oldest_transaction_age", "longest_wait"] {
        let before = age(family);
        assert!(before > 0.0, "{family}");
        eventually("it grows", || age(family) > before);
    }
    drop(waits);
    lease.release();
    eventually("nothing is left", || {
        let ages = ["oldest_lease_age", "oldest_transaction_age", "longest_wait"].map(age);
        ages == [0.0; 3]
    });
}

#[test]
fn the_service_tells_its_own_limit_and_that_it_stops() {
    let service = Service::with(&["--max-backends", "50", "--drain-timeout", "600"]);
    let tenant = tenant().pool_of(7);
    let lease = service.lease(&tenant);
    for (gauge, value) in [
        ("service_connections_max", 50.0),
        ("service_connections_reserved", 7.0),
        ("draining", 0.0),
    ] {
        assert_eq!(service.metric(&format!("connpool_{gauge}")), Some(value), "{gauge}");
    }
    service.signal(Signal::TERM);
    service.log().wait_for("event=draining");
    assert_eq!(service.metric("connpool_draining"), Some(1.0));
    lease.release();
}

#[test]
fn the_process_metrics_agree_with_the_system() {
    let service = Service::start();
    let read = |name: &str| service.metric(name).unwrap_or_else(|| panic!("no {name}"));
    // Both move while they are looked at; the scrape itself takes some.
    let near = |told: f64, real: usize| (told - real as f64).abs() <= 8.0;
    assert!(near(read("process_open_fds"), service.descriptors()));
    assert!(near(read("process_threads"), service.threads()));
    let kib = service.proc_status("VmRSS:") as f64;
    assert!((read("process_resident_memory_bytes") / 1024.0 / kib - 1.0).abs() < 0.5, "{kib} KiB");
    assert!(read("process_virtual_memory_bytes") > read("process_resident_memory_bytes"));
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft: f64 = limit.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(read("process_max_fds"), soft);
    let started = read("process_start_time_seconds");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 600.0..now + 10.0).contains(&started), "{started} {now}");
    let before = read("process_cpu_seconds_total");
    eventually("it works", || read("process_cpu_seconds_total") > before);
}

/// The words in the code with which connections are closed.
fn reasons_in(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            reasons_in(&path, found);
        } else if path.is_file() {
            let code = fs::read_to_string(&path).unwrap();
            for call in ["close(taken, \"", "discard(\"", ".then_some(\""] {
                let words = code.split(call).skip(1);
                found.extend(words.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
}

#[test]
fn every_reason_to_close_a_connection_has_a_series() {
    let service = Service::start();
    let mut reasons = BTreeSet::new();
    reasons_in(&repository("src/pool"), &mut reasons);
    assert!(reasons.len() > 9, "{reasons:?}");
    for reason in reasons {
        let series =
            format!("connpool_backend_closes_total{{reason=\"{reason}\",tenant=\"_other\"}}");
        assert_eq!(service.metric(&series), Some(0.0), "add it to src/metrics/closed.rs");
    }
}

/// Labels whose values are no words of the service.
const FREE: [&str; 6] = ["tenant", "tenant_id", "server", "version", "code", "method"];

#[test]
fn every_label_and_its_values_are_documented() {
    let (service, tenant) = (Service::start(), tenant());
    let _lease = service.lease(&tenant);
    let table = fs::read_to_string(repository("docs/operation.md")).unwrap();
    let (mut missing, mut values) = (BTreeSet::new(), BTreeSet::new());
    for series in series(&service, &tenant) {
        let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else { continue };
        let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let name = parts.unwrap_or(name);
        let first = |row: &&str| row.split(" | ").next().unwrap().contains(&format!("`{name}`"));
        let row = table.lines().find(first).unwrap_or_default();
        for label in labels.split(',').filter(|label| !label.starts_with("le=")) {
            let (label, value) = label.split_once('=').unwrap();
            let value = value.trim_matches('"');
            let words = [Some(label), Some(value).filter(|_| !FREE.contains(&label))];
            for word in words.into_iter().flatten() {
                values.insert(word.to_owned());
                if !row.contains(&format!("`{word}`")) {
                    missing.insert(format!("{name}: {word}"));
                }
            }
        }
    }
    assert!(values.len() > 80, "{values:?}");
    assert_eq!(missing, BTreeSet::new(), "docs/operation.md");
}

//! The alert rules that the project ships, in a real Prometheus.

mod prometheus;

use std::fs;

use crate::harness;
use crate::harness::{
    acquire_later, eventually, millis, refused, repository, request, tenant, tenant_on, Service,
    Tenant,
};
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use prometheus::{program, Prometheus};
use rustix::process::Signal;

/// The rules, which wait for a second where they wait for minutes.
fn impatient_rules() -> String {
    let rules = fs::read_to_string(repository("docs/alerts.yml")).unwrap();
    let mut waits = 0;
    let lines = rules.lines().map(|line| match line.trim().strip_prefix("for: ") {
        Some(_) => {
            waits += 1;
            "        for: 1s\n".to_owned()
        }
        None => format!("{line}\n"),
    });
    let rules: String = lines.collect();
    assert_eq!(waits, 5, "{rules}");
    rules
}

#[test]
fn the_rules_fire_when_they_say() {
    let out = program("promtool")
        .args(["test", "rules"])
        .arg(repository("tests/service/alerts/rules.yml"))
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_finds_nothing_wrong_with_our_names_but_those_of_other_programs() {
    let (service, tenant) = (Service::start(), tenant());
    service.lease(&tenant).run(&["select 1"]);
    let page = service.get("/metrics").1;
    let file = service.certs.path().join("page");
    fs::write(&file, page).unwrap();
    let out = program("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    // It has the name of the pool's statistics that others expect.
    let other = "pool_connections_total non-counter metrics should not have \"_total\" suffix";
    let ours: Vec<&str> = said.lines().filter(|line| !line.contains(other)).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

/// A tenant of one connection, which is there and has been used.
fn used(service: &Service, tenant: Tenant) -> Tenant {
    let tenant = tenant.pool_of(1);
    service.lease(&tenant).release();
    tenant
}

/// The files of the gRPC port's certificate become ones that end in so many days.
fn renew(service: &Service, days: i64) {
    let pair = harness::pki::Authority::new("somebody").server("localhost", &["localhost"], days);
    let file = |name: &str| service.certs.path().join(name);
    fs::write(file("key.pem"), pair.key_pem()).unwrap();
    fs::write(file("cert.pem"), pair.cert).unwrap();
    service.signal(Signal::HUP);
    service.log().wait_for("event=certificate_reloaded");
}

#[test]
fn each_rule_fires_on_its_cause_and_on_nothing_else() {
    let mut away = Embedded::start(Options::default()).unwrap();
    let well = Service::start();
    let ill = Service::with(&["--max-backends", "20", "--health-check-interval", "1"]);
    let gone = used(&ill, tenant_on(&away));
    let [jammed, turned_away, leaky, fine] = [(); 4].map(|()| used(&ill, tenant()));
    let steady = used(&well, tenant());
    let prometheus = Prometheus::start(&[well.http_port, ill.http_port], &impatient_rules());
    let names = |port: u16| format!("127.0.0.1:{port}");
    eventually("both are scraped", || prometheus.number("sum(up)") == Some(2.0));

    // What is normal: leases, one-shots, one at the limit, errors of SQL, a wait that ends well.
    let work = |service: &Service, tenant: &Tenant| {
        let lease = service.lease(tenant);
        lease.fails(&["select nothing"]);
        let client = service.client();
        let next = acquire_later(&client, &request(tenant));
        service.wait_stats(&tenant.name, "one waits", |stats| stats.waiting == 1);
        lease.release();
        let granted = harness::answer(next).unwrap();
        client.release(&granted.connection_id).unwrap();
    };
    for _ in 0..3 {
        work(&well, &steady);
        work(&ill, &fine);
        prometheus.wait_rounds(2.0);
    }
    assert_eq!(prometheus.alerts(".*"), [], "nothing is wrong yet");

    let held = ill.lease(&jammed);
    let patient = ConnectionRequest { wait_timeout: millis(600_000), ..request(&jammed) };
    let client = ill.client();
    let waiting = acquire_later(&client, &patient);
    let busy = ill.lease(&turned_away);
    let hasty = ConnectionRequest { wait_timeout: millis(10), ..request(&turned_away) };
    refused(busy.client.acquire_with(&hasty));
    let brief = ConnectionRequest { ttl: millis(1000), ..request(&leaky) };
    let forgotten = ill.lease_with(&brief);
    ill.lease(&tenant().pool_of(14)).release();
    renew(&ill, 5);
    away.stop(StopMode::Fast).unwrap();

    let instance = names(ill.http_port);
    let mut expected: Vec<(String, String)> = [
        ("ConnpoolTenantUnhealthy", &gone.name),
        ("ConnpoolRequestsRefused", &turned_away.name),
        ("ConnpoolPoolSaturated", &jammed.name),
        ("ConnpoolLeasesLeaked", &leaky.name),
        ("ConnpoolCertificateExpires", &instance),
        ("ConnpoolServiceNearLimit", &instance),
    ]
    .map(|(alert, of)| (alert.to_owned(), of.clone()))
    .into();
    expected.sort();
    let mut firing = Vec::new();
    eventually("all six fire", || {
        work(&well, &steady);
        firing = prometheus.alerts("firing");
        firing.len() >= expected.len()
    });
    assert_eq!(firing, expected);
    let of_the_well =
        format!("count_over_time(ALERTS{{instance=\"{}\"}}[1h])", names(well.http_port));
    assert_eq!(prometheus.query(&of_the_well), [""; 0], "nothing was ever wrong with the other");

    // What has been mended is no alert any more.
    held.release();
    drop((waiting, forgotten));
    renew(&ill, 365);
    let mended = ["ConnpoolPoolSaturated", "ConnpoolCertificateExpires"];
    eventually("those that were mended are over", || {
        let firing = prometheus.alerts(".*");
        firing.iter().all(|(alert, _)| !mended.contains(&alert.as_str()))
    });
}

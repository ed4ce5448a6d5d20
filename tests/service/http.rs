//! The HTTP side: health and metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{eventually, now, request, tenant, Service, PATIENCE};
use socket2::SockRef;

/// One request on a connection of its own; the whole answer.
fn ask(port: u16, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn parts(answer: &str) -> (&str, &str) {
    answer.split_once("\r\n\r\n").expect("an answer has a head")
}

#[test]
fn health_is_ok_whatever_the_method() {
    let service = Service::start();
    for method in ["GET", "POST", "HEAD"] {
        let answer = ask(service.http_port, method, "/health");
        let (head, body) = parts(&answer);
        assert!(head.starts_with("HTTP/1.1 200 "), "{method}: {head}");
        assert!(head.to_ascii_lowercase().contains("content-length: 2"), "{method}: {head}");
        assert_eq!(body, if method == "HEAD" { "" } else { "OK" }, "{method}");
    }
    assert_eq!(service.get("/health?verbose=1"), (200, "OK".to_owned()));
}

#[test]
fn an_unknown_path_is_not_found() {
    let service = Service::start();
    for path in ["/", "/healthy", "/metrics/x", "/../etc/passwd", "/%68ealth"] {
        assert_eq!(service.get(path).0, 404, "{path}");
    }
}

/// The sum of all series of a family that carry the tenant, and their number.
fn sum(page: &str, family: &str, label: &str) -> (f64, usize) {
    let values: Vec<f64> = page
        .lines()
        .filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(label))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    (values.iter().sum(), values.len())
}

#[test]
fn metrics_tell_what_a_tenant_has() {
    let (service, tenant) = (Service::start(), tenant());
    let first = service.lease(&tenant);
    first.client.release(&first.id).unwrap();
    let lease = service.lease(&tenant);
    eventually("the pool is filled", || {
        let stats = lease.client.stats(&tenant.name).unwrap();
        (stats.opening, stats.idle_connections, tenant.backends()) == (0, 4, 5)
    });

    let page = service.get("/metrics").1;
    let series = |series: String| service.metric(&series);
    let name = &tenant.name;
    for (state, count) in [("idle", 1.0), ("busy", 0.0), ("in_transaction", 0.0)] {
        let leases = format!("connpool_leases{{state=\"{state}\",tenant=\"{name}\"}}");
        assert_eq!(series(leases), Some(count), "{state}");
    }
    let label = format!("tenant=\"{name}\"");
    assert_eq!(sum(&page, "connpool_backend_connections", &label), (5.0, 4));
    let leased = format!("connpool_backend_connections{{state=\"leased\",{label}}}");
    assert_eq!(series(leased), Some(1.0));
    for (family, value) in [
        ("connpool_backend_connections_max", 20.0),
        ("connpool_waiters", 0.0),
        ("connpool_leases_granted_total", 2.0),
        ("connpool_lease_held_seconds_count", 1.0),
    ] {
        assert_eq!(series(format!("{family}{{{label}}}")), Some(value), "{family}");
    }
    let waits = format!("connpool_acquire_wait_seconds_count{{outcome=\"granted\",{label}}}");
    assert_eq!(series(waits), Some(2.0));
    let ended = format!("connpool_leases_ended_total{{reason=\"released\",{label}}}");
    assert_eq!(series(ended), Some(1.0));
    for (family, value) in [("active", 1.0), ("idle", 4.0), ("total", 5.0)] {
        let old = format!("pool_connections_{family}{{tenant_id=\"{name}\"}}");
        assert_eq!(series(old), Some(value), "{family}");
    }
    assert_eq!(series("connpool_tenants{state=\"active\"}".to_owned()), Some(1.0));

    lease.run(&["begin"]);
    let open = format!("connpool_leases{{state=\"in_transaction\",{label}}}");
    assert_eq!(series(open), Some(1.0));
}

#[test]
fn the_first_connection_of_a_tenant_is_counted_as_its_own() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    eventually("the pool is filled", || {
        let stats = lease.client.stats(&tenant.name).unwrap();
        (stats.opening, stats.total_connections) == (0, 5)
    });
    for family in ["connpool_backend_opens_total", "connpool_backend_connect_seconds_count"] {
        let series = format!("{family}{{tenant=\"{}\"}}", tenant.name);
        assert_eq!(service.metric(&series), Some(5.0), "{family}");
    }
}

#[test]
fn metrics_hold_no_secret_and_name_every_family() {
    let (service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    lease.run(&["select 1"]);
    lease.fails(&["select 'hunter2' from nothing"]);
    let (status, page) = service.get("/metrics");
    assert_eq!(status, 200);
    for secret in [&*tenant.password, &*lease.id, "hunter2", &*tenant.dsn] {
        assert!(!page.contains(secret), "{secret} is on the page");
    }
    let mut families = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
        let known = |name: &str| page.contains(&format!("# TYPE {name} "));
        assert!(known(name) || family.is_some_and(known), "{line}");
        families += 1;
    }
    assert!(families > 20, "{page}");
}

#[test]
fn connections_that_break_off_do_no_harm() {
    let service = Service::start();
    assert_eq!(service.get("/health").0, 200);
    let (threads, descriptors) = (service.threads(), service.descriptors());
    let mut held = Vec::new();
    for i in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
        // The other side may have closed already; that is not what is asked here.
        let _ = stream.write_all(match i % 5 {
            0 => b"",
            1 => b"GET /hea",
            2 => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            3 => b"POST /health HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nxx",
            _ => b"\0\xff garbage\r\n\r\n",
        });
        if i % 10 == 1 {
            // Half a request that stays.
            held.push(stream);
        } else if i % 2 == 0 {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    assert_eq!(service.get("/health"), (200, "OK".to_owned()));
    assert_eq!(service.get("/metrics").0, 200);
    drop(held);
    eventually("threads and descriptors are given back", || {
        service.threads() <= threads + 8 && service.descriptors() <= descriptors + 8
    });
    assert_eq!(service.get("/health"), (200, "OK".to_owned()));
}

#[test]
fn more_connections_than_are_served_at_once_wait_their_turn() {
    let service = Service::start();
    let half = || {
        let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
        stream.write_all(b"GET /hea").unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..100).map(|_| half()).collect();
    assert_eq!(service.get("/health"), (200, "OK".to_owned()));
    drop(held);
}

#[test]
fn the_service_is_there_soon_and_small() {
    let began = now();
    let service = Service::start();
    assert_eq!(service.get("/health").0, 200);
    // For people to read; how long it takes depends on the machine.
    println!("from exec to /health, certificate made on the way: {:?}", began.elapsed());
    let tenant = tenant();
    let granted = service.client().acquire_with(&request(&tenant)).unwrap();
    service.client().release(&granted.connection_id).unwrap();
    eventually("the pool is filled", || tenant.backends() == 5);
    service.wait_quiet(&tenant.name);
    let kib = service.proc_status("VmRSS:");
    println!("VmRSS with one idle tenant: {kib} KiB");
    assert!(kib < 60 * 1024, "{kib} KiB");
}

#[test]
fn pages_that_have_died_are_replaced() {
    let service = Service::start();
    let entries = std::fs::read_dir(service.certs.path()).unwrap().map(Result::unwrap);
    let mut private = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
    let socket = private.next().expect("a directory for the private socket").join("http");
    std::fs::remove_file(&socket).expect("the socket is there");
    service.log().wait_for("event=http_unresponsive");
    eventually("health answers again", || {
        let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        // While the pages are away the connection is closed without an answer.
        let _ = stream.read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 200 OK")
    });
}

//! How many connections a client may have, and what the service is worth to others
//! while somebody wants all of them.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use crate::harness;
use crate::harness::h2::H2;
use crate::harness::siege::Siege;
use crate::harness::{command, eventually, http_get, now, tenant, Service, PATIENCE};
use connection_pool_manager::proto::health::health_check_response::ServingStatus;
use connection_pool_manager::proto::health::HealthCheckRequest;
use futures_executor::block_on;
use futures_util::StreamExt;
use grpcio::CallOption;
use rustix::process::{prlimit, Pid, Resource, Rlimit};

const PLAIN: &[&str] = &["--insecure"];
/// Another host, as far as the service can tell.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn with(arguments: &[&'static str]) -> Vec<&'static str> {
    [PLAIN, arguments].concat()
}

fn refused(service: &Service, reason: &str) -> f64 {
    let series = format!("connpool_client_connections_refused_total{{reason=\"{reason}\"}}");
    service.metric(&series).unwrap_or(0.0)
}

fn clients(service: &Service) -> f64 {
    service.metric("connpool_client_connections").expect("a gauge")
}

fn connect(service: &Service, from: Ipv4Addr, count: usize) -> Vec<H2> {
    (0..count).filter_map(|_| H2::connect_from(from, service.port).ok()).collect()
}

fn open(all: &mut [H2]) -> usize {
    all.iter_mut().map(|one| usize::from(one.is_open())).sum()
}

#[test]
fn beyond_the_limit_the_newest_connections_are_closed_and_the_older_stay_open() {
    let service =
        Service::with(&with(&["--max-client-connections", "20", "--leases-per-caller", "8"]));
    let lease = service.lease(&tenant());
    let siege = Siege::start(&service, tenant());
    // Two clients are there, and one address may have ten.
    let mut all = connect(&service, Ipv4Addr::LOCALHOST, 8);
    all.extend(connect(&service, ELSEWHERE, 10));
    eventually("all are seen", || clients(&service) == 20.0);
    all.extend(connect(&service, Ipv4Addr::LOCALHOST, 52));
    all.extend(connect(&service, ELSEWHERE, 50));
    eventually("those who came first are left", || open(&mut all) == 18);
    assert_eq!(open(&mut all[..18]), 18);
    eventually("all are counted", || {
        refused(&service, "address") + refused(&service, "total") == 102.0
    });
    eventually("twenty are left", || clients(&service) == 20.0);
    assert_eq!(service.metric("connpool_client_connections_max"), Some(20.0));
    assert_eq!(service.metric("connpool_connection_guard"), Some(1.0));
    let line = service.log().wait_for("event=connections_closed");
    assert!(line.contains("from=127.0.0."), "{line}");
    siege.bystander_works(20);
    lease.run(&["select 1"]);
    // Those who leave make room.
    drop(all);
    let again = service.client();
    eventually("another client is served", || again.health("").is_ok());
    drop(again);
    siege.end();
}

#[test]
fn one_address_has_its_share_and_zero_is_no_limit_of_its_own() {
    let service = Service::with(&with(&["--client-connections-per-address", "5"]));
    let siege = Siege::start(&service, tenant());
    let mut all = connect(&service, ELSEWHERE, 5);
    // The bystander is the other one.
    eventually("all are seen", || clients(&service) == 6.0);
    all.extend(connect(&service, ELSEWHERE, 45));
    eventually("five are left", || open(&mut all) == 5);
    assert_eq!(open(&mut all[..5]), 5);
    eventually("the others are counted", || refused(&service, "address") == 45.0);
    assert_eq!(refused(&service, "total"), 0.0);
    drop(all);
    siege.end();

    let service = Service::with(&with(&["--client-connections-per-address", "0"]));
    let mut all = connect(&service, ELSEWHERE, 50);
    eventually("all are seen", || clients(&service) == 50.0);
    assert_eq!(open(&mut all), 50);
}

#[test]
fn clients_that_want_every_descriptor_leave_health_and_backends_theirs() {
    allow_many_descriptors();
    // 40 for the backends, 512 for HTTP and the rest.
    let service =
        Service::limited(602, &with(&["--max-backends", "10", "--max-client-connections", "50"]));
    let lease = service.lease(&tenant().pool_of(2));
    let siege = Siege::start(&service, tenant().pool_of(2));
    let mut all = Vec::new();
    for _ in 0..3 {
        // More than there are descriptors, as fast as can be.
        all.extend(connect(&service, ELSEWHERE, 700));
        eventually("what is too much is closed", || open(&mut all) == 25);
        all.retain_mut(H2::is_open);
        assert_eq!(service.get("/health").0, 200);
        assert_eq!(service.get("/health/ready").0, 200);
        siege.bystander_works(10);
    }
    // A backend that is not open yet needs descriptors too.
    let mut late = tenant().pool_of(2);
    late.dsn.push_str(" pool_reset=close");
    let another = service.lease(&late);
    another.run(&["select 1"]);
    another.release();
    lease.run(&["select 1"]);
    assert!(!service.log().text().contains("event=grpc_unreachable"));
    drop(all);
    siege.end();
}

/// In this process, which keeps its end of all connections, and in services that it starts
/// from now on.
fn allow_many_descriptors() {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised).unwrap();
}

#[test]
fn more_clients_than_there_are_descriptors_for_are_not_promised() {
    let out = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 600 && exec \"$0\" \"$@\""])
        .arg(harness::binary())
        .args(["serve", "--insecure", "--port", "0", "--http", "127.0.0.1:0"])
        .args(["--max-backends", "10", "--max-client-connections", "50"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("is 600, 602 are needed"), "{said}");
    assert!(said.contains("--max-client-connections"), "{said}");
}

#[test]
fn a_grpc_port_that_accepts_no_connection_is_detected_and_its_recovery_too() {
    let service = Service::with(&["--self-check-interval", "2", "--self-check-failures", "3"]);
    let client = service.client();
    let everything = HealthCheckRequest::default();
    let options = CallOption::default().timeout(5 * PATIENCE);
    let mut watch = client.health_stub().watch(&everything, options).unwrap();
    let mut next = || block_on(watch.next()).unwrap().unwrap().status.unwrap();
    assert_eq!(next(), ServingStatus::SERVING);
    let pid = Pid::from_raw(service.pid());
    let before = limit_of(&service);
    let lower = Rlimit { current: Some(3), maximum: before.maximum };
    prlimit(pid, Resource::Nofile, lower).unwrap();
    assert_eq!(next(), ServingStatus::NOT_SERVING);
    let line = service.log().wait_for("event=grpc_unreachable");
    assert!(line.contains("failures=3"), "{line}");
    prlimit(pid, Resource::Nofile, before).unwrap();
    assert_eq!(next(), ServingStatus::SERVING);
    service.log().wait_for("event=grpc_reachable");
    let (status, page) = service.get("/health/ready");
    assert!(status == 200 && page.contains("\"grpc\":\"serving\""), "{page}");
    assert_eq!(service.metric("connpool_grpc_reachable"), Some(1.0));
    // The service itself is nobody's client.
    assert_eq!(clients(&service), 1.0);
    let told = service.log().text().matches("event=grpc_").count();
    assert_eq!(told, 2, "once each way");
    let began = now();
    assert_eq!(service.stop().code(), Some(0));
    println!("stopped in {:?}", began.elapsed());
}

fn limit_of(service: &Service) -> Rlimit {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    Rlimit { current: numbers.next(), maximum: numbers.next() }
}

/// A service on ports that are known before it runs.
struct Starting {
    child: Child,
    grpc: u16,
    http: u16,
}

impl Starting {
    fn new() -> Starting {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two) = (free(), free());
        let [grpc, http] = [&one, &two].map(|free| free.local_addr().unwrap().port());
        drop((one, two));
        let child = command()
            .args(["serve", "--insecure", "--listen", "127.0.0.1"])
            .args(["--port", &grpc.to_string(), "--http", &format!("127.0.0.1:{http}")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Starting { child, grpc, http }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_service_that_does_not_listen_yet_is_not_ready() {
    let mut early = 0;
    for _ in 0..10 {
        let service = Starting::new();
        eventually("it is ready", || {
            if TcpStream::connect(("127.0.0.1", service.http)).is_err() {
                return false;
            }
            let (status, page) = http_get(service.http, "/health/ready");
            early += usize::from(page.contains("\"grpc\":\"starting\""));
            assert!(status != 200 || TcpStream::connect(("127.0.0.1", service.grpc)).is_ok());
            status == 200
        });
    }
    println!("{early} times it was asked too early");
}

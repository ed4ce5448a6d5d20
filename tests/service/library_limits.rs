//! What the libraries in use do badly at the edges of the system, and that it
//! costs no more than it must.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{
    acquire_later, answer, code, eventually, refused, repository, request, tenant, Service,
    PATIENCE,
};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::connection_pool::BreakerState;
use rustix::process::{getrlimit, prlimit, Pid, Resource, Rlimit};

/// The service can open no file descriptor until this is dropped.
struct Exhausted {
    pid: Option<Pid>,
    before: Rlimit,
}

impl Exhausted {
    fn of(service: &Service) -> Exhausted {
        let list = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap();
        let open: BTreeSet<u64> = list
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        // The next to be opened would get this number, or a greater one.
        let lowest = (0..).find(|number| !open.contains(number));
        let pid = Pid::from_raw(service.pid());
        // Only the soft limit: the hard one could not be raised again by everybody.
        // The child has inherited ours.
        let before = getrlimit(Resource::Nofile);
        let lowered = Rlimit { current: lowest, maximum: before.maximum };
        prlimit(pid, Resource::Nofile, lowered).unwrap();
        Exhausted { pid, before }
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        let Rlimit { current, maximum } = self.before;
        let _ = prlimit(self.pid, Resource::Nofile, Rlimit { current, maximum });
    }
}

/// How many threads of each name the service has.
fn threads(service: &Service) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap() {
        // It may have ended meanwhile.
        let Ok(name) = std::fs::read_to_string(task.unwrap().path().join("comm")) else { continue };
        *names.entry(name.trim().to_owned()).or_default() += 1;
    }
    names
}

/// Those that must never end.
fn lasting(service: &Service) -> BTreeMap<String, usize> {
    let mut all = threads(service);
    all.retain(|name, _| {
        ["reaper", "keeper", "http-accept", "http-watch", "signals", "grpc-0", "grpc-1", "r2d2"]
            .contains(&name.as_str())
    });
    all
}

#[track_caller]
fn is_starved(error: &CallError) {
    assert_eq!(
        (error.code, &*error.reason),
        (code::RESOURCE_EXHAUSTED, "SERVICE_LIMIT"),
        "{error}"
    );
    assert!(error.message.contains("open files"), "{error}");
}

#[test]
fn without_file_descriptors_calls_fail_and_later_ones_work_again() {
    let (service, tenant, fresh) = (Service::start(), tenant().pool_of(3), tenant());
    let before = lasting(&service);
    assert!(before.len() >= 6, "{before:?}");
    let (client, lease) = (service.client(), service.lease(&tenant));
    // It connects with its first call.
    client.stats(&tenant.name).unwrap();
    let exhausted = Exhausted::of(&service);
    // More often than the breaker takes from a database that is away.
    for _ in 0..7 {
        is_starved(&refused(client.acquire(&tenant.name, &tenant.dsn)));
    }
    is_starved(&refused(client.acquire(&fresh.name, &fresh.dsn)));
    let breaker = client.stats(&tenant.name).unwrap().breaker_state.unwrap();
    assert_eq!(breaker, BreakerState::BREAKER_STATE_CLOSED);
    // What is open goes on.
    lease.run(&["select 1"]);
    // New connections to the service stand in the system's backlog.
    let stranger = service.client();
    let call = acquire_later(&stranger, &request(&tenant));
    let mut page = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
    page.write_all(b"GET /health HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    service.log().wait_for("event=http_accept_failed");
    drop(exhausted);

    answer(call).unwrap();
    page.set_read_timeout(Some(PATIENCE)).unwrap();
    // The first descriptors may have gone before its answer; then it is closed.
    let _ = page.read_to_string(&mut String::new());
    eventually("health answers", || {
        let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).is_ok() && said.starts_with("HTTP/1.1 200 OK")
    });
    service.lease(&fresh).run(&["select 1"]);
    assert_eq!(lasting(&service), before);
    assert!(!service.log().text().contains(" event=panic "), "a thread of ours has panicked");
}

#[test]
fn a_panic_is_never_the_end_of_the_process() {
    // A connection that is reset at the wrong moment makes a thread of tiny_http
    // panic, a lack of descriptors the driver.
    let manifest = std::fs::read_to_string(repository("Cargo.toml")).unwrap();
    let settings = manifest.lines().map(|line| line.replace(' ', ""));
    assert!(!settings.into_iter().any(|line| line.starts_with("panic=")));
}

#[test]
fn rows_of_a_type_that_the_driver_must_look_up_come_by_the_thousand() {
    let (service, tenant) = (Service::start(), tenant());
    tenant.sql("create type mood as enum ('sad', 'glad')");
    let lease = service.lease(&tenant);
    let rows = lease.run(&["select 'glad'::mood from generate_series(1, 5000)"]);
    assert_eq!(rows.results[0].rows.len(), 5000);
}

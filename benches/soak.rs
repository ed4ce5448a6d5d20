//! Everything that clients do, at once and for long: what the service holds at the beginning
//! and at the end. Prints; asserts nothing, and ends by itself.
//!
//! `make soak` runs it for ten minutes, `make soak ARGS=60` for sixty seconds. The certificate
//! is read again, and the metrics are scraped, once a second meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used)] // As a test: it stops at the first surprise.

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::traffic::{Counts, Traffic};
use harness::{now, tenant, Service};

const SECONDS: u64 = 600;
const TENANTS: usize = 8;
const POOL: usize = 5;
const CLIENTS: usize = 64;
/// Looks of which lines are printed, and between which the drift is told.
const LOOKS: u32 = 10;

/// What the service holds.
#[derive(Clone, Copy)]
struct Held {
    memory_kib: i64,
    threads: i64,
    descriptors: i64,
    backends: i64,
}

impl Held {
    fn by(service: &Service, tenants: &[harness::Tenant]) -> Held {
        Held {
            memory_kib: service.proc_status("VmRSS:") as i64,
            threads: service.threads() as i64,
            descriptors: service.descriptors() as i64,
            backends: tenants.iter().map(|tenant| tenant.backends() as i64).sum(),
        }
    }
}

fn main() {
    let given = std::env::args().skip(1).find(|argument| argument != "--bench");
    let seconds = given.map_or(SECONDS, |given| {
        given.parse().unwrap_or_else(|_| panic!("{given:?} is no number of seconds"))
    });
    let service = Service::undisturbed(&["--idle-timeout=5", "--health-check-interval=5"]);
    let tenants: Vec<_> = (0..TENANTS).map(|_| tenant().pool_of(POOL)).collect();
    let traffic = Traffic { service: &service, tenants: &tenants, clients: CLIENTS };
    traffic.prepare();
    println!("{CLIENTS} clients of {TENANTS} tenants with {POOL} connections each, {seconds} s");
    println!(
        "{:>8}{:>10}{:>10}{:>9}{:>13}{:>10}{:>10}",
        "seconds", "rounds", "KiB", "threads", "descriptors", "backends", "failed"
    );

    let (counts, began) = (Counts::default(), now());
    let length = Duration::from_secs(seconds);
    let (mut looks, mut next, mut second) = (Vec::new(), length / LOOKS, Duration::from_secs(1));
    traffic.run(&counts, |counts| {
        let past = began.elapsed();
        if past >= second {
            second = past + Duration::from_secs(1);
            service.signal(rustix::process::Signal::HUP);
            service.get("/metrics");
            service.get("/health/ready");
        }
        if past >= next {
            next += length / LOOKS;
            looks.push(look(&service, &tenants, counts, past));
        }
        past >= length
    });
    let quiet = {
        tenants.iter().for_each(|tenant| drop(service.wait_quiet(&tenant.name)));
        look(&service, &tenants, &counts, began.elapsed())
    };
    drift("under load, from the first look to the last", looks.first(), looks.last());
    drift(
        "from the first look to the end, when all clients have left",
        looks.first(),
        Some(&quiet),
    );
    for failure in counts.failures.lock().unwrap().iter() {
        println!("failed: {failure}");
    }
    println!("stopped with exit code {:?}", service.stop().code());
}

fn look(service: &Service, tenants: &[harness::Tenant], counts: &Counts, past: Duration) -> Held {
    let held = Held::by(service, tenants);
    let good = counts.good.load(Ordering::SeqCst);
    let failed = counts.failed.load(Ordering::SeqCst);
    println!(
        "{:>8}{good:>10}{:>10}{:>9}{:>13}{:>10}{failed:>10}",
        past.as_secs(),
        held.memory_kib,
        held.threads,
        held.descriptors,
        held.backends
    );
    held
}

fn drift(what: &str, from: Option<&Held>, to: Option<&Held>) {
    let (Some(from), Some(to)) = (from, to) else { return };
    println!(
        "drift {what}: {:+} KiB ({:+.1} %), {:+} threads, {:+} descriptors, {:+} backends",
        to.memory_kib - from.memory_kib,
        100.0 * (to.memory_kib - from.memory_kib) as f64 / from.memory_kib as f64,
        to.threads - from.threads,
        to.descriptors - from.descriptors,
        to.backends - from.backends
    );
}

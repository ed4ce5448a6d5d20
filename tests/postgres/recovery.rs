//! Databases that are killed, frozen and restarted, and tenants that go on by themselves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness;
use crate::harness::{
    backends_on, code, eventually, millis, now, refused, request, tenant_on, Held, Service, Tenant,
};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::embedded::{Embedded, Options, StopMode};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;

/// Asks until the breaker is open.
fn open_breaker(service: &Service, tenant: &Tenant) {
    let client = service.client();
    eventually("the breaker opens", || match client.acquire(&tenant.name, &tenant.dsn) {
        // What was at rest for less than a second is not looked at.
        Ok(granted) => !client.release(&granted.connection_id).unwrap().success,
        Err(error) => {
            assert_eq!(error.code, code::UNAVAILABLE, "{error}");
            error.reason == "BREAKER_OPEN"
        }
    });
}

#[test]
fn twenty_tenants_use_their_database_again_by_themselves_when_it_is_back() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let service = Service::start();
    let tenants: Vec<Tenant> = (0..20).map(|_| tenant_on(&postgres).pool_of(2)).collect();
    tenants.iter().for_each(|tenant| service.lease(tenant).release());
    postgres.stop(StopMode::Immediate).unwrap();
    std::thread::scope(|scope| {
        for tenant in &tenants {
            scope.spawn(|| open_breaker(&service, tenant));
        }
    });
    postgres.start_again().unwrap();
    let back = now();
    // Nobody calls: it is the probes that find out.
    eventually("all breakers are closed", || {
        service.log().text().matches("event=breaker_closed").count() == 20
    });
    println!("20 breakers closed within {:?}", back.elapsed());
    for tenant in &tenants {
        let lease = service.lease(tenant);
        lease.run(&["select 1"]);
        lease.release();
    }
}

#[test]
fn a_restart_is_noticed_with_the_first_loss_and_no_caller_gets_a_lost_connection() {
    let mut postgres = Embedded::start(Options::default()).unwrap();
    let off = ["--health-check-interval", "0", "--ping-interval", "0"];
    let (service, tenant) = (Service::with(&off), tenant_on(&postgres).pool_of(10));
    let mut leases: Vec<Held> = (0..10).map(|_| service.lease(&tenant)).collect();
    let last = leases.pop().unwrap();
    leases.iter().for_each(Held::release);
    service.wait_stats(&tenant.name, "nine are at rest", |stats| stats.idle_connections == 9);
    postgres.stop(StopMode::Immediate).unwrap();
    postgres.start_again().unwrap();
    // One lease hears of it, and all at rest are looked at: nobody else has to.
    last.fails(&["select 1"]);
    service
        .wait_stats(&tenant.name, "all lost ones are gone", |stats| stats.total_connections == 0);
    let told = |part: &str| service.log().text().matches(part).count();
    eventually("each is told", || told("reason=failed_check") >= 9);
    let counts = (told("event=idle_backends_suspect"), told("reason=failed_check"));
    assert_eq!(counts, (1, 9), "{}", service.log().text());
    for lease in (0..10).map(|_| service.lease(&tenant)).collect::<Vec<_>>() {
        lease.run(&["select 1"]);
    }
}

#[test]
fn one_connection_that_somebody_ends_puts_no_other_in_doubt() {
    let (service, tenant) = (Service::start(), harness::tenant().pool_of(3));
    let leases: Vec<Held> = (0..3).map(|_| service.lease(&tenant)).collect();
    leases[1..].iter().for_each(Held::release);
    service.wait_stats(&tenant.name, "two are at rest", |stats| stats.idle_connections == 2);
    tenant.sql(&format!("select pg_terminate_backend({})", leases[0].pid));
    eventually("it is gone", || tenant.backends() == 2);
    leases[0].fails(&["select 1"]);
    service.log().wait_for("reason=lost");
    assert!(!service.log().text().contains("event=idle_backends_suspect"));
}

#[test]
fn a_frozen_database_fails_its_calls_and_is_used_again_after_it_thaws() {
    let postgres = Embedded::start(Options::default()).unwrap();
    let (service, tenant) = (Service::start(), tenant_on(&postgres).pool_of(2));
    let lease = service.lease(&tenant);
    let postmaster = postgres.postmaster_pid().unwrap();
    postgres.freeze(postmaster).unwrap();
    // It still takes connections, into its backlog, and never says a word.
    let hurried = ConnectionRequest { wait_timeout: millis(1), ..request(&tenant) };
    let error = refused(service.client().acquire_with(&hurried));
    assert_eq!((error.code, &*error.reason), (code::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
    // What is open goes on.
    lease.run(&["select 1"]);
    postgres.thaw(postmaster).unwrap();
    service.lease(&tenant).run(&["select 1"]);
}

/// A run against a database that is killed every two seconds.
struct Soak {
    seconds: u64,
    attempts: usize,
}

/// What the callers of a run share.
#[derive(Default)]
struct Tally {
    done: AtomicUsize,
    granted: AtomicUsize,
    over: AtomicBool,
}

/// Threads and descriptors of the service, and backends of the tenant, when all is quiet.
fn quiet(service: &Service, postgres: &Embedded, tenant: &Tenant) -> [usize; 3] {
    let client = service.client();
    let asked = ConnectionRequest { wait_timeout: millis(300_000), ..request(tenant) };
    eventually("it is served", || {
        client
            .acquire_with(&asked)
            .is_ok_and(|granted| client.release(&granted.connection_id).is_ok())
    });
    drop(client);
    let mut seen = [0; 3];
    eventually("the pool rests at its minimum, and no worker is left", || {
        let stats = service.client().stats(&tenant.name).unwrap();
        let rest = [stats.idle_connections, stats.total_connections, stats.waiting, stats.leases];
        seen = [service.threads(), service.descriptors(), backends_on(postgres, &tenant.name)];
        rest == [5, 5, 0, 0] && service.metric("connpool_worker_threads") == Some(0.0)
    });
    seen
}

/// What a caller may hear of a database that is killed.
fn is_honest(error: &CallError) -> bool {
    matches!(
        &*error.reason,
        "DATABASE_UNAVAILABLE" | "BREAKER_OPEN" | "BACKEND_LOST" | "LEASE_ENDED"
    )
}

impl Tally {
    /// Acquires, uses and releases until the run is over.
    fn call(&self, service: &Service, tenant: &Tenant) {
        let client = service.client();
        // Nobody sends here: a pause, so that the refusals do not take all of the machine.
        let (_open, pause) = crossbeam_channel::bounded::<()>(0);
        while !self.over.load(Ordering::SeqCst) {
            self.done.fetch_add(1, Ordering::SeqCst);
            match client.acquire(&tenant.name, &tenant.dsn) {
                Ok(granted) => {
                    self.granted.fetch_add(1, Ordering::SeqCst);
                    let ran = client.run(&granted.connection_id, &["select 1"]);
                    let released = client.release(&granted.connection_id);
                    for error in [ran.err(), released.err()].into_iter().flatten() {
                        assert!(is_honest(&error), "{error}");
                    }
                }
                Err(error) => {
                    assert!(is_honest(&error), "{error}");
                    let _ = pause.recv_timeout(Duration::from_millis(5));
                }
            }
        }
    }
}

impl Soak {
    fn run(&self) {
        let mut postgres = Embedded::start(Options::default()).unwrap();
        // Checks would have workers come now and then.
        let (service, tenant) = (
            Service::with(&["--idle-timeout=1", "--health-check-interval=0", "--ping-interval=0"]),
            tenant_on(&postgres),
        );
        let before = quiet(&service, &postgres, &tenant);
        let (tally, mut kills) = (Tally::default(), 0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| tally.call(&service, &tenant));
            }
            let (until, mut next) = (now() + Duration::from_secs(self.seconds), now());
            let (_open, pause) = crossbeam_channel::bounded::<()>(0);
            while now() < until || tally.done.load(Ordering::SeqCst) < self.attempts {
                if now() >= next {
                    postgres.kill(postgres.postmaster_pid().expect("it runs")).unwrap();
                    postgres.start_again().unwrap();
                    kills += 1;
                    next = now() + Duration::from_secs(2);
                }
                let _ = pause.recv_timeout(Duration::from_millis(50));
            }
            tally.over.store(true, Ordering::SeqCst);
        });
        let (done, granted) = (tally.done.into_inner(), tally.granted.into_inner());
        println!("{done} attempts, {granted} granted, {kills} kills in {} s", self.seconds);
        assert!(kills > 0 && granted > 0 && granted < done);
        let after = quiet(&service, &postgres, &tenant);
        println!("threads, descriptors, backends: {before:?} before, {after:?} after");
        // gRPC's own threads come and go.
        assert!(after[0] <= before[0] + 8 && after[1] <= before[1] + 8, "{before:?} {after:?}");
        assert_eq!(after[2], before[2]);
        let log = service.log().clone();
        assert!(!log.text().contains("event=panic"), "a thread has panicked");
        assert_eq!(service.stop().code(), Some(0));
        assert!(log.wait_for("event=draining").contains("connections_in_use=0 "));
    }
}

#[test]
fn a_database_that_is_killed_again_and_again_costs_no_permit_thread_descriptor_or_backend() {
    Soak { seconds: 10, attempts: 2_000 }.run();
}

#[test]
#[ignore = "takes over two minutes; docs/architecture.md says how to run it"]
fn the_same_for_two_minutes_and_24_000_attempts() {
    Soak { seconds: 120, attempts: 24_000 }.run();
}

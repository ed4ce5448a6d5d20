//! What an attack may cost: memory, threads, descriptors, and nothing of another
//! customer's service.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, RecvTimeoutError, Sender};

use super::{eventually, now, Service, Tenant};

/// What one client or one PostgreSQL may add to the memory of the service, in kB.
pub const MEMORY_KB: usize = 64 * 1024;

/// gRPC's own threads and epoll sets come and go with the load, a few of them.
const GRPC_THREADS: usize = 6;
const GRPC_DESCRIPTORS: usize = 12;

/// A service under attack, and a customer who must not notice it.
pub struct Siege<'a> {
    service: &'a Service,
    resident_kb: usize,
    threads: usize,
    descriptors: usize,
    alone: Duration,
    bystander: Bystander,
}

/// What was seen of an attack.
#[derive(Debug)]
pub struct Report {
    /// By how much the memory had grown at its peak, in kB.
    pub grown_kb: usize,
    /// Median time of the bystander's rounds before the attack.
    pub alone: Duration,
    /// The same during it.
    pub during: Duration,
    /// Rounds during the attack.
    pub rounds: usize,
}

impl<'a> Siege<'a> {
    /// Measures the service while only the bystander works on it. `bystander` should
    /// be a tenant of at most a few connections.
    pub fn start(service: &'a Service, bystander: Tenant) -> Siege<'a> {
        let bystander = Bystander::start(service, bystander);
        bystander.works(50);
        let alone = median(bystander.take());
        // From here on the peak is that of the attack.
        std::fs::write(format!("/proc/{}/clear_refs", service.pid()), "5").expect("Linux");
        Siege {
            service,
            resident_kb: service.proc_status("VmRSS:"),
            threads: service.threads(),
            descriptors: service.descriptors(),
            alone,
            bystander,
        }
    }

    /// By how much the memory has grown at its peak so far, in kB.
    pub fn grown_kb(&self) -> usize {
        self.service.proc_status("VmHWM:").saturating_sub(self.resident_kb)
    }

    /// Waits until the bystander has done this many more rounds; a round is a lease, a
    /// statement and a release.
    pub fn bystander_works(&self, rounds: usize) {
        self.bystander.works(rounds);
    }

    /// The attack is over and its clients have left: nothing of it may remain.
    #[track_caller]
    pub fn end(self) -> Report {
        self.end_within(MEMORY_KB)
    }

    /// The same for an attack that may cost more memory, in kB.
    #[track_caller]
    pub fn end_within(self, memory_kb: usize) -> Report {
        let grown_kb = self.grown_kb();
        let (rounds, errors) = self.bystander.end();
        assert!(errors.is_empty(), "{} errors, first: {}", errors.len(), errors[0]);
        assert!(grown_kb < memory_kb, "the memory grew by {grown_kb} kB");
        let threads = self.threads + GRPC_THREADS;
        let descriptors = self.descriptors + GRPC_DESCRIPTORS;
        let what = format!("at most {threads} threads and {descriptors} descriptors are left");
        eventually(&what, || {
            self.service.threads() <= threads && self.service.descriptors() <= descriptors
        });
        let during = if rounds.is_empty() { Duration::ZERO } else { median(rounds.clone()) };
        let report = Report { grown_kb, alone: self.alone, during, rounds: rounds.len() };
        println!("{report:?}");
        report
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[derive(Default)]
struct Seen {
    rounds: Vec<Duration>,
    errors: Vec<String>,
}

struct Bystander {
    stop: Sender<()>,
    seen: Arc<Mutex<Seen>>,
    working: JoinHandle<()>,
}

impl Bystander {
    fn start(service: &Service, tenant: Tenant) -> Bystander {
        let (stop, stopped) = bounded::<()>(0);
        let seen = Arc::<Mutex<Seen>>::default();
        let (client, log) = (service.client(), Arc::clone(&seen));
        #[allow(clippy::disallowed_methods)] // A test's own, joined in `end`.
        let working = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
                let began = now();
                let round = client.acquire(&tenant.name, &tenant.dsn).and_then(|lease| {
                    client.run(&lease.connection_id, &["select 1"])?;
                    client.release(&lease.connection_id)
                });
                let mut log = log.lock().unwrap();
                log.rounds.push(now() - began);
                log.errors.extend(round.err().map(|error| error.to_string()));
            }
        });
        Bystander { stop, seen, working }
    }

    fn works(&self, rounds: usize) {
        let done = || self.seen.lock().unwrap().rounds.len();
        let enough = done() + rounds;
        eventually("the bystander goes on", || done() >= enough);
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.seen.lock().unwrap().rounds)
    }

    fn end(self) -> (Vec<Duration>, Vec<String>) {
        drop(self.stop);
        self.working.join().expect("the bystander did not panic");
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (seen.rounds, seen.errors)
    }
}

//! The thread that keeps pools warm, retires old backends, looks whether lost
//! databases are back, and says who holds what for suspiciously long. It decides only; what may block runs on workers.

use std::time::{Duration, Instant};

use crossbeam_channel::{after, select};

use crate::clock;
use crate::pool::service::Service;
use crate::runtime::load_watch::LoadLog;
use crate::runtime::memory_watch::RefusalLog;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

/// The longest time between two visits to a pool; a pool that was just opened is visited at once.
const INTERVAL: Duration = Duration::from_secs(5);

/// Starts the keeper's thread.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(service: Service) -> std::io::Result<Thread> {
    Thread::start(threads::KEEPER, move |stopped| run(&service, &stopped))
}

fn run(service: &Service, stopped: &Stopped) {
    let bell = service.context().keeper.clone();
    let (mut load, mut refusals) = (LoadLog::default(), RefusalLog::default());
    let mut warn_at = clock::now();
    loop {
        bell.awake();
        let next = threads::survive(threads::KEEPER, || maintain(service));
        let now = clock::now();
        if now >= warn_at {
            warn_at = now + INTERVAL.min(service.context().live().leak_warning);
            threads::survive(threads::KEEPER, || warn(service, &mut load));
            threads::survive(threads::KEEPER, || refusals.write(service, now));
        }
        let next = next.flatten().map_or(warn_at, |next| next.min(warn_at));
        bell.sleep_until(next);
        select! {
            recv(stopped) -> _ => return,
            recv(bell.heard()) -> _ => {}
            recv(after(next.saturating_duration_since(now))) -> _ => {}
        }
    }
}

/// Maintains every pool. Returns when the next one needs it, if that is soon.
fn maintain(service: &Service) -> Option<Instant> {
    let now = clock::now();
    service.publish();
    let look = service.context().servers.look(now);
    let tenants = service.registry.named();
    tenants.iter().filter_map(|tenant| tenant.maintain(now)).chain(look).min()
}

/// Logs what an operator should know.
fn warn(service: &Service, load: &mut LoadLog) {
    load.write(service);
    service.leases.warn_of_leaks(service.context().live().leak_warning);
    service.retries.forget_ended(&service.leases);
}

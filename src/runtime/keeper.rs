//! The thread that keeps pools warm, retires old backends, looks whether lost
//! databases are back, and says who holds what for suspiciously long. It decides only; what may block runs on workers.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crossbeam_channel::{after, select};

use crate::clock;
use crate::core::ids::TenantId;
use crate::core::lease_table::LeaseView;
use crate::core::quoted::Quoted;
use crate::logging;
use crate::pool::service::Service;
use crate::runtime::memory_watch::RefusalLog;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

/// The longest time between two visits to a pool; a pool that was just opened is visited at once.
const INTERVAL: Duration = Duration::from_secs(5);
/// The most holders named in one line.
const NAMED: usize = 10;

/// Starts the keeper's thread.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(service: Service) -> std::io::Result<Thread> {
    Thread::start(threads::KEEPER, move |stopped| run(&service, &stopped))
}

fn run(service: &Service, stopped: &Stopped) {
    let bell = service.context().keeper.clone();
    let (mut exhausted, mut refusals) = (HashSet::new(), RefusalLog::default());
    let mut warn_at = clock::now();
    loop {
        bell.awake();
        let next = threads::survive(threads::KEEPER, || maintain(service));
        let now = clock::now();
        if now >= warn_at {
            warn_at = now + INTERVAL.min(service.context().live().leak_warning);
            threads::survive(threads::KEEPER, || warn(service, &mut exhausted));
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

/// Logs what an operator should know. `exhausted` holds the tenants whose present exhaustion was
/// logged.
fn warn(service: &Service, exhausted: &mut HashSet<TenantId>) {
    let mut still = HashSet::new();
    for tenant in service.registry.named() {
        let figures = tenant.figures();
        // Otherwise the tenant is not exhausted; its server is full.
        if figures.waiting == 0 || figures.used < figures.max {
            continue;
        }
        still.insert(tenant.id().clone());
        let logged = exhausted.contains(tenant.id());
        if !logged && logging::admits("tenant_exhausted", Some(tenant.id())) {
            let (holders, more) = holders(&service.leases.views_of(tenant.id()));
            log::warn!(
                "event=tenant_exhausted tenant={} used={} limit={} waiting={} holders={} \
                 more_holders={more}",
                tenant.id(),
                figures.used,
                figures.max,
                figures.waiting,
                Quoted(&holders)
            );
        }
    }
    *exhausted = still;
    service.leases.warn_of_leaks(service.context().live().leak_warning);
    service.retries.forget_ended(&service.leases);
}

/// The holders of these leases with their counts, the largest first; and how many holders are not
/// named.
fn holders(leases: &[LeaseView]) -> (String, usize) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for view in leases {
        *counts.entry(&view.facts.holder).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = counts.len().saturating_sub(NAMED);
    let named = counts.iter().take(NAMED).map(|(holder, count)| format!("{holder} ({count})"));
    (named.collect::<Vec<_>>().join(", "), more)
}

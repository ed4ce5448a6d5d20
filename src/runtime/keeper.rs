//! The thread that keeps pools warm, retires old backends, looks whether lost
//! databases are back, and says who holds what for suspiciously long. It decides only; what may block runs on workers.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crossbeam_channel::{after, select};

use crate::clock;
use crate::core::ids::TenantId;
use crate::core::lease_table::View;
use crate::core::quoted::Quoted;
use crate::logging;
use crate::pool::service::Service;
use crate::runtime::memory_watch::Told;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

/// It looks at every pool at least so often, and when a pool was just opened.
const INTERVAL: Duration = Duration::from_secs(5);
/// Holders named in one line.
const NAMED: usize = 10;

/// Starts the keeper.
///
/// # Errors
/// If the system has no thread left.
pub fn start(service: Service) -> std::io::Result<Thread> {
    Thread::start(threads::KEEPER, move |stopped| run(&service, &stopped))
}

fn run(service: &Service, stopped: &Stopped) {
    let bell = service.context().keeper.clone();
    let interval = INTERVAL.min(service.context().config.leak_warning);
    let (mut exhausted, mut told) = (HashSet::new(), Told::default());
    let mut tell_at = clock::now();
    loop {
        bell.awake();
        let next = threads::survive(threads::KEEPER, || maintain(service));
        let now = clock::now();
        if now >= tell_at {
            tell_at = now + interval;
            threads::survive(threads::KEEPER, || tell(service, &mut exhausted));
            threads::survive(threads::KEEPER, || told.tell(service, now));
        }
        let next = next.flatten().map_or(tell_at, |next| next.min(tell_at));
        bell.sleep_until(next);
        select! {
            recv(stopped) -> _ => return,
            recv(bell.heard()) -> _ => {}
            recv(after(next.saturating_duration_since(now))) -> _ => {}
        }
    }
}

/// Looks after every pool. Returns when the next one needs it, if that is soon.
fn maintain(service: &Service) -> Option<Instant> {
    let now = clock::now();
    service.publish();
    let look = service.context().servers.look(now);
    let tenants = service.registry.named();
    tenants.iter().filter_map(|tenant| tenant.maintain(now)).chain(look).min()
}

/// Says what people should know. `exhausted` holds the tenants whose present
/// exhaustion was told.
fn tell(service: &Service, exhausted: &mut HashSet<TenantId>) {
    let mut still = HashSet::new();
    for tenant in service.registry.named() {
        let figures = tenant.figures();
        // Otherwise it is not the tenant that is full, but its server.
        if figures.waiting == 0 || figures.used < figures.max {
            continue;
        }
        still.insert(tenant.id().clone());
        let told = exhausted.contains(tenant.id());
        if !told && logging::admits("tenant_exhausted", Some(tenant.id())) {
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
    service.leases.warn_of_leaks(service.context().config.leak_warning);
    service.retries.forget_ended(&service.leases);
}

/// Who holds how many of these leases, the greatest first; and how many are not named.
fn holders(leases: &[View]) -> (String, usize) {
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

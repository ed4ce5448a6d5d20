//! Attempts that wait: between two tries, or for room at a server.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkout_attempt::CheckoutAttempt;
use super::Tenant;
use crate::clock;
use crate::core::breaker::BreakerPhase;
use crate::pool::account::Account;
use crate::pool::line::{Resume, SuspendedAttempt};
use crate::pool::waiting_room::Full;

/// How often an attempt that waits looks whether its caller is still there.
const LOOK: Duration = Duration::from_millis(500);

/// An attempt that waits, and what counts it meanwhile.
struct CountedAttempt {
    attempt: CheckoutAttempt,
    suspended: CountedSuspension,
    unopened: Option<Unopened>,
}

impl Resume for CountedAttempt {
    fn resume(self: Box<Self>) {
        let CountedAttempt { attempt, suspended, unopened } = *self;
        drop((suspended, unopened));
        attempt.run();
    }
}

/// Counts an attempt that waits.
struct CountedSuspension(Arc<Account>);

impl Drop for CountedSuspension {
    fn drop(&mut self) {
        self.0.numbers.suspended.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a tenant that waits at a full server for its first backend: it takes no place among
/// the tenants that are being opened.
struct Unopened(Arc<Account>);

impl Unopened {
    fn new(account: &Arc<Account>) -> Unopened {
        account.numbers.unopened.fetch_add(1, Ordering::Relaxed);
        account.context().servers.unopened().fetch_add(1, Ordering::Relaxed);
        Unopened(Arc::clone(account))
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        self.0.numbers.unopened.fetch_sub(1, Ordering::Relaxed);
        self.0.context().servers.unopened().fetch_sub(1, Ordering::Relaxed);
    }
}

impl CheckoutAttempt {
    /// Counts its job as a waiting one, like those in the queue: that it has a permit changes
    /// nothing for the limits of its client connection.
    pub(super) fn park(&self) -> Result<(), Full> {
        let line = &self.tenant().line;
        let caller = match line.lock().find(self.own()) {
            Some(job) if job.parked.is_none() => Arc::clone(&job.caller),
            _ => return Ok(()),
        };
        let mut parked = Some(self.tenant().context().park(&caller)?);
        if let Some(job) = line.lock().find(self.own()) {
            std::mem::swap(&mut job.parked, &mut parked);
        }
        Ok(())
    }

    /// Waits until then, or until it is resumed. Does not block.
    pub(super) fn suspend(self, until: Instant) {
        let tenant = Arc::clone(self.tenant());
        let (own, ticket) = (self.own(), self.ticket());
        let unopened = tenant.is_opening() && ticket.is_some();
        let unopened = unopened.then(|| Unopened::new(&tenant.account));
        tenant.account.numbers.suspended.fetch_add(1, Ordering::Relaxed);
        let suspended = CountedSuspension(Arc::clone(&tenant.account));
        let attempt = Box::new(CountedAttempt { attempt: self, suspended, unopened });
        let id =
            tenant.line.lock().suspend(SuspendedAttempt { until, own, ticket, attempt, id: 0 });
        look_after(&tenant, id, until.min(clock::now() + LOOK));
        // Just before, a backend may have become idle, the breaker opened, or room been found.
        let called = ticket.is_some_and(|ticket| tenant.context().servers.is_called(ticket));
        let backends = tenant.backends();
        if called || backends.store.idle() > 0 || backends.breaker_phase() != BreakerPhase::Closed {
            tenant.line.resume(|one| one.id == id);
        }
    }
}

/// Sets an alarm that looks at an attempt that waits.
fn look_after(tenant: &Arc<Tenant>, attempt: u64, at: Instant) {
    let looks = Arc::clone(tenant);
    tenant.context().tools.alarms.soon(at, move || look_at(&looks, attempt, at));
}

fn look_at(tenant: &Arc<Tenant>, id: u64, now: Instant) {
    let Some((until, caller)) = tenant.line.lock().look(id) else { return };
    let is_wanted = caller.is_some_and(|caller| !caller.is_gone());
    match until <= now || !is_wanted {
        true => tenant.line.resume(|one| one.id == id),
        false => look_after(tenant, id, until.min(now + LOOK)),
    }
}

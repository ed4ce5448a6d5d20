//! The way from a permit to a backend: jobs stand in line, and attempts on workers serve them.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use super::checkout::checkout;
use super::{Tenant, POOL_CLOSED};
use crate::clock;
use crate::config::TenantPoolConfig;
use crate::core::backoff;
use crate::core::breaker::BreakerPhase;
use crate::core::gate::GateState;
use crate::core::servers::LineTicket;
use crate::error::{ConnectError, RequestError};
use crate::pool::backends::Backends;
use crate::pool::checkout::Checkout;
use crate::pool::job::{Job, LEAST_PATIENCE};
use crate::pool::line::GrantedJob;
use crate::pool::requests::permit::Permit;
use crate::pool::servers::{LinePlace, Wants};
use crate::random;
use crate::threads::here;

/// The right, and the duty, to take one job or spare permit from the line. Dropped
/// unused, as when a connect panics or no thread is left, it takes it all the same, and
/// the job is answered.
pub(super) struct CheckoutAttempt {
    tenant: Arc<Tenant>,
    /// The job it was made for. Another attempt may have served that; then it goes on
    /// with another job.
    own: u64,
    tries: u32,
    /// In the line before a server that is full.
    place: Option<LinePlace>,
    taken: bool,
    /// Taken instead of a job, and given back at the end.
    spare: Option<Permit>,
}

/// What an attempt has to do next.
enum NextStep {
    /// The caller of this job has left.
    Left(Job, Permit),
    /// A job waits, from when its request came until then.
    Until(Instant, Instant),
    /// Nothing: other attempts have served all jobs.
    None,
}

impl CheckoutAttempt {
    pub(super) fn new(tenant: &Arc<Tenant>, own: u64) -> CheckoutAttempt {
        let tenant = Arc::clone(tenant);
        CheckoutAttempt { tenant, own, tries: 0, place: None, taken: false, spare: None }
    }

    pub(super) fn run(self) {
        let tenant = Arc::clone(&self.tenant);
        let tools = &tenant.context().tools;
        if let Err(lost) = tools.workers.try_run(move || self.serve()) {
            // Dropped here, its permit would go to the next waiter, whose job
            // would be dropped here, and so on down the stack.
            tools.alarms.soon(clock::now(), move || drop(lost));
        }
    }

    /// Whose line it has a part in.
    pub(super) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The job it was made for, or goes on with.
    pub(super) fn own(&self) -> u64 {
        self.own
    }

    /// Its place in line, if it has one.
    pub(super) fn ticket(&self) -> Option<LineTicket> {
        self.place.as_ref().map(LinePlace::ticket)
    }

    fn next_step(&mut self) -> NextStep {
        let tenant = Arc::clone(&self.tenant);
        loop {
            let mut line = tenant.line.lock();
            let is_own = |granted: &&GrantedJob| granted.id == self.own;
            let own = line.jobs.iter().find(is_own).or(line.jobs.front());
            let Some(own) = own else {
                self.end(line.spare_permits.pop());
                return NextStep::None;
            };
            self.own = own.id;
            let (since, until) = (own.job.since, own.job.until);
            let caller = Arc::clone(&own.job.caller);
            drop(line);
            if !caller.is_gone() {
                return NextStep::Until(since, until);
            }
            // Another attempt may have been quicker.
            if let Some((job, permit)) = self.take_own() {
                return NextStep::Left(job, permit);
            }
        }
    }

    /// No job is left for it. Said under the lock under which that was seen, or a
    /// job that comes in between would be taken instead.
    fn end(&mut self, spare: Option<Permit>) {
        self.taken = true;
        self.spare = spare;
    }

    /// Takes its job; `None`: another attempt was quicker, and this one goes on.
    fn take_own(&mut self) -> Option<(Job, Permit)> {
        let own = self.tenant.line.lock().remove(self.own);
        self.taken |= own.is_some();
        own.map(|GrantedJob { job, permit, .. }| (job, permit))
    }

    /// Takes the job in front; `None`: there is none, and this attempt is over.
    fn take_front(&mut self) -> Option<(Job, Permit)> {
        let tenant = Arc::clone(&self.tenant);
        let mut line = tenant.line.lock();
        let front = line.jobs.pop_front();
        match front {
            Some(_) => self.taken = true,
            None => self.end(line.spare_permits.pop()),
        }
        front.map(|GrantedJob { job, permit, .. }| (job, permit))
    }

    /// On a worker: gets a backend for the job in front.
    fn serve(mut self) {
        let tenant = Arc::clone(&self.tenant);
        let now = clock::now();
        let (since, until) = match self.next_step() {
            NextStep::Until(since, until) => (since, until),
            NextStep::Left(job, permit) => return self.give_up(job, permit),
            NextStep::None => return,
        };
        tenant.account.touch();
        let opening = tenant.gate().state() == GateState::Opening;
        let patience = until.saturating_duration_since(now).max(LEAST_PATIENCE);
        let mut wants = Wants::caller(since, self.place.take());
        let (backends, outcome) = checkout(&tenant, patience, &mut wants);
        // Who has a backend stands in no line; what is run with it may take long.
        self.place = wants.place().filter(|_| outcome.is_err());
        match outcome {
            Ok(taken) if opening && (tenant.has_ended() || !tenant.opened()) => {
                backends.close(taken, POOL_CLOSED);
                self.fail(&backends, tenant.closed(), false);
            }
            Ok(mut taken) => {
                match self.take_front() {
                    Some((job, permit)) => {
                        let checkout = Checkout { taken, backends, permit };
                        here::ending(|| tenant.deliver(job, checkout));
                    }
                    // It was served with a backend that came back meanwhile. What
                    // was opened for it is put to rest, then the permit goes.
                    None => {
                        taken.clean = true;
                        backends.rest(taken, clock::now());
                    }
                }
            }
            Err(error) => {
                let cause = error.failed_connect();
                if opening && cause.is_some_and(ConnectError::is_full_for_role) {
                    tenant.registrar.upgrade().into_iter().for_each(|all| all.crowded(&tenant));
                }
                self.fail(&backends, error, opening);
            }
        }
    }

    fn fail(mut self, backends: &Backends, mut error: RequestError, opening: bool) {
        let tenant = Arc::clone(&self.tenant);
        // A request that must wait longer than is worth waiting here has its turn later.
        let cause = error.failed_connect();
        let passing = cause.is_some_and(|cause| !cause.is_deferred()) && error.is_retryable();
        let lacks_room = self.place.is_some() && cause.is_some_and(ConnectError::lacks_room);
        if lacks_room && !lets_wait(&tenant) {
            error = tenant.closed();
        }
        loop {
            let until = match self.next_step() {
                NextStep::Until(_, until) => until,
                // The next request may have better luck.
                NextStep::Left(job, permit) if passing => return self.give_up(job, permit),
                NextStep::Left(job, permit) => {
                    return self.answer(job, permit, error, opening);
                }
                NextStep::None => return,
            };
            let now = clock::now();
            let TenantPoolConfig { connect_pause, connect_pause_max, .. } = backends.settings;
            let most = backends.settings.connect_retries;
            let jitter = random::chance() / 10.0;
            let pause = backoff::delay(self.tries, connect_pause, connect_pause_max, 2.0, jitter);
            let closed = backends.breaker_phase() == BreakerPhase::Closed;
            // Room may appear at any time; until then no neighbour is asked again.
            if lacks_room && closed && lets_wait(&tenant) && now < until {
                match self.park() {
                    Ok(()) => return self.suspend(until),
                    Err(full) => error = full.error(tenant.id()),
                }
            }
            let worth = passing && self.tries < most && closed;
            let in_time = now + pause < until;
            if worth && in_time && !lacks_room {
                self.tries += 1;
                return self.suspend(now + pause);
            }
            if let Some((job, permit)) = self.take_own() {
                // Its caller was in a hurry, and the next one may have the time. But a
                // queue of those whose time is over when their turn comes has no end.
                let alone = lacks_room
                    || worth && opening && backends.hurried.fetch_add(1, Ordering::Relaxed) < most;
                if let Some(cause) = error.failed_connect().filter(|_| lacks_room) {
                    tenant.context().servers.starved(tenant.id(), cause);
                }
                return self.answer(job, permit, error, opening && !alone);
            }
        }
    }

    /// The caller of this job has left.
    fn give_up(&self, job: Job, permit: Permit) {
        job.left(&self.tenant.account);
        drop(permit);
    }

    /// Answers a job that gets no backend. `first`: the tenant has none, so nobody who waits for
    /// it will get one.
    fn answer(&self, job: Job, permit: Permit, error: RequestError, first: bool) {
        let tenant = &self.tenant;
        let stranded = if first {
            tenant.unregister();
            let stranded = tenant.gate().failed();
            if tenant.is_closed() {
                tenant.backends().retire(POOL_CLOSED);
            }
            stranded
        } else {
            Vec::new()
        };
        // The permit is back before the request fails.
        drop(permit);
        for waiter in stranded {
            waiter.fail(&tenant.account, error.clone());
        }
        job.fail(&tenant.account, error);
    }
}

/// False once nobody is to wait for a connection any more.
fn lets_wait(tenant: &Tenant) -> bool {
    matches!(tenant.gate().state(), GateState::Opening | GateState::Active)
}

impl Drop for CheckoutAttempt {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut line = self.tenant.line.lock();
        let own = line.remove(self.own).or_else(|| line.jobs.pop_front());
        let spare = match own {
            Some(_) => None,
            None => line.spare_permits.pop(),
        };
        drop(line);
        // The job first: its permit is given back after it. In a panic the job's responder
        // answers for itself.
        match own {
            Some(GrantedJob { job, permit, .. }) if !std::thread::panicking() => {
                let cause = ConnectError::Starved("no thread is left".to_owned());
                let tenant = self.tenant.id().clone();
                job.fail(&self.tenant.account, RequestError::Connect { tenant, cause });
                drop(permit);
            }
            own => drop(own),
        }
        drop(spare);
    }
}

//! The way from a permit to a backend: jobs stand in line, and workers take turns.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::core::backoff;
use crate::core::breaker::Phase;
use crate::core::gate::GateState;
use crate::core::servers::Ticket;
use crate::error::{ConnectError, Error};
use crate::pool::caller::Caller;
use crate::pool::job::{Job, Permit, Session};
use crate::pool::naps::Nap;
use crate::pool::servers::{Place, Wants};
use crate::pool::tenant::Tenant;
use crate::pool::waiting_room::Full;
use crate::random;

/// Further tries after the first, and the pauses between them.
const RETRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connect is not worth beginning with less; so one may take so long although
/// its caller's time is over.
pub(super) const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Jobs with a permit that wait for their backend, in the order in which they
/// were granted. There is one `Turn` for each of them and for each spare permit.
#[derive(Default)]
pub(super) struct Line {
    standing: VecDeque<Standing>,
    /// Of sessions that came back and were handed to a job whose own backend is
    /// still being opened: the permits stand for that.
    spare: Vec<Permit>,
    /// Turns that wait.
    pub(super) naps: Vec<Nap>,
    next: u64,
}

struct Standing {
    id: u64,
    job: Job,
    permit: Permit,
}

impl Line {
    pub(super) fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn find(&mut self, id: u64) -> Option<&mut Job> {
        let mut standing = self.standing.iter_mut();
        standing.find(|standing| standing.id == id).map(|standing| &mut standing.job)
    }

    fn remove(&mut self, id: u64) -> Option<Standing> {
        let position = self.standing.iter().position(|standing| standing.id == id)?;
        self.standing.remove(position)
    }

    /// The caller of this turn's job, while that stands.
    pub(super) fn caller(&self, turn: &Turn) -> Option<Arc<Caller>> {
        let own = self.standing.iter().find(|standing| standing.id == turn.own);
        own.map(|own| Arc::clone(&own.job.caller))
    }
}

impl Tenant {
    /// The job has a permit: it joins the line, and a worker gets a backend for
    /// whoever then stands in front. Were each worker bound to its own job, a
    /// connect that happens to be quick would overtake.
    pub(super) fn start(self: &Arc<Self>, mut job: Job) {
        job.parked = None;
        let permit = Permit::new(self, job.counted_for());
        let mut line = self.line.lock();
        let id = line.id();
        line.standing.push_back(Standing { id, job, permit });
        drop(line);
        let tenant = Arc::clone(self);
        Turn { tenant, own: id, tries: 0, place: None, taken: false, spare: None }.run();
    }

    /// Hands a backend that has just come to rest to whoever waits for one to be
    /// opened. The permit comes back if nobody does.
    pub(super) fn serve_opening(&self, permit: Permit) -> Option<Permit> {
        let waits = self.numbers.opening.load(Ordering::Relaxed) > 0
            || self.numbers.napping.load(Ordering::Relaxed) > 0;
        if !waits || self.line.lock().standing.is_empty() {
            return Some(permit);
        }
        // Somebody else may have been quicker.
        let Some(mut taken) = self.store.take() else { return Some(permit) };
        let mut line = self.line.lock();
        let Some(front) = line.standing.pop_front() else {
            drop(line);
            taken.clean = true;
            self.rest(taken, clock::now());
            return Some(permit);
        };
        line.spare.push(permit);
        let nap = line.first_nap();
        drop(line);
        // Its turn has nothing to do any more, and gives the permit back.
        nap.into_iter().for_each(|nap| nap.end(self));
        self.deliver(front.job, Session { taken, permit: front.permit });
        None
    }

    fn deliver(&self, mut job: Job, session: Session) {
        job.parked = None;
        if !job.caller.serve() {
            self.count_left(&job);
            return self.reset(session);
        }
        let waited = job.waited();
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.numbers.acquired.fetch_add(1, Ordering::Relaxed);
        self.numbers.waited_micros.fetch_add(micros, Ordering::Relaxed);
        self.series().acquired(waited);
        (job.deliver)(Ok(session));
    }

    fn fail_connect(self: &Arc<Self>, job: Job, permit: Permit, error: Error, first: bool) {
        let stranded = if first {
            self.unregister();
            self.gate().failed()
        } else {
            Vec::new()
        };
        // The permit is back before anybody hears of the failure.
        drop(permit);
        for waiter in stranded {
            waiter.fail(self, error.clone());
        }
        job.fail(self, error);
    }

    /// How long the request has waited that has no backend for the longest.
    pub fn longest_wait(&self) -> Duration {
        let queued = self.gate().oldest().map(Job::waited);
        let standing = self.line.lock().standing.front().map(|front| front.job.waited());
        queued.max(standing).unwrap_or_default()
    }

    /// Answers all whose backend is still being opened; what their turns open is closed.
    pub(super) fn answer_line(&self, error: &Error) {
        let standing = std::mem::take(&mut self.line.lock().standing);
        for Standing { job, permit, .. } in standing {
            // The permit is back before anybody hears of it.
            drop(permit);
            job.fail(self, error.clone());
        }
    }
}

/// The right, and the duty, to take one job or spare permit from the line. Dropped
/// unused, as when a connect panics or no thread is left, it takes it all the same, and
/// the job is answered.
pub(super) struct Turn {
    tenant: Arc<Tenant>,
    /// The job it was made for. Another turn may have served that; then it goes on
    /// with another.
    own: u64,
    tries: u32,
    /// In the line before a server that is full.
    place: Option<Place>,
    taken: bool,
    /// Taken instead of a job, and given back at the end.
    spare: Option<Permit>,
}

/// Whether a turn is still needed.
enum Need {
    /// The caller of this job has left.
    Left(Job, Permit),
    /// A job waits, from when its request came until then.
    Until(Instant, Instant),
    /// Another turn has served the last.
    None,
}

impl Turn {
    pub(super) fn run(self) {
        let tenant = Arc::clone(&self.tenant);
        let tools = &tenant.context.tools;
        if let Err(lost) = tools.workers.try_run(move || self.serve()) {
            // Dropped here, its permit would go to the next waiter, whose job
            // would be dropped here, and so on down the stack.
            tools.alarms.soon(clock::now(), move || drop(lost));
        }
    }

    /// Its place in line, if it has one.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        self.place.as_ref().map(Place::ticket)
    }

    fn need(&mut self) -> Need {
        let tenant = Arc::clone(&self.tenant);
        loop {
            let mut line = tenant.line.lock();
            let is_own = |standing: &&Standing| standing.id == self.own;
            let own = line.standing.iter().find(is_own).or(line.standing.front());
            let Some(own) = own else {
                self.end(line.spare.pop());
                return Need::None;
            };
            self.own = own.id;
            let (since, until) = (own.job.since, own.job.until);
            let caller = Arc::clone(&own.job.caller);
            drop(line);
            if !caller.is_gone() {
                return Need::Until(since, until);
            }
            // Another turn may have been quicker.
            if let Some((job, permit)) = self.take_own() {
                return Need::Left(job, permit);
            }
        }
    }

    /// No job is left for it. Said under the lock under which that was seen, or a
    /// job that comes in between would be taken instead.
    fn end(&mut self, spare: Option<Permit>) {
        self.taken = true;
        self.spare = spare;
    }

    /// Takes its job; `None`: another turn was quicker, and this one goes on.
    fn take_own(&mut self) -> Option<(Job, Permit)> {
        let own = self.tenant.line.lock().remove(self.own);
        self.taken |= own.is_some();
        own.map(|Standing { job, permit, .. }| (job, permit))
    }

    /// Takes the job in front; `None`: there is none, and this turn is over.
    fn take_front(&mut self) -> Option<(Job, Permit)> {
        let tenant = Arc::clone(&self.tenant);
        let mut line = tenant.line.lock();
        let front = line.standing.pop_front();
        match front {
            Some(_) => self.taken = true,
            None => self.end(line.spare.pop()),
        }
        front.map(|Standing { job, permit, .. }| (job, permit))
    }

    /// On a worker: gets a backend for the job in front.
    fn serve(mut self) {
        let tenant = Arc::clone(&self.tenant);
        let now = clock::now();
        let (since, until) = match self.need() {
            Need::Until(since, until) => (since, until),
            Need::Left(job, permit) => return tenant.give_up(job, permit),
            Need::None => return,
        };
        *tenant.last_used.lock() = now;
        let opening = tenant.gate().state() == GateState::Opening;
        let patience = until.saturating_duration_since(now).max(LEAST_PATIENCE);
        let mut wants = Wants::caller(since, self.place.take());
        let backend = tenant.backend(patience, &mut wants);
        // Who has a backend stands in no line; what is run with it may take long.
        self.place = wants.place().filter(|_| backend.is_err());
        match backend {
            Ok(taken) if opening && (tenant.has_ended() || !tenant.opened()) => {
                tenant.close(taken, "pool_closed");
                self.fail(tenant.closed(), false);
            }
            Ok(mut taken) => {
                match self.take_front() {
                    Some((job, permit)) => tenant.deliver(job, Session { taken, permit }),
                    // It was served with a backend that came back meanwhile. What
                    // was opened for it is put to rest, then the permit goes.
                    None => {
                        taken.clean = true;
                        tenant.rest(taken, clock::now());
                    }
                }
            }
            Err(error) => {
                let crowded =
                    matches!(&error, Error::Connect { cause, .. } if cause.is_full_for_role());
                if opening && crowded {
                    tenant.is_crowded_out();
                }
                self.fail(error, opening);
            }
        }
    }

    fn fail(mut self, mut error: Error, opening: bool) {
        let tenant = Arc::clone(&self.tenant);
        // Whoever is put off has its turn at a later time than it is worth to wait here.
        let tried = matches!(&error, Error::Connect { cause, .. } if !cause.is_deferred());
        let passing = tried && error.is_retryable();
        let lacks_room = self.place.is_some()
            && matches!(&error, Error::Connect { cause, .. } if cause.lacks_room());
        if lacks_room && !tenant.lets_wait() {
            error = tenant.closed();
        }
        loop {
            let until = match self.need() {
                Need::Until(_, until) => until,
                // Whoever is next may have better luck.
                Need::Left(job, permit) if passing => return tenant.give_up(job, permit),
                Need::Left(job, permit) => {
                    return tenant.fail_connect(job, permit, error, opening);
                }
                Need::None => return,
            };
            let now = clock::now();
            let jitter = random::chance() / 10.0;
            let pause = backoff::delay(self.tries, PAUSE, LONGEST_PAUSE, 2.0, jitter);
            let closed = tenant.breaker() == Phase::Closed;
            // Room may be found at any time, and nobody is asked in vain meanwhile.
            if lacks_room && closed && tenant.lets_wait() && now < until {
                match tenant.park(self.own) {
                    Ok(()) => return tenant.nap(self, until),
                    Err(full) => error = full.error(&tenant.id),
                }
            }
            let worth = passing && self.tries < RETRIES && closed;
            let in_time = now + pause < until;
            if worth && in_time && !lacks_room {
                self.tries += 1;
                return tenant.nap(self, now + pause);
            }
            if let Some((job, permit)) = self.take_own() {
                // Its caller was in a hurry, and the next one may have the time. But a
                // queue of those whose time is over when their turn comes has no end.
                let alone = lacks_room
                    || worth && opening && tenant.hurried.fetch_add(1, Ordering::Relaxed) < RETRIES;
                if let Error::Connect { cause, .. } = &error {
                    let starved = lacks_room.then_some(cause);
                    starved
                        .into_iter()
                        .for_each(|why| tenant.context.servers.starved(&tenant.id, why));
                }
                return tenant.fail_connect(job, permit, error, opening && !alone);
            }
        }
    }
}

impl Tenant {
    /// The caller of this job has left.
    pub(super) fn count_left(&self, job: &Job) {
        self.series().acquire_failed("caller_left", job.waited());
    }

    /// Counts a job that stands in line as one that waits, like those in the queue. It
    /// has a permit, but its connection has as few calls as any.
    fn park(&self, own: u64) -> Result<(), Full> {
        let caller = match self.line.lock().find(own) {
            Some(job) if job.parked.is_none() => Arc::clone(&job.caller),
            _ => return Ok(()),
        };
        let mut parked = Some(self.context.waiting_room.enter(caller.peer())?);
        if let Some(job) = self.line.lock().find(own) {
            std::mem::swap(&mut job.parked, &mut parked);
        }
        Ok(())
    }

    /// False once nobody is to wait for a connection any more.
    fn lets_wait(&self) -> bool {
        matches!(self.gate().state(), GateState::Opening | GateState::Active)
    }

    fn give_up(&self, job: Job, permit: Permit) {
        self.count_left(&job);
        drop(job);
        drop(permit);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut line = self.tenant.line.lock();
        let own = line.remove(self.own).or_else(|| line.standing.pop_front());
        let spare = match own {
            Some(_) => None,
            None => line.spare.pop(),
        };
        drop(line);
        // The job first: its permit is given back after it. In a panic the job's reply
        // answers for itself.
        match own {
            Some(Standing { job, permit, .. }) if !std::thread::panicking() => {
                let cause = ConnectError::Starved("no thread is left".to_owned());
                let tenant = self.tenant.id.clone();
                job.fail(&self.tenant, Error::Connect { tenant, cause });
                drop(permit);
            }
            own => drop(own),
        }
        drop(spare);
    }
}

//! One tenant: its gate, its pool, and the way from a permit to a backend and
//! back.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use scheduled_thread_pool::ScheduledThreadPool;

use crate::backend::connect::Connect;
use crate::backend::session::Backend;
use crate::backend::transport::Watch;
use crate::clock;
use crate::config::{Config, PoolConfig};
use crate::core::gate::{Entry, Gate, GateState, Refusal};
use crate::core::ids::TenantId;
use crate::core::wait_queue::{Handed, WaiterId};
use crate::error::{ConnectError, Error};
use crate::pool::alarms::Bell;
use crate::pool::job::{waited_too_long, Job, Outstanding, Permit, Session};
use crate::pool::operation::Tools;
use crate::pool::registry::Registry;
use crate::pool::store::{OpenCount, Store, Taken};

/// What all tenants share.
pub struct Context {
    /// Settings of the service.
    pub config: Config,
    /// Workers, alarms, metrics.
    pub tools: Tools,
    /// Wakes the reaper.
    pub bell: Bell,
    /// Wakes the keeper.
    pub keeper: Bell,
    /// All permits that are out.
    pub outstanding: Outstanding,
    /// r2d2's one thread.
    pub r2d2: Arc<ScheduledThreadPool>,
}

/// What tells one DSN from another without keeping it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A customer: one DSN, one pool, its limits.
pub struct Tenant {
    id: TenantId,
    pub(super) settings: PoolConfig,
    fingerprint: Fingerprint,
    connect: Box<dyn Connect>,
    pub(super) store: Store,
    /// Permits, waiters, state. Never held over I/O, r2d2, logging, destructors.
    gate: Mutex<Gate<Job>>,
    numbers: Numbers,
    /// Counted by the registry as opening.
    opening: AtomicBool,
    /// The keeper's work for this tenant is under way.
    pub(super) upkeep: AtomicBool,
    pub(super) warm_after: Mutex<Option<Instant>>,
    /// When a request took or gave back a session last.
    pub(super) last_used: Mutex<Instant>,
    pub(super) context: Arc<Context>,
    registry: Weak<Registry>,
}

#[derive(Default)]
struct Numbers {
    acquired: AtomicU64,
    waited_micros: AtomicU64,
    opening: AtomicUsize,
    resetting: AtomicUsize,
}

/// A tenant's figures at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Permits out: leases, one-shots, backends being opened or reset.
    pub used: usize,
    /// Backends at rest.
    pub idle: usize,
    /// All backends, those being opened included.
    pub open: usize,
    /// Backends being opened.
    pub opening: usize,
    /// Backends being reset.
    pub resetting: usize,
    /// Requests in the queue.
    pub waiting: usize,
    /// The limit.
    pub max: usize,
    /// Requests served with a backend so far.
    pub acquired: u64,
    /// How long they waited together.
    pub waited: Duration,
    /// What the gate does.
    pub state: GateState,
}

/// Adds to a number while it lives.
struct During<'a>(&'a AtomicUsize);

impl<'a> During<'a> {
    fn new(number: &'a AtomicUsize) -> During<'a> {
        number.fetch_add(1, Ordering::Relaxed);
        During(number)
    }
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tenant {
    /// A tenant in state Opening.
    pub fn new(
        id: TenantId,
        settings: PoolConfig,
        fingerprint: Fingerprint,
        connect: Box<dyn Connect>,
        context: &Arc<Context>,
        registry: Weak<Registry>,
    ) -> Arc<Tenant> {
        let waiters = context.config.limits.waiters_per_tenant;
        Arc::new(Tenant {
            store: Store::new(settings.max_connections, &context.r2d2),
            gate: Mutex::new(Gate::opening(settings.max_connections, waiters)),
            id,
            settings,
            fingerprint,
            connect,
            numbers: Numbers::default(),
            opening: AtomicBool::new(true),
            upkeep: AtomicBool::new(false),
            warm_after: Mutex::new(None),
            last_used: Mutex::new(clock::now()),
            context: Arc::clone(context),
            registry,
        })
    }

    /// Its name.
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// Its pool's settings.
    pub fn settings(&self) -> &PoolConfig {
        &self.settings
    }

    /// What tells its DSN from others.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What it shares with all tenants.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate<Job>> {
        // The gate is consistent between its own calls, which do not panic half-way.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a job in: it is served, queued or answered. `Err` gives it back when
    /// this tenant has just closed, so that another can be looked up.
    pub fn admit(self: &Arc<Self>, job: Job, wait: Duration) -> Result<(), Job> {
        let deadline = job.since + wait;
        let caller = Arc::clone(&job.caller);
        let entry = self.gate().admit(job, deadline, clock::now());
        match entry {
            Entry::Granted(job) => self.start(job),
            Entry::Queued { id, .. } => {
                self.context.bell.due(deadline);
                caller.queued(self, id);
            }
            Entry::Refused(job, Refusal::Closed) => return Err(job),
            Entry::Refused(job, refusal) => job.fail(self, Error::refused(&self.id, refusal)),
        }
        Ok(())
    }

    /// A waiter's caller has left.
    pub fn leave(&self, id: WaiterId) {
        let left = self.gate().leave(id);
        if left.is_some() {
            self.context.tools.metrics.acquire_failed("caller_left", &self.id);
        }
        drop(left);
    }

    /// Answers waiters whose time is over. Returns when to look again.
    pub fn expire(&self, now: Instant, limit: usize) -> Option<Instant> {
        let mut gate = self.gate();
        let expired = gate.expire(now, limit);
        let next = gate.next_deadline();
        drop(gate);
        self.answer_expired(expired, now);
        next
    }

    fn answer_expired(&self, expired: Vec<Job>, now: Instant) {
        if expired.is_empty() {
            return;
        }
        let (used, waiting) = {
            let gate = self.gate();
            (gate.used(), gate.waiting())
        };
        for job in expired {
            let error = waited_too_long(&self.id, job.since, now, used, waiting);
            job.fail(self, error);
        }
    }

    /// A permit came back: the next waiter gets it. Called by `Permit`.
    pub(super) fn finish(self: &Arc<Self>) {
        let now = clock::now();
        let mut gate = self.gate();
        let handed = gate.finish(now);
        // Nobody is left who would open the first backend. Closed in the same
        // breath, so that whoever comes now registers the tenant anew.
        let abandoned = gate.is_abandoned();
        let stranded = if abandoned { gate.failed() } else { Vec::new() };
        drop(gate);
        self.hand(handed, now);
        if abandoned {
            self.unregister();
        }
        for job in stranded {
            job.fail(self, Error::Internal("the tenant was given up while opening"));
        }
    }

    fn hand(self: &Arc<Self>, handed: Handed<Job>, now: Instant) {
        for job in handed.granted {
            self.start(job);
        }
        self.answer_expired(handed.expired, now);
    }

    fn start(self: &Arc<Self>, job: Job) {
        let permit = Permit::new(self);
        let tenant = Arc::clone(self);
        let tools = &self.context.tools;
        if let Err(lost) = tools.workers.try_run(move || tenant.serve(job, permit)) {
            // Dropped here, its permit would go to the next waiter, whose job
            // would be dropped here, and so on down the stack.
            tools.alarms.soon(clock::now(), move || drop(lost));
        }
    }

    /// On a worker: a permit holder gets its backend.
    fn serve(self: Arc<Self>, job: Job, permit: Permit) {
        if !job.caller.serve() {
            self.context.tools.metrics.acquire_failed("caller_left", &self.id);
            return;
        }
        *lock(&self.last_used) = clock::now();
        let opening = self.gate().state() == GateState::Opening;
        match self.backend() {
            Ok(taken) => {
                if opening {
                    self.opened();
                }
                let waited = clock::now().saturating_duration_since(job.since);
                let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
                self.numbers.acquired.fetch_add(1, Ordering::Relaxed);
                self.numbers.waited_micros.fetch_add(micros, Ordering::Relaxed);
                self.context.tools.metrics.acquired(&self.id, waited);
                (job.deliver)(Ok(Session { taken, permit }));
            }
            Err(cause) => {
                let error = Error::Connect { tenant: self.id.clone(), cause };
                let stranded = if opening {
                    self.unregister();
                    self.gate().failed()
                } else {
                    Vec::new()
                };
                // The permit is back before anybody hears of the failure.
                drop(permit);
                for waiter in stranded {
                    waiter.fail(&self, error.clone());
                }
                job.fail(&self, error);
            }
        }
    }

    fn opened(self: &Arc<Self>) {
        let now = clock::now();
        let handed = self.gate().opened(now);
        log::info!(
            "event=pool_created tenant={} max_connections={} min_connections={} max_lifetime={:?} idle_timeout={:?}",
            self.id,
            self.settings.max_connections,
            self.settings.min_connections,
            self.settings.max_lifetime,
            self.settings.idle_timeout,
        );
        if let Some(registry) = self.registry.upgrade() {
            registry.opened(self);
        }
        self.hand(handed, now);
        self.context.keeper.due(now);
    }

    pub(super) fn unregister(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.remove(self);
        }
    }

    /// True once: the tenant no longer counts as opening.
    pub(super) fn stop_opening(&self) -> bool {
        self.opening.swap(false, Ordering::AcqRel)
    }

    /// An idle backend that works, or a new one.
    fn backend(&self) -> Result<Taken, ConnectError> {
        while let Some(mut taken) = self.store.take() {
            let idle = clock::now().saturating_duration_since(taken.idle_since);
            if idle <= self.settings.check_after_idle || self.check(&mut taken) {
                return Ok(taken);
            }
            self.close(taken, "failed_check");
        }
        self.open(self.store.reserve())
    }

    fn check(&self, taken: &mut Taken) -> bool {
        self.bounded(&mut *taken.backend, |backend| backend.check())
    }

    /// A round trip of our own, with a time limit after which it is broken off.
    pub fn bounded(
        &self,
        backend: &mut dyn Backend,
        trip: impl FnOnce(&mut dyn Backend) -> bool,
    ) -> bool {
        let alarm = self.guard(backend.watch(), self.settings.check_timeout);
        let works = trip(backend);
        drop(alarm);
        backend.watch().end();
        works
    }

    fn guard(&self, watch: &Arc<Watch>, limit: Duration) -> crate::pool::alarms::Alarm {
        let epoch = watch.begin();
        let watch = Arc::clone(watch);
        self.context.tools.alarms.set(clock::now() + limit, move || {
            watch.abort(epoch);
        })
    }

    pub(super) fn open(&self, count: OpenCount) -> Result<Taken, ConnectError> {
        let metrics = &self.context.tools.metrics;
        let _opening = During::new(&self.numbers.opening);
        let started = clock::now();
        let watch = Arc::<Watch>::default();
        let limit = self.settings.connect_timeout;
        let alarm = self.guard(&watch, limit);
        let outcome = self.connect.connect(&watch, limit);
        drop(alarm);
        watch.end();
        let born = clock::now();
        let took = born.saturating_duration_since(started);
        let backend = outcome.inspect_err(|cause| {
            metrics.open_failed(cause.as_str(), &self.id);
            log::warn!(
                "event=connect_failed tenant={} elapsed={took:?} error={:?}",
                self.id,
                cause.to_string()
            );
        })?;
        metrics.admit(&self.id);
        metrics.opened(&self.id, took);
        log::debug!(
            "event=backend_opened tenant={} pid={} elapsed={took:?}",
            self.id,
            backend.pid()
        );
        let retire_at = born + self.lifetime();
        self.store.bring_in(backend, count, born, retire_at).ok_or(ConnectError::Panicked)
    }

    /// The lifetime of one backend, with its jitter taken off.
    fn lifetime(&self) -> Duration {
        let mut bytes = [0; 2];
        // Without random bytes there is no jitter, which is safe.
        let _ = openssl::rand::rand_bytes(&mut bytes);
        let off = f64::from(u16::from_be_bytes(bytes)) / 65_536.0 * self.settings.lifetime_jitter;
        self.settings.max_lifetime.mul_f64(1.0 - off)
    }

    /// Closes a backend, with a goodbye if it still listens. On a worker.
    pub(super) fn close(&self, mut taken: Taken, reason: &str) {
        self.context.tools.metrics.closed(reason, &self.id);
        let pid = taken.backend.pid();
        log::debug!("event=backend_closed tenant={} pid={pid} reason={reason}", self.id);
        taken.clean = false;
        taken.gentle = !taken.backend.is_closed();
        let alarm = self.guard(taken.backend.watch(), self.settings.check_timeout);
        drop(taken);
        drop(alarm);
    }

    /// Gives a session back: rolled back, reset and checked, or closed. On a
    /// worker, because it is a round trip.
    pub fn settle(session: Session) {
        let tenant = Arc::clone(session.tenant());
        tenant.context.tools.workers.clone().run(move || tenant.reset(session));
    }

    /// The same on this thread, which must be a worker.
    pub fn reset(&self, session: Session) {
        let Session { mut taken, permit } = session;
        let resetting = During::new(&self.numbers.resetting);
        let started = clock::now();
        *lock(&self.last_used) = started;
        if self.gate().state() == GateState::Closed {
            self.close(taken, "pool_closed");
        } else if started >= taken.retire_at {
            self.close(taken, "max_lifetime");
        } else {
            let clean = self.bounded(&mut *taken.backend, |backend| backend.reset());
            let now = clock::now();
            let took = now.saturating_duration_since(started);
            self.context.tools.metrics.reset(took);
            if clean {
                taken.clean = true;
                self.store.put(taken, now);
            } else {
                self.close(taken, "not_clean");
            }
        }
        drop(resetting);
        drop(permit);
    }

    /// Breaks off a session whose backend is lost or in doubt. Does not block.
    pub fn discard(session: Session, reason: &str) {
        let Session { taken, permit } = session;
        taken.backend.watch().abort_now();
        *lock(&permit.tenant().last_used) = clock::now();
        permit.tenant().close(taken, reason);
        drop(permit);
    }

    /// Takes no more jobs; those that wait are answered.
    pub fn drain(&self) {
        let waiting = self.gate().drain();
        for job in waiting {
            job.fail(self, Error::Draining);
        }
    }

    /// Closes the gate and, on workers, every idle backend. Leased ones are
    /// closed when they come back.
    pub fn close_all(self: &Arc<Self>) {
        let waiting = self.gate().close();
        for job in waiting {
            job.fail(self, Error::Draining);
        }
        while let Some(taken) = self.store.take() {
            let (tenant, counted) = (Arc::clone(self), self.context.outstanding.count());
            self.context.tools.workers.run(move || {
                tenant.close(taken, "pool_closed");
                drop(counted);
            });
        }
    }

    /// Its figures.
    pub fn figures(&self) -> Figures {
        let (used, waiting, state) = {
            let gate = self.gate();
            (gate.used(), gate.waiting(), gate.state())
        };
        let number = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        Figures {
            used,
            idle: self.store.idle(),
            open: self.store.open(),
            opening: number(&self.numbers.opening),
            resetting: number(&self.numbers.resetting),
            waiting,
            max: self.settings.max_connections,
            acquired: self.numbers.acquired.load(Ordering::Relaxed),
            waited: Duration::from_micros(self.numbers.waited_micros.load(Ordering::Relaxed)),
            state,
        }
    }
}

/// A leaf lock whose value is replaced whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

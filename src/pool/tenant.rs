//! One tenant: its gate, its pool, and the way from a permit to a backend and
//! back.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::backend::connect::Connect;
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::PoolConfig;
use crate::core::budget::{Budget, Held};
use crate::core::callers::CallerId;
use crate::core::gate::{Asks, Entry, Gate, Refusal};
use crate::core::ids::TenantId;
use crate::core::losses::Losses;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;
use crate::core::wait_queue::{Handed, WaiterId};
use crate::core::warmth::Warmth;
use crate::error::{Error, Standing};
use crate::lock::Leaf;
use crate::metrics::{Counts, Series};
use crate::pool::context::Context;
use crate::pool::figures::Numbers;
use crate::pool::health::Record;
use crate::pool::identity::{Fingerprint, Identity};
use crate::pool::job::Job;
use crate::pool::listen::Hub;
use crate::pool::memory::{self, Room, Use, SMALL};
use crate::pool::opener::Opener;
use crate::pool::peers::Peer;
use crate::pool::registry::{Acquainted, Registry};
use crate::pool::requests::stage::Stage;
use crate::pool::servers::Owner;
use crate::pool::store::Store;
use crate::pool::turn::Line;
use crate::pool::waiting_room::Full;
use crate::threads::agenda::Source;

/// A customer: one DSN, one pool, its limits.
pub struct Tenant {
    pub(super) id: TenantId,
    pub(super) settings: PoolConfig,
    identity: Identity,
    /// Its DSN without the password, to say in what another one differs.
    pub(super) dsn: Dsn,
    /// Whose client connection brought its DSN.
    brought_by: CallerId,
    /// When.
    pub(super) since: Instant,
    pub(super) connect: Box<dyn Connect>,
    /// Its name where servers are shared.
    pub(super) owner: Owner,
    pub(super) store: Store,
    /// Permits, waiters, state. Never held over I/O, r2d2, logging, destructors.
    gate: Mutex<Gate<Job>>,
    /// Jobs with a permit that wait for their backend.
    pub(super) line: Leaf<Line>,
    pub(super) opener: Arc<Opener>,
    /// The memory that is held for it.
    memory: Budget,
    /// Who listens for notifications.
    pub(super) hub: Hub,
    pub(super) losses: Leaf<Losses>,
    pub(super) record: Leaf<Record>,
    pub(super) numbers: Numbers,
    pub(super) counts: Counts,
    /// Counted by the registry as opening.
    opening: AtomicBool,
    /// The keeper's work for this tenant is under way.
    pub(super) upkeep: AtomicBool,
    /// Why it was taken out of service, if that is not the service's own end.
    ended: OnceLock<Error>,
    pub(super) acquainted: Acquainted,
    /// PostgreSQL has asked for its password: one that is wrong is not let in.
    pub(super) asked: AtomicBool,
    /// Callers in a hurry who could not open it, one after the other.
    pub(super) hurried: AtomicU32,
    /// How many more the keeper may open.
    pub(super) warmth: Leaf<Warmth>,
    /// When a request took or gave back a session last.
    pub(super) last_used: Leaf<Instant>,
    pub(super) context: Arc<Context>,
    registry: Weak<Registry>,
}

/// What a tenant is registered with.
pub(super) struct Registration {
    pub(super) id: TenantId,
    pub(super) settings: PoolConfig,
    pub(super) identity: Identity,
    /// Without its password.
    pub(super) dsn: Dsn,
    /// Whose client connection brings it.
    pub(super) brought_by: CallerId,
}

/// A request in the queue, as its caller knows it.
struct Waiter {
    tenant: Weak<Tenant>,
    id: WaiterId,
}

impl Stage for Waiter {
    fn leave(self: Arc<Self>) {
        if let Some(tenant) = self.tenant.upgrade() {
            tenant.leave(self.id);
        }
    }

    fn postpone(&self, until: Instant) {
        if let Some(tenant) = self.tenant.upgrade() {
            tenant.postpone(self.id, until);
        }
    }
}

impl Tenant {
    /// A tenant in state Opening.
    pub(super) fn new(
        registration: Registration,
        connect: Box<dyn Connect>,
        opener: Arc<Opener>,
        context: &Arc<Context>,
        registry: Weak<Registry>,
    ) -> Arc<Tenant> {
        let Registration { id, settings, identity, dsn, brought_by } = registration;
        let limits = &context.config.limits;
        let now = clock::now();
        let warmth = Leaf::new(Warmth::of(settings.min_connections, now));
        let (waiters, share) = (limits.waiters_per_tenant, limits.leases_per_caller);
        let memory = context.memory.tenant();
        let counts = Counts::new(&context.tools.metrics, &id);
        let tenant = Arc::new(Tenant {
            owner: context.servers.owner(),
            store: Store::new(settings.max_connections, &context.r2d2, &context.servers),
            gate: Mutex::new(Gate::opening(settings.max_connections, waiters, share)),
            id,
            settings,
            identity,
            dsn,
            brought_by,
            since: now,
            connect,
            line: Leaf::default(),
            opener,
            hub: Hub::new(context.memory.letters(&memory)),
            memory,
            losses: Leaf::default(),
            record: Leaf::new(Record::new(now)),
            numbers: Numbers::default(),
            counts,
            opening: AtomicBool::new(true),
            upkeep: AtomicBool::new(false),
            ended: OnceLock::new(),
            acquainted: Acquainted::default(),
            asked: AtomicBool::new(false),
            hurried: AtomicU32::new(0),
            warmth,
            last_used: Leaf::new(now),
            context: Arc::clone(context),
            registry,
        });
        context.servers.register(&tenant);
        tenant
    }

    /// Its name.
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// Its pool's settings.
    pub fn settings(&self) -> &PoolConfig {
        &self.settings
    }

    /// The memory that is held for it.
    pub fn memory(&self) -> &Budget {
        &self.memory
    }

    /// Room for what it and this connection have the service hold.
    pub fn room(&self, of: Use, peer: &Peer) -> Room {
        self.context.memory.room(of, &[peer.memory(), &self.memory], &self.id)
    }

    /// What tells its DSN from others.
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.dsn
    }

    /// What its DSN is compared by.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whose client connection brought its DSN.
    pub(super) fn brought_by(&self) -> &CallerId {
        &self.brought_by
    }

    /// True if PostgreSQL has asked for its password.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Where it is counted.
    pub fn series(&self) -> Arc<Series> {
        self.counts.series()
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
    pub fn admit(self: &Arc<Self>, mut job: Job, wait: Duration) -> Result<(), Job> {
        let deadline = job.since + wait;
        let caller = Arc::clone(&job.caller);
        // A tenant that has just closed sends it on with a place.
        job.parked = None;
        job.held = Held::default();
        let held = self.room(Use::Requests, caller.peer()).try_take(job.bytes);
        let spent = held.as_ref().err().copied();
        job.held = held.unwrap_or_default();
        if let Some(spent) = spent.filter(|_| job.bytes > SMALL) {
            job.fail(self, memory::refused(spent, &self.id));
            return Ok(());
        }
        // Taken before it is known to be needed, so that the gate is asked once.
        let place = match spent {
            Some(spent) => Err(Full::Memory(spent)),
            None => self.context.waiting_room.enter(caller.peer()),
        };
        let full = place.as_ref().err().copied();
        job.parked = place.ok();
        job.until = deadline;
        let asks = Asks { caller: job.counted_for(), may_wait: full.is_none() };
        let entry = self.gate().admit(job, asks, deadline, clock::now());
        match entry {
            Entry::Granted(job) => self.start(job),
            Entry::Queued { id, .. } => {
                self.note_deadline(deadline);
                caller.queued(Arc::new(Waiter { tenant: Arc::downgrade(self), id }));
            }
            Entry::Refused(job, Refusal::Closed) => return Err(job),
            Entry::Refused(job, Refusal::MayNotWait) => {
                let error = match full {
                    Some(full) => full.error(&self.id),
                    None => Error::Internal("a request was refused for no reason"),
                };
                job.fail(self, error);
            }
            Entry::Refused(job, refusal) => job.fail(self, Error::refused(&self.id, refusal)),
        }
        Ok(())
    }

    /// A waiter gets another deadline.
    fn postpone(self: &Arc<Self>, id: WaiterId, deadline: Instant) {
        if self.gate().postpone(id, deadline) {
            self.note_deadline(deadline);
        }
    }

    /// The reaper is to look at its waiters then.
    fn note_deadline(self: &Arc<Self>, deadline: Instant) {
        self.context.agenda.note(Arc::downgrade(self) as Weak<dyn Source>, deadline);
    }

    /// A waiter's caller has left.
    fn leave(&self, id: WaiterId) {
        let left = self.gate().leave(id);
        left.into_iter().for_each(|job| self.count_left(&job));
    }

    /// Answers waiters whose time is over. Returns when to look again.
    pub(super) fn expire(&self, now: Instant, limit: usize) -> Option<Instant> {
        let mut gate = self.gate();
        let expired = gate.expire(now, limit);
        let next = gate.next_deadline();
        drop(gate);
        self.answer_expired(expired, now);
        next
    }

    fn answer_expired(&self, expired: Vec<(Job, usize)>, now: Instant) {
        if expired.is_empty() {
            return;
        }
        let (used, limit, waiting) = {
            let gate = self.gate();
            (gate.used(), gate.permits(), gate.waiting())
        };
        for (job, position) in expired {
            let standing = Standing { used, limit, waiting, position };
            let (tenant, waited) = (self.id.clone(), now.saturating_duration_since(job.since));
            job.fail(self, Error::WaitTimeout { tenant, waited, standing });
        }
    }

    /// A permit came back: the next waiter gets it. Called by `Permit`.
    pub(super) fn finish(self: &Arc<Self>, caller: Option<&CallerId>, upkeep: bool) {
        let now = clock::now();
        let mut gate = self.gate();
        let handed = gate.finish(caller, now);
        if upkeep {
            self.numbers.upkeep.fetch_sub(1, Ordering::Relaxed);
        }
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
        // They were passed over when they stood in front.
        let expired = handed.expired.into_iter().map(|job| (job, 1));
        self.answer_expired(expired.collect(), now);
        for job in handed.refused {
            let held = |caller| self.gate().held_by(&caller);
            let used = job.counted_for().map_or(0, held);
            let limit = self.context.config.limits.leases_per_caller;
            let refusal = Refusal::CallerLimit { used, limit };
            job.fail(self, Error::refused(&self.id, refusal));
        }
    }

    /// It has its first backend. False: another has its name, or there is no room for it.
    pub(super) fn opened(self: &Arc<Self>) -> bool {
        if !self.registry.upgrade().is_none_or(|registry| registry.opened(self)) {
            return false;
        }
        self.close_breaker();
        let now = clock::now();
        let handed = self.gate().opened(now);
        log::info!(
            "event=pool_created tenant={} server={} database={} user={} max_connections={} min_connections={} max_lifetime_s={} idle_timeout_s={} peer={}",
            self.id,
            Quoted(&self.connect.servers()),
            Quoted(&self.dsn.dbname),
            Quoted(&self.dsn.user),
            self.settings.max_connections,
            self.settings.min_connections,
            Secs(self.settings.max_lifetime),
            Secs(self.settings.idle_timeout),
            self.brought_by.as_str(),
        );
        self.hand(handed, now);
        self.begin_checks(now);
        self.context.keeper.due(now);
        true
    }

    /// PostgreSQL has let its role in, but that has no connection left.
    pub(super) fn is_crowded_out(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.make_way(self);
        }
    }

    pub(super) fn unregister(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.remove(self);
        }
    }

    /// True until it has its first backend, or goes without one.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.load(Ordering::Acquire)
    }

    /// True once: the tenant no longer counts as opening.
    pub(super) fn stop_opening(&self) -> bool {
        self.opening.swap(false, Ordering::AcqRel)
    }

    /// Answers all who wait for a permit, because none of them would get a backend.
    pub(super) fn turn_away(&self, error: impl Fn() -> Error) {
        let waiting = self.gate().turn_away();
        for job in waiting {
            job.fail(self, error());
        }
    }

    /// Takes no more jobs; those that wait are answered.
    pub fn drain(&self) {
        // First: the listeners' permit would go to one of those who wait.
        let waiting = self.gate().drain();
        self.end_listening(&Error::Draining);
        for job in waiting {
            job.fail(self, Error::Draining);
        }
        // Those who wait for room at their server are told so too.
        self.wake_all();
    }

    /// True for a tenant that has yet to be opened, and whose database was away when it
    /// was looked for: its DSN may be wrong.
    pub(super) fn is_in_vain(&self) -> bool {
        self.is_opening() && self.opener.is_troubled()
    }

    /// Takes the tenant out of service; whoever wants it is told why. Leases go on.
    pub(super) fn end(self: &Arc<Self>, why: Error) {
        // The first reason stands.
        let _ = self.ended.set(why);
        self.close_all();
        self.wake_all();
    }

    /// True once it was taken out of service while the service goes on.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// What to tell those who find it closed.
    pub(super) fn closed(&self) -> Error {
        self.ended.get().cloned().unwrap_or(Error::Draining)
    }

    /// Closes the gate and, on workers, every idle backend. Leased ones are
    /// closed when they come back.
    pub fn close_all(self: &Arc<Self>) {
        // First: the listeners' permit would go to one of those who wait.
        let waiting = self.gate().close();
        self.end_listening(&self.closed());
        for job in waiting {
            job.fail(self, self.closed());
        }
        while let Some(taken) = self.store.take() {
            let (tenant, counted) = (Arc::clone(self), self.context.outstanding.count());
            self.context.tools.workers.run(move || {
                tenant.close(taken, "pool_closed");
                drop(counted);
            });
        }
    }
}

impl Source for Tenant {
    fn act(&self, now: Instant, limit: usize) -> Option<Instant> {
        self.expire(now, limit)
    }
}

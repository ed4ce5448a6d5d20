//! The backends of one DSN: their pool, their settings, their breaker, and what is known of
//! their health. They lie behind the gate of a tenant, which can replace them: what was
//! taken of those before comes back to them, and is closed.
//!
//! Nothing here knows a permit or a request. What the tenant has to act on is returned.

mod check;
mod logins;
mod open;
pub mod origin;
mod record;
mod rest;

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::backend::session::Backend;
use crate::backend::stream::watch::Watch;
use crate::clock;
use crate::config::{Reset, TenantPoolConfig};
use crate::core::breaker::BreakerPhase;
use crate::core::ids::TenantId;
use crate::core::losses::Losses;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;
use crate::core::warmth::Warmth;
use crate::error::RequestError;
use crate::lock::Leaf;
use crate::logging;
use crate::pool::account::Account;
use crate::pool::breaker::{BreakerChange, OpenAttempt, TenantBreaker};
use crate::pool::context::Context;
use crate::pool::store::{Store, Taken};
use crate::threads::alarms::Alarm;

pub(super) use open::Taking;
use origin::BackendOrigin;
pub(super) use record::{Record, SOON};

/// Why backends are closed that are more than may be open by now.
const RESIZED: &str = "resized";

/// What the backends of a tenant are opened with, until they are replaced.
pub struct Backends {
    pub(super) account: Arc<Account>,
    pub(super) settings: TenantPoolConfig,
    pub(super) origin: Arc<BackendOrigin>,
    pub(super) store: Store,
    pub(super) breaker: Arc<TenantBreaker>,
    losses: Leaf<Losses>,
    pub(super) record: Leaf<Record>,
    /// How many more the keeper may open.
    pub(super) warmth: Leaf<Warmth>,
    /// Callers in a hurry who could not open it, one after the other.
    pub(super) hurried: AtomicU32,
    /// Why none is opened any more, and what comes back is closed: others have taken their
    /// place, or the tenant has closed.
    retired: OnceLock<&'static str>,
}

impl Backends {
    /// None is open yet.
    pub(super) fn new(
        account: &Arc<Account>,
        settings: TenantPoolConfig,
        origin: Arc<BackendOrigin>,
        breaker: Arc<TenantBreaker>,
    ) -> Arc<Backends> {
        let (context, now) = (account.context(), clock::now());
        // So that the tenant may have more permits while this pool is in use.
        let most = settings.max_connections.max(context.live().most_connections());
        Arc::new(Backends {
            store: Store::new(most, &context.r2d2, &context.servers, &account.open),
            warmth: Leaf::new(Warmth::of(settings.min_connections, now)),
            account: Arc::clone(account),
            settings,
            origin,
            breaker,
            losses: Leaf::default(),
            record: Leaf::new(Record::new(now)),
            hurried: AtomicU32::new(0),
            retired: OnceLock::new(),
        })
    }

    /// Whose they are.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn id(&self) -> &TenantId {
        self.account.id()
    }

    fn context(&self) -> &Arc<Context> {
        self.account.context()
    }

    /// True if backends that are given back are made as new.
    pub(super) fn resets(&self) -> bool {
        self.settings.reset != Reset::Close
    }

    /// None is opened any more, and what comes back is closed.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.get().is_some()
    }

    /// Ends their use, and closes on workers what is at rest, for this reason. What is in
    /// use is closed when it comes back. Does not block.
    pub(super) fn retire(self: &Arc<Self>, reason: &'static str) {
        // The first reason stands.
        let _ = self.retired.set(reason);
        self.store.replace();
        self.close_retired();
    }

    /// Closes on workers what is at rest, once their use has ended. Does not block.
    fn close_retired(self: &Arc<Self>) {
        let Some(reason) = self.retired.get() else { return };
        while let Some(taken) = self.store.take() {
            self.close_later(taken, reason);
        }
    }

    /// Closes on workers what rests beyond the number that may be open. Does not block.
    pub(super) fn close_surplus(self: &Arc<Self>) {
        for _ in 0..self.account.open.surplus() {
            let Some(taken) = self.store.take() else { return };
            self.close_later(taken, RESIZED);
        }
    }

    fn close_later(self: &Arc<Self>, taken: Taken, reason: &'static str) {
        let (backends, counted) = (Arc::clone(self), self.context().outstanding.count());
        self.context().tools.workers.run(move || {
            backends.close(taken, reason);
            drop(counted);
        });
    }

    /// Backends of the same DSN with other settings. None is open yet.
    pub(super) fn with(&self, settings: TenantPoolConfig) -> Arc<Backends> {
        let origin = Arc::clone(&self.origin);
        origin.connect.follow(&settings);
        let rule = |of: &TenantPoolConfig| (of.breaker_failures, of.breaker_successes);
        let breaker = match rule(&settings) == rule(&self.settings) {
            true => Arc::clone(&self.breaker),
            false => TenantBreaker::new(&settings, &self.context().keeper),
        };
        Backends::new(&self.account, settings, origin, breaker)
    }

    /// A round trip of our own, with a time limit after which it is broken off.
    pub fn bounded(
        &self,
        backend: &mut dyn Backend,
        trip: impl FnOnce(&mut dyn Backend) -> bool,
    ) -> bool {
        self.bounded_by(backend, self.settings.check_timeout, trip)
    }

    /// The same with another limit.
    fn bounded_by(
        &self,
        backend: &mut dyn Backend,
        limit: Duration,
        trip: impl FnOnce(&mut dyn Backend) -> bool,
    ) -> bool {
        let alarm = self.guard(backend.watch(), limit);
        let works = trip(backend);
        drop(alarm);
        backend.watch().end();
        works
    }

    /// Limits a round trip of our own: afterwards it is broken off.
    pub(super) fn limit_check(&self, watch: &Arc<Watch>) -> Alarm {
        self.guard(watch, self.settings.check_timeout)
    }

    fn guard(&self, watch: &Arc<Watch>, limit: Duration) -> Alarm {
        let epoch = watch.begin();
        let watch = Arc::clone(watch);
        self.context().tools.alarms.set(clock::now() + limit, move || {
            watch.abort(epoch);
        })
    }

    /// What the breaker does.
    pub fn breaker_phase(&self) -> BreakerPhase {
        self.breaker.phase()
    }

    /// The right to open a backend. `opening`: the tenant has none yet, so the keeper does not
    /// probe for it; a request that comes when a probe is due is the probe.
    ///
    /// # Errors
    /// While the breaker is not closed.
    pub(super) fn attempt(&self, opening: bool) -> Result<OpenAttempt, RequestError> {
        let attempt = self.breaker.attempt();
        let probe = || opening.then(|| self.breaker.probe_attempt(clock::now())).flatten();
        attempt.or_else(probe).ok_or_else(|| self.breaker.error(self.id()))
    }

    /// Says that a tenant begins with them, of which it may have so many.
    pub(super) fn tell_created(&self, most: usize) {
        let (settings, dsn) = (&self.settings, &self.origin.dsn);
        log::info!(
            "event=pool_created tenant={} server={} database={} user={} sslmode={} max_connections={} min_connections={} max_lifetime_s={} idle_timeout_s={} {}",
            self.id(),
            Quoted(&self.origin.connect.servers()),
            Quoted(&dsn.dbname),
            Quoted(&dsn.user),
            dsn.tls.mode.as_str(),
            most,
            settings.min_connections,
            Secs(settings.max_lifetime),
            Secs(settings.idle_timeout),
            self.origin.brought_by,
        );
    }

    /// Says what the breaker does from now on.
    pub(super) fn tell_breaker(&self, change: BreakerChange) {
        let id = self.id();
        match change {
            BreakerChange::None => {}
            BreakerChange::Opened if logging::admits("breaker_opened", Some(id)) => {
                let (server, error) = (self.origin.connect.servers(), self.breaker.last_words());
                let (server, error) = (Quoted(&server), Quoted(&error));
                log::warn!("event=breaker_opened tenant={id} server={server} error={error}");
            }
            BreakerChange::Closed(away) if logging::admits("breaker_closed", Some(id)) => {
                let away = Secs(away);
                log::info!("event=breaker_closed tenant={id} open_for_s={away}");
            }
            BreakerChange::Opened | BreakerChange::Closed(_) => {}
        }
    }
}

//! All tenants, by name.
//!
//! A tenant's DSN stays what it was when it was registered, but for its password and its
//! servers: a request that brings others opens a tenant of its own, which takes the name
//! over once PostgreSQL has let it in (`another`). What was leased of the one before is
//! closed when it comes back.

mod another;
pub mod change;
mod changed;
mod configured;
mod dismissal;
mod entry;
mod given;
mod guesses;
mod in_force;
mod known;
pub mod putting;
pub mod restoring;
mod room;
mod target;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::backend::logins::Logins;
use crate::backend::tls::BackendTls;
use crate::clock;
use crate::core::callers::CallerId;
use crate::core::expiring_map::ExpiringMap;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::lock::Leaf;
use crate::pool::breaker::TenantBreaker;
use crate::pool::context::Context;
use crate::pool::identity::{Digests, Fingerprint};
use crate::pool::job::Job;
use crate::pool::listen::{Listening, Mailbox};
use crate::pool::tenant::{Registrar, Tenant, Upkeep};
pub use configured::Catalog;
use configured::InForce;
pub use given::{GivenDsns, HostDsns};
use guesses::Guesses;
use known::{fingerprint_of, Known, NameClaim};
pub use target::Target;

/// A lookup meets a tenant that has just closed at most so often before the
/// request is answered as refused.
const LOOKUPS: usize = 3;
/// Tenants that could not be opened are remembered so long after the last try, which
/// is longer than the longest pause between two probes, and at most so many.
const MEMORY: Duration = Duration::from_secs(60);
const REMEMBERED: usize = 1000;

/// The map of tenants.
pub struct Registry {
    /// Guards the maps only: look up, insert, remove. Nothing of a tenant is
    /// called under it that locks.
    known: RwLock<Known>,
    /// Tenants whose first connection is being made.
    opening: AtomicUsize,
    /// Breakers of tenants that could not be opened, so that not each new request to
    /// a database that is away makes all tries anew. Another DSN has another entry, or
    /// none.
    away: Leaf<ExpiringMap<(TenantId, Fingerprint), Arc<TenantBreaker>>>,
    draining: AtomicBool,
    /// The DSNs that requests bring.
    pub dsns: GivenDsns,
    /// By which DSNs are compared.
    digests: Digests,
    /// TLS for DSNs that ask for nothing special.
    tls: BackendTls,
    /// What PostgreSQL has refused.
    logins: Logins,
    guesses: Guesses,
    catalog: InForce,
    context: Arc<Context>,
}

impl Registry {
    /// No tenants yet.
    ///
    /// # Errors
    /// If OpenSSL has no random bytes or cannot be set up.
    pub fn new(context: &Arc<Context>) -> Result<Arc<Registry>, openssl::error::ErrorStack> {
        Ok(Arc::new(Registry {
            known: RwLock::default(),
            opening: AtomicUsize::new(0),
            away: Leaf::new(ExpiringMap::new(REMEMBERED, MEMORY)),
            draining: AtomicBool::new(false),
            dsns: GivenDsns::default(),
            digests: Digests::new()?,
            tls: BackendTls::unverified()?,
            logins: Logins::default(),
            guesses: Guesses::default(),
            catalog: Leaf::new(Arc::new(Catalog::none(&context.config))),
            context: Arc::clone(context),
        }))
    }

    /// What the tenants share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The tenant of this name.
    pub fn find(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.read().find(id).cloned()
    }

    /// The tenants that have their names.
    pub fn named(&self) -> Vec<Arc<Tenant>> {
        self.read().named().cloned().collect()
    }

    /// Those as well whose password is being tried.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        self.read().all().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a job in at its tenant, which is registered if it is new. The job is
    /// answered in every case.
    pub fn admit(self: &Arc<Self>, target: &Target, job: Job, wait: Duration) {
        let mut job = job;
        let caller = Arc::clone(&job.caller);
        for _ in 0..LOOKUPS {
            let tenant = match self.tenant(target, caller.id()) {
                Ok(tenant) => tenant,
                Err(error) => {
                    let series = self.context.tools.metrics.of(&target.tenant);
                    series.acquire_failed(error.as_str(), job.waited());
                    return (job.deliver)(Err(error));
                }
            };
            match tenant.admit(job, wait) {
                Ok(()) => return,
                Err(back) => {
                    // The thread that closed it may not have removed it yet.
                    self.remove(&tenant);
                    job = back;
                }
            }
        }
        (job.deliver)(Err(RequestError::Draining));
    }

    /// Takes a listener up at its tenant, which is registered if it is new.
    ///
    /// # Errors
    /// If the tenant is not to be had, or takes no more.
    pub(super) fn listen(
        self: &Arc<Self>,
        target: &Target,
        channels: BTreeSet<String>,
        mailbox: Arc<dyn Mailbox>,
        wait: Duration,
        by: &CallerId,
    ) -> Result<Listening, RequestError> {
        for _ in 1..LOOKUPS {
            let tenant = self.tenant(target, by)?;
            match tenant.hub.listen(channels.clone(), Arc::clone(&mailbox), wait) {
                // The thread that closed it may not have removed it yet.
                Err(RequestError::Draining) => self.remove(&tenant),
                other => return other,
            }
        }
        Err(RequestError::Draining)
    }

    /// The tenant, which is registered if it is new. `by` is whose request it is.
    fn tenant(
        self: &Arc<Self>,
        target: &Target,
        by: &CallerId,
    ) -> Result<Arc<Tenant>, RequestError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(RequestError::Draining);
        }
        let found = match self.find(&target.tenant) {
            Some(tenant) if tenant.configured => {
                return self.may_use(&tenant, target, by).map(|()| tenant);
            }
            found => found,
        };
        let Some(dsn) = target.dsn.as_ref().filter(|_| self.catalog().takes_dsns) else {
            return Err(self.unknown(target));
        };
        // Digests of equal length under a secret key: their comparison tells an
        // attacker nothing about the DSN.
        let fingerprint = self.fingerprint(dsn);
        if let Some(tenant) = &found {
            self.may_compare(tenant, dsn, by)?;
        }
        let known = match found {
            Some(tenant) if fingerprint_of(&tenant) == fingerprint => tenant,
            found => {
                let identity = self.digests.identity(dsn, fingerprint);
                self.another(found, &target.tenant, dsn, identity, by)?
            }
        };
        self.acquaint(&known, by);
        // Nobody has to stand behind a probe.
        let refusal =
            known.is_opening().then(|| known.backends().breaker.refusal(known.id())).flatten();
        refusal.map_or(Ok(known), Err)
    }

    /// Reserves its connections. Where there is no room, others may give way.
    fn settle(&self, tenant: &Arc<Tenant>) -> NameClaim {
        let limit = self.context.live().limits.max_backends;
        self.clear_the_way(tenant);
        for _ in 0..LOOKUPS {
            let claim = self.write().settle(tenant, limit);
            match claim {
                NameClaim::Full { used, limit }
                    if self.make_room(tenant, tenant.setup().permits, used - limit) => {}
                claim => return claim,
            }
        }
        self.write().settle(tenant, limit)
    }

    /// Before a tenant goes that could not be opened.
    fn remember(&self, tenant: &Tenant) {
        let backends = tenant.backends();
        if tenant.is_opening() && backends.breaker.has_failed_lately() {
            let key = (tenant.id().clone(), backends.origin.identity.dsn);
            self.away.lock().put(key, Arc::clone(&backends.breaker), clock::now());
        }
    }

    /// A tenant goes: its first backend could not be opened, or nobody uses it.
    pub(super) fn remove(&self, tenant: &Tenant) {
        self.remember(tenant);
        let removed = self.write().remove(tenant);
        let Some((_, had_name)) = removed else { return };
        if tenant.stop_opening() {
            self.opening.fetch_sub(1, Ordering::AcqRel);
        }
        if had_name {
            self.context.tools.metrics.forget(tenant.id());
        }
    }

    /// Grants nothing more; waiters are answered. Leases go on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.context.serving.set(false);
        for tenant in self.all() {
            tenant.drain();
        }
    }

    /// How many connections count against the service's limit.
    pub fn reserved(&self) -> usize {
        self.write().budgeted()
    }

    /// True once the service stops.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Closes every pool.
    pub fn close(&self) {
        for tenant in self.all() {
            tenant.close_all();
        }
    }
}

impl Registrar for Registry {
    fn opened(&self, tenant: &Arc<Tenant>) -> bool {
        self.has_opened(tenant)
    }

    fn crowded(&self, tenant: &Tenant) {
        // If it claims a name, the tenant that has the name may hold the room.
        let before = self.read().claimed_by(tenant).cloned();
        before.into_iter().for_each(|before| Upkeep::now(&before).make_way());
    }

    fn gone(&self, tenant: &Tenant) {
        self.remove(tenant);
    }
}

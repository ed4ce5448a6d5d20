//! All tenants, by name.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::backend::connect::PgConnect;
use crate::backend::tls::Tls;
use crate::clock;
use crate::config::dsn::Dsn;
use crate::core::ids::TenantId;
use crate::core::recent::Recent;
use crate::error::Error;
use crate::pool::context::Context;
use crate::pool::job::Job;
use crate::pool::listen::{Listening, Mailbox};
use crate::pool::opener::Opener;
use crate::pool::tenant::{lock, Fingerprint, Tenant};

/// A lookup meets a tenant that has just closed at most so often before the
/// request is answered as refused.
const LOOKUPS: usize = 3;
/// Tenants that could not be opened are remembered so long after the last try, which
/// is longer than the longest pause between two probes, and at most so many.
const MEMORY: Duration = Duration::from_secs(60);
const REMEMBERED: usize = 1000;

/// The map of tenants.
pub struct Registry {
    /// Guards the map only: look up, insert, remove. Nothing of a tenant is
    /// called under it.
    tenants: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    /// Tenants whose first connection is being made.
    opening: AtomicUsize,
    /// Breakers of tenants that could not be opened, so that not each new request to
    /// a database that is away makes all tries anew. Another DSN has another entry, or
    /// none. A leaf lock.
    away: Mutex<Recent<(TenantId, Fingerprint), Arc<Opener>>>,
    draining: AtomicBool,
    /// Keys the digests by which DSNs are compared.
    key: [u8; 32],
    /// TLS for DSNs that ask for nothing special.
    tls: Tls,
    context: Arc<Context>,
}

/// How a request names its tenant.
pub struct Target {
    /// The tenant.
    pub tenant: TenantId,
    /// Its DSN, if the request brought one.
    pub dsn: Option<Dsn>,
}

impl Registry {
    /// No tenants yet.
    ///
    /// # Errors
    /// If OpenSSL has no random bytes or cannot be set up.
    pub fn new(context: &Arc<Context>) -> Result<Arc<Registry>, openssl::error::ErrorStack> {
        let mut key = [0; 32];
        openssl::rand::rand_bytes(&mut key)?;
        Ok(Arc::new(Registry {
            tenants: RwLock::default(),
            opening: AtomicUsize::new(0),
            away: Mutex::new(Recent::new(REMEMBERED, MEMORY)),
            draining: AtomicBool::new(false),
            key,
            tls: Tls::unverified()?,
            context: Arc::clone(context),
        }))
    }

    /// What the tenants share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The tenant of this name.
    pub fn find(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(id).cloned()
    }

    /// All tenants.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.values().cloned().collect()
    }

    /// Lets a job in at its tenant, which is registered if it is new. The job is
    /// answered in every case.
    pub fn admit(self: &Arc<Self>, target: &Target, job: Job, wait: Duration) {
        let mut job = job;
        for _ in 0..LOOKUPS {
            let tenant = match self.tenant(target) {
                Ok(tenant) => tenant,
                Err(error) => {
                    let metrics = &self.context.tools.metrics;
                    metrics.acquire_failed(error.as_str(), &target.tenant);
                    return (job.deliver)(Err(error));
                }
            };
            match tenant.admit(job, wait) {
                Ok(()) => return,
                Err(back) => {
                    // Whoever closed it may not have got to this yet.
                    self.remove(&tenant);
                    job = back;
                }
            }
        }
        (job.deliver)(Err(Error::Draining));
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
    ) -> Result<Listening, Error> {
        for _ in 1..LOOKUPS {
            let tenant = self.tenant(target)?;
            match tenant.listen(channels.clone(), Arc::clone(&mailbox), wait) {
                // Whoever closed it may not have got to this yet.
                Err(Error::Draining) => self.remove(&tenant),
                other => return other,
            }
        }
        Err(Error::Draining)
    }

    fn tenant(self: &Arc<Self>, target: &Target) -> Result<Arc<Tenant>, Error> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Error::Draining);
        }
        let Some(dsn) = &target.dsn else {
            return Err(Error::invalid("dsn", "dsn is required"));
        };
        let fingerprint = self.fingerprint(dsn)?;
        let known = match self.find(&target.tenant) {
            // Its DSN has led nowhere so far: another may be the right one.
            Some(tenant) if tenant.fingerprint() != fingerprint && tenant.is_in_vain() => {
                self.remove(&tenant);
                tenant.displace();
                self.register(&target.tenant, dsn, fingerprint)?
            }
            Some(tenant) => tenant,
            None => self.register(&target.tenant, dsn, fingerprint)?,
        };
        // Digests of equal length under a secret key: their comparison tells an
        // attacker nothing about the DSN.
        if known.fingerprint() != fingerprint {
            return Err(Error::DsnMismatch(target.tenant.clone()));
        }
        // Nobody has to stand behind a probe.
        let refusal = known.is_opening().then(|| known.opener.refusal(known.id())).flatten();
        refusal.map_or(Ok(known), Err)
    }

    /// What tells this DSN from others, without keeping it.
    pub(super) fn fingerprint(&self, dsn: &Dsn) -> Result<Fingerprint, Error> {
        let digest = || {
            let key = PKey::hmac(&self.key)?;
            let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
            let mut digest = [0; 32];
            signer.update(dsn.canonical().as_bytes())?;
            signer.sign(&mut digest)?;
            Ok::<_, openssl::error::ErrorStack>(Fingerprint(digest))
        };
        digest().map_err(|_| Error::Internal("the DSN digest failed"))
    }

    /// Inserts a tenant in state Opening, unless somebody else just has.
    fn register(
        self: &Arc<Self>,
        id: &TenantId,
        dsn: &Dsn,
        fingerprint: Fingerprint,
    ) -> Result<Arc<Tenant>, Error> {
        let settings = self.context.config.pool.with(&dsn.pool);
        settings.check().map_err(|rule| Error::invalid("dsn", format!("dsn: {rule}")))?;
        let most = self.context.config.most_connections();
        if settings.max_connections > most {
            return Err(Error::invalid(
                "dsn",
                format!("dsn: pool_max_conns must be at most {most}"),
            ));
        }
        let key = (id.clone(), fingerprint);
        let opener = lock(&self.away).find(&key, clock::now()).cloned().unwrap_or_default();
        if let Some(refusal) = opener.refusal(id) {
            return Err(refusal);
        }
        let cert_dir = self.context.config.dsn_cert_dir.clone();
        let confined = dsn.tls.confine(cert_dir.as_deref());
        confined.map_err(|error| Error::invalid("dsn", format!("dsn: {error}")))?;
        let name = application_name(id);
        let connect =
            PgConnect::new(dsn.clone(), name, self.tls.clone(), cert_dir, settings.statement_cache);
        let wanted = settings.max_connections;
        let fresh = Tenant::new(
            id.clone(),
            settings,
            fingerprint,
            Box::new(connect),
            opener,
            &self.context,
            Arc::downgrade(self),
        );
        let limits = &self.context.config.limits;
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tenants.get(id) {
            return Ok(Arc::clone(known));
        }
        let used = tenants.values().map(|t| t.settings().max_connections);
        let used = used.sum::<usize>() + wanted;
        let opening = self.opening.load(Ordering::Acquire) + 1;
        let over = |what, used, limit| Err(Error::ServiceLimit { what, used, limit });
        if used > limits.max_backends {
            return over(
                "backends (the sum of all tenants' max_connections)",
                used,
                limits.max_backends,
            );
        }
        if opening > limits.opening_tenants {
            return over("tenants being opened", opening, limits.opening_tenants);
        }
        self.opening.fetch_add(1, Ordering::AcqRel);
        tenants.insert(id.clone(), Arc::clone(&fresh));
        Ok(fresh)
    }

    /// A tenant has its first backend.
    pub(super) fn opened(&self, tenant: &Tenant) {
        if tenant.stop_opening() {
            self.opening.fetch_sub(1, Ordering::AcqRel);
            lock(&self.away).remove(&(tenant.id().clone(), tenant.fingerprint()));
        }
    }

    /// Before a tenant goes that could not be opened.
    fn remember(&self, tenant: &Tenant) {
        if tenant.is_opening() && tenant.opener.is_troubled() {
            let key = (tenant.id().clone(), tenant.fingerprint());
            lock(&self.away).put(key, Arc::clone(&tenant.opener), clock::now());
        }
    }

    /// A tenant goes: its first backend could not be opened, or nobody uses it.
    pub(super) fn remove(&self, tenant: &Tenant) {
        self.remember(tenant);
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let same =
            tenants.get(tenant.id()).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), tenant));
        let removed = if same { tenants.remove(tenant.id()) } else { None };
        drop(tenants);
        if removed.is_some() {
            if tenant.stop_opening() {
                self.opening.fetch_sub(1, Ordering::AcqRel);
            }
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

/// `application_name` as pg_stat_activity shows it; PostgreSQL cuts at 63 bytes.
fn application_name(tenant: &TenantId) -> String {
    let mut name = format!("connpool/{}/{tenant}", std::process::id());
    name.truncate(63);
    name
}

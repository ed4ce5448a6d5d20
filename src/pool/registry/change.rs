//! How a tenant gets other settings or another DSN while it is in use.

use std::sync::Arc;

use super::entry::Bringer;
use super::known::Changing;
use super::{room, Registry, LOOKUPS};
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::TenantPoolConfig;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::error::RequestError;
use crate::pool::backends::Backends;
use crate::pool::breaker::TenantBreaker;
use crate::pool::tenant::{Setup, Tenant};

/// What a tenant is to have. Whatever is `None` stays as it is.
#[derive(Default, Clone)]
pub struct TenantChange {
    /// Its DSN. All backends are replaced, even if it is the one that the tenant has.
    pub dsn: Option<Dsn>,
    /// The settings of its pool. If more than the number of connections differs, all backends
    /// are replaced.
    pub settings: Option<TenantPoolConfig>,
    /// In place of `settings`: the pool that its settings are laid over, before and after. Those in
    /// which it differs from that before stay.
    pub moved: Option<(TenantPoolConfig, TenantPoolConfig)>,
    /// The most connections; wins over that of `settings`.
    pub max_connections: Option<usize>,
    /// Requests that may wait.
    pub max_waiters: Option<usize>,
    /// All backends are replaced in any case.
    pub reconnect: bool,
    /// It gets its connections even where there is no room, because the configuration promises
    /// them.
    pub must: bool,
}

/// What a change has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantChanged {
    /// The backends were replaced. Those in use go on, and are closed when they come back.
    pub replaced: bool,
    /// The number of connections, or of requests that may wait, is another.
    pub resized: bool,
}

impl Registry {
    /// Gives a tenant other settings, or another DSN, while it is in use: all of it, or with an
    /// error nothing. Leases and statements go on, who waits keeps its place and is served by
    /// the new, and the service's limit of connections holds. The DSN may name any server, and
    /// is first tried when a backend is needed. Does not block, and logs one line
    /// if anything changes.
    ///
    /// # Errors
    /// If there is no such tenant, a setting breaks a rule, or there is no room for so many
    /// connections and no unused tenant gives way.
    pub fn change(
        &self,
        id: &TenantId,
        change: &TenantChange,
    ) -> Result<TenantChanged, RequestError> {
        let (mut yields, mut may_exceed) = (0, false);
        loop {
            let tenant = self.find(id).ok_or_else(|| RequestError::TenantNotFound(id.clone()))?;
            let before = tenant.setup();
            let next = self.next_setup(&before, change)?;
            let most = self.context.live().limits.max_backends;
            let limit = if may_exceed { usize::MAX } else { most };
            next.backends.begin_rounds(clock::now());
            let changing = self.write().change(&tenant, &before, &next, limit);
            match changing {
                Changing::Installed => return Ok(self.take_effect(&tenant, &before, &next)),
                Changing::Beaten => {}
                Changing::Full { used, limit } => {
                    let gets = next.permits.saturating_sub(before.permits);
                    yields += 1;
                    if yields > LOOKUPS || !self.make_room(&tenant, gets, used - limit) {
                        may_exceed = change.must;
                        if !may_exceed {
                            return Err(room::no_room(used, limit));
                        }
                    }
                }
            }
        }
    }

    fn take_effect(&self, tenant: &Arc<Tenant>, before: &Setup, next: &Setup) -> TenantChanged {
        tenant.apply(before, next);
        let changed = TenantChanged {
            replaced: !next.has(&before.backends),
            resized: !next.is_as_large_as(before),
        };
        let origin = &next.backends.origin;
        if changed.replaced {
            next.backends.succeed(&before.backends, clock::now());
        }
        if changed.replaced && before.backends.origin.identity.dsn != origin.identity.dsn {
            self.guesses.forget(tenant.id());
        }
        if !(changed.replaced || changed.resized) {
            return changed;
        }
        log::info!(
            "event=pool_changed tenant={} server={} database={} user={} sslmode={} max_connections={} min_connections={} max_waiters={} replaced={}",
            tenant.id(),
            Quoted(&origin.connect.servers()),
            Quoted(&origin.dsn.dbname),
            Quoted(&origin.dsn.user),
            origin.dsn.tls.mode.as_str(),
            next.permits,
            next.backends.settings.min_connections,
            next.waiters,
            changed.replaced,
        );
        changed
    }

    /// What a change makes of a setup. Its backends are those before if they can stay.
    fn next_setup(&self, before: &Setup, change: &TenantChange) -> Result<Setup, RequestError> {
        let old = &before.backends;
        let now = TenantPoolConfig { max_connections: before.permits, ..old.settings.clone() };
        let mut settings = match (&change.settings, &change.moved) {
            (Some(settings), _) => settings.clone(),
            (None, Some((from, to))) => now.moved(from, to),
            (None, None) => now,
        };
        settings.max_connections = change.max_connections.unwrap_or(settings.max_connections);
        if change.settings.is_none() {
            settings.min_connections = settings.min_connections.min(settings.max_connections);
        }
        settings.check().map_err(|rule| RequestError::invalid("settings", rule))?;
        let permits = settings.max_connections;
        let as_before = TenantPoolConfig { max_connections: permits, ..old.settings.clone() };
        let stays = settings == as_before && permits <= old.store.capacity();
        let backends = match &change.dsn {
            Some(dsn) => self.backends_of(old, dsn, settings)?,
            None if stays && !change.reconnect => Arc::clone(old),
            None => old.with(settings),
        };
        Ok(Setup { backends, permits, waiters: change.max_waiters.unwrap_or(before.waiters) })
    }

    /// Backends of another DSN for the tenant that has these.
    fn backends_of(
        &self,
        old: &Backends,
        dsn: &Dsn,
        settings: TenantPoolConfig,
    ) -> Result<Arc<Backends>, RequestError> {
        let identity = self.digests.identity(dsn, self.digests.fingerprint(dsn));
        let (account, who) = (old.account(), &old.origin.brought_by);
        let by = match old.origin.is_configured {
            true => Bringer::Operator(who),
            false => Bringer::Client(who),
        };
        let origin = self.origin(account.id(), dsn, identity, by, &settings)?;
        let breaker = TenantBreaker::new(&settings, &self.context.keeper);
        Ok(Backends::new(account, settings, origin, breaker))
    }
}

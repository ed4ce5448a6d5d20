//! How a tenant comes in: by a name that is free, or by one that it claims.

use std::sync::{Arc, Weak};

use super::another::has_another_password;
use super::known::{fingerprint_of, Known, CLAIMANTS_MAX, CLAIMANTS_PER_CALLER};
use super::{room, Registry, LOOKUPS};
use crate::backend::cert_files::FileScope;
use crate::backend::connect::PgConnect;
use crate::backend::dsn_reach::DsnReach;
use crate::backend::logins::Tries;
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::TenantPoolConfig;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::core::lookup_slots::Asker;
use crate::error::RequestError;
use crate::pool::backends::origin::BackendOrigin;
use crate::pool::breaker::TenantBreaker;
use crate::pool::identity::Identity;
use crate::pool::tenant::{Registrar, Tenant};

/// Who has brought a DSN.
#[derive(Clone, Copy)]
pub(super) enum Bringer<'a> {
    /// A client, by one of its requests.
    Client(&'a CallerId),
    /// The operator, by the configuration.
    Operator(&'a CallerId),
}

impl Registry {
    /// A tenant in state Opening, which nobody knows yet.
    fn make(
        self: &Arc<Self>,
        id: &TenantId,
        dsn: &Dsn,
        identity: Identity,
        by: &CallerId,
    ) -> Result<Arc<Tenant>, RequestError> {
        let settings = self.context.live().pool.with(&dsn.pool);
        let (min, max) = (settings.min_connections, settings.max_connections);
        if min > max {
            // Who writes a DSN knows its keys, and no flags.
            let rule =
                format!("pool_min_conns cannot be greater than pool_max_conns: {min} > {max}");
            return Err(RequestError::invalid("dsn", format!("dsn: {rule}")));
        }
        settings.check().map_err(|rule| RequestError::invalid("dsn", format!("dsn: {rule}")))?;
        let most = self.context.live().most_connections();
        if settings.max_connections > most {
            return Err(RequestError::invalid(
                "dsn",
                format!("dsn: pool_max_conns must be at most {most}"),
            ));
        }
        let key = (id.clone(), identity.dsn);
        let known = self.away.lock().find(&key, clock::now()).cloned();
        let breaker = known.unwrap_or_else(|| TenantBreaker::new(&settings, &self.context.keeper));
        if let Some(refusal) = breaker.refusal(id) {
            return Err(refusal);
        }
        let origin = self.origin(id, dsn, identity, Bringer::Client(by), &settings)?;
        let registrar = Arc::downgrade(self) as Weak<dyn Registrar>;
        Ok(Tenant::new(id.clone(), settings, origin, breaker, &self.context, registrar))
    }

    /// Where backends of this DSN come from, as the settings say.
    pub(super) fn origin(
        &self,
        id: &TenantId,
        dsn: &Dsn,
        identity: Identity,
        by: Bringer<'_>,
        settings: &TenantPoolConfig,
    ) -> Result<Arc<BackendOrigin>, RequestError> {
        let of_clients = || DsnReach {
            files: FileScope::of_clients(self.context.live().dsn_cert_dir.clone()),
            hosts: Arc::clone(&self.catalog().allowed_hosts),
        };
        let (who, reach) = match by {
            Bringer::Operator(who) => (who, DsnReach::anything()),
            Bringer::Client(who) => (who, of_clients()),
        };
        let allowed = reach.files.check(&dsn.tls);
        allowed.map_err(|error| RequestError::invalid("dsn", format!("dsn: {error}")))?;
        let tries = Tries::new(&self.logins, &dsn.user, who);
        let asker = Asker { tenant: id.clone(), caller: who.clone() };
        let (name, tls, shown) = (application_name(id), self.tls.clone(), dsn.without_password());
        let connect = PgConnect::new(dsn.clone(), tries, asker, name, tls, reach, settings);
        let connect = Box::new(connect);
        Ok(match by {
            Bringer::Operator(_) => {
                BackendOrigin::configured(identity, shown, who.clone(), connect)
            }
            Bringer::Client(_) => BackendOrigin::new(identity, shown, who.clone(), connect),
        })
    }

    /// Gives a tenant its name that was made elsewhere.
    #[cfg(test)]
    pub(in crate::pool) fn adopt(&self, tenant: &Arc<Tenant>) {
        let named = self.name(&mut self.write(), Arc::clone(tenant));
        assert!(named.is_ok());
    }

    /// Inserts a tenant in state Opening, unless somebody else just has.
    pub(super) fn register(
        self: &Arc<Self>,
        id: &TenantId,
        dsn: &Dsn,
        identity: Identity,
        by: &CallerId,
    ) -> Result<Arc<Tenant>, RequestError> {
        let fresh = self.make(id, dsn, identity, by)?;
        self.expect_room(by, fresh.backends().settings.max_connections)?;
        let take = || self.register_fresh(id, &fresh);
        room::taken_in_tries(LOOKUPS, || self.make_room_to_open(by), take)
    }

    fn register_fresh(
        &self,
        id: &TenantId,
        fresh: &Arc<Tenant>,
    ) -> Result<Arc<Tenant>, RequestError> {
        let mut known = self.write();
        // Somebody may just have been waiting for the name with this very DSN.
        if let Some(known) = known.find(id).or(known.find_like(fresh)) {
            return Ok(Arc::clone(known));
        }
        self.name(&mut known, Arc::clone(fresh))
    }

    /// Gives it its name, which nobody has.
    fn name(&self, known: &mut Known, fresh: Arc<Tenant>) -> Result<Arc<Tenant>, RequestError> {
        self.count_opening()?;
        known.name(&fresh);
        Ok(fresh)
    }

    /// Inserts a tenant that takes the name over if PostgreSQL lets it in, unless
    /// somebody else just has. It counts for no more backends than the one which has
    /// the name, and is to end that.
    pub(super) fn claim(
        self: &Arc<Self>,
        id: &TenantId,
        dsn: &Dsn,
        identity: Identity,
        by: &CallerId,
    ) -> Result<Arc<Tenant>, RequestError> {
        let fresh = self.make(id, dsn, identity, by)?;
        self.make_room_to_open(by);
        let mut known = self.write();
        let same = known.find(id).filter(|named| fingerprint_of(named) == identity.dsn);
        if let Some(same) = same.or(known.find_like(&fresh)) {
            return Ok(Arc::clone(same));
        }
        let Some(named) = known.find(id) else {
            return self.name(&mut known, fresh);
        };
        if has_another_password(named, identity) {
            self.guesses.another(id, by);
        }
        // Together they have about twice what the tenant may have.
        let (before, limit) = (known.open_before(id), fresh.backends().settings.max_connections);
        let open = named.account.open.now();
        if before > 0 && before + open > limit {
            let what =
                "connections of one tenant that were opened with earlier passwords or servers";
            return Err(RequestError::ServiceLimit { what, used: before + open, limit });
        }
        let (all, own) = known.claimants(id, by);
        let what = "other passwords or servers of one tenant that are being tried";
        if own >= CLAIMANTS_PER_CALLER {
            let (tenant, limit) = (id.clone(), CLAIMANTS_PER_CALLER);
            return Err(RequestError::CallerLimit { tenant, what, used: own + 1, limit });
        }
        if all >= CLAIMANTS_MAX {
            return Err(RequestError::ServiceLimit { what, used: all + 1, limit: CLAIMANTS_MAX });
        }
        self.count_opening()?;
        known.claim(&fresh);
        Ok(fresh)
    }
}

/// `application_name` as pg_stat_activity shows it; PostgreSQL cuts at 63 bytes.
fn application_name(tenant: &TenantId) -> String {
    let mut name = format!("connpool/{}/{tenant}", std::process::id());
    name.truncate(63);
    name
}

//! One tenant on fakes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{unbounded, Receiver, Sender};

use super::fakes::{Census, Fakes, Script};
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::core::lease_table::Terms;
use crate::error::RequestError;
use crate::pool::ask::Ask;
use crate::pool::backends::origin::BackendOrigin;
use crate::pool::breaker::TenantBreaker;
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::context::Context;
use crate::pool::identity::{Fingerprint, Identity};
use crate::pool::job::Job;
use crate::pool::leases::Leases;
use crate::pool::registry::Registry;
use crate::pool::tenant::{Setup, Tenant};
use crate::threads::bell::Bell;

pub(super) const WAIT: Duration = Duration::from_secs(60);
pub(super) fn ask() -> Ask {
    Ask { terms: TERMS, holder: String::new(), peer: String::new(), owner: None }
}

const TERMS: Terms = Terms { ttl: WAIT, idle_in_transaction: WAIT, max_lifetime: WAIT };

pub(super) struct World {
    pub(super) tenant: Arc<Tenant>,
    pub(super) context: Arc<Context>,
    pub(super) census: Arc<Census>,
}

/// A tenant with `max` permits that keeps as many backends.
pub(super) fn world(max: usize, script: Script) -> World {
    world_of(max, max, script)
}

pub(super) fn world_of(min: usize, max: usize, script: Script) -> World {
    let settings = TenantPoolConfig {
        max_connections: max,
        min_connections: min,
        ..TenantPoolConfig::default()
    };
    World::new(ServerConfig::default(), settings, script)
}

/// Changes what is behind the gate of a tenant.
pub(super) fn change(tenant: &Arc<Tenant>, change: impl Fn(&Setup) -> Setup) {
    loop {
        let before = tenant.setup();
        let next = change(&before);
        if tenant.install(&before, &next) {
            return tenant.apply(&before, &next);
        }
    }
}

/// Puts fresh backends in the place of those that are there.
pub(super) fn swap(tenant: &Arc<Tenant>) {
    change(tenant, |before| {
        let backends = before.backends.with(before.backends.settings.clone());
        Setup { backends, ..before.clone() }
    });
}

/// Gives a gate other numbers, of which the permits are no more than its pool has room for.
pub(super) fn resize(tenant: &Arc<Tenant>, permits: usize, waiters: usize) {
    change(tenant, |before| Setup { permits, waiters, ..before.clone() });
}

/// Looks until it holds.
#[track_caller]
pub(super) fn wait_for(mut holds: impl FnMut() -> bool) {
    let until = clock::now() + WAIT;
    while !holds() {
        assert!(clock::now() < until, "waited in vain");
        std::thread::yield_now();
    }
}

impl World {
    pub(super) fn new(config: ServerConfig, settings: TenantPoolConfig, script: Script) -> World {
        World::with(&Context::new(config), "fake", settings, script, Weak::<Registry>::new())
    }

    /// A tenant that a registry knows.
    pub(super) fn known(
        registry: &Arc<Registry>,
        name: &str,
        settings: TenantPoolConfig,
        script: Script,
    ) -> World {
        let registrar: Weak<Registry> = Arc::downgrade(registry);
        let world = World::with(registry.context(), name, settings, script, registrar);
        registry.adopt(&world.tenant);
        world
    }

    fn with(
        context: &Arc<Context>,
        name: &str,
        settings: TenantPoolConfig,
        script: Script,
        registrar: Weak<Registry>,
    ) -> World {
        let census = Arc::<Census>::default();
        let fakes = Fakes { census: Arc::clone(&census), script };
        let id = TenantId::parse(name).expect("a good name");
        let [dsn, but_password, but_servers, but_both] = [0, 1, 2, 3].map(|n| Fingerprint([n; 32]));
        let identity = Identity { dsn, but_password, but_servers, but_both };
        let dsn = Dsn::parse("host=h user=u").expect("a good DSN");
        let brought_by = CallerId::new("somebody");
        let origin = BackendOrigin::new(identity, dsn, brought_by, Box::new(fakes));
        let breaker = TenantBreaker::new(&TenantPoolConfig::default(), &context.keeper);
        let tenant = Tenant::new(id, settings, origin, breaker, context, registrar);
        World { tenant, context: Arc::clone(context), census }
    }

    /// No leases yet.
    pub(super) fn leases(&self) -> Arc<Leases> {
        let (limits, tools) = (&self.context.config.limits, &self.context.tools);
        Leases::new(limits, Bell::default(), tools.metrics.clone())
    }

    /// Asks for a backend; what comes is sent to the channel.
    pub(super) fn ask(&self, to: &Sender<Result<Checkout, RequestError>>) {
        let to = to.clone();
        let job = Job::new(&Caller::nobody(), move |checkout| {
            // A test that is over no longer listens.
            let _ = to.send(checkout);
        });
        assert!(self.tenant.admit(job, WAIT).is_ok());
    }

    pub(super) fn checkout(&self) -> Checkout {
        let (to, from) = unbounded();
        self.ask(&to);
        got(&from).expect("a backend")
    }

    /// Waits until the keeper's work for the tenant is done.
    #[track_caller]
    pub(super) fn upkeep_done(&self) {
        wait_for(|| !self.tenant.upkeep.load(Ordering::SeqCst));
        self.settled();
    }

    /// Waits until every permit is back.
    #[track_caller]
    pub(super) fn settled(&self) {
        assert!(self.context.outstanding.wait_for_none(clock::now() + WAIT));
        assert_eq!(self.tenant.figures().used, 0);
    }
}

pub(super) fn got(
    from: &Receiver<Result<Checkout, RequestError>>,
) -> Result<Checkout, RequestError> {
    from.recv_timeout(WAIT).expect("answered")
}

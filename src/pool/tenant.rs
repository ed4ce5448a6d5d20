//! One tenant: its gate, its line, and the backends behind them.

mod admission;
mod beginning;
mod checkout;
mod checkout_attempt;
mod checks;
mod closing;
mod delivery;
mod disuse;
mod neighbour;
mod pausing;
mod probe;
mod suspended;
mod swap;
mod upkeep;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::config::TenantPoolConfig;
use crate::core::callers::CallerId;
use crate::core::gate::Gate;
use crate::core::ids::TenantId;
use crate::error::{QueuePosition, RequestError};
use crate::lock::Leaf;
use crate::pool::account::Account;
use crate::pool::backends::{origin::BackendOrigin, Backends};
use crate::pool::breaker::TenantBreaker;
use crate::pool::context::Context;
use crate::pool::job::Job;
use crate::pool::line::JobLine;
use crate::pool::listen::{Host, Hub};
use crate::pool::numbers::Figures;
use crate::pool::requests::permit::{Gatekeeper, Permit};
use crate::threads::here;

pub(super) use disuse::Disuse;
pub(super) use swap::Setup;
pub(super) use upkeep::Upkeep;

/// Why backends of a pool are closed that nobody uses any more.
const POOL_CLOSED: &str = "pool_closed";
/// Why backends are closed whose place others have taken.
const REPLACED: &str = "replaced";

/// A customer: its permits, who waits for them, and the backends they are for.
pub struct Tenant {
    pub(super) account: Arc<Account>,
    /// Permits, waiters, state. Never held over I/O, r2d2, logging, destructors.
    gate: Mutex<Gate<Job>>,
    /// Jobs with a permit that wait for their backend.
    pub(super) line: Leaf<JobLine>,
    /// What backends are opened with at present, and the numbers that the gate is to have.
    setup: Leaf<Setup>,
    /// Who listens for notifications.
    pub(super) hub: Arc<Hub>,
    /// The operator has configured it: it stays, whether it is used or not.
    pub(super) configured: bool,
    /// Counted by the registry as opening.
    opening: AtomicBool,
    /// The keeper's work for this tenant is under way.
    pub(super) upkeep: AtomicBool,
    /// Why it was taken out of service, if that is not the service's own end.
    ended: OnceLock<RequestError>,
    registrar: Weak<dyn Registrar>,
}

/// Who knows all tenants, as one of them knows it.
pub trait Registrar: Send + Sync {
    /// The tenant has its first backend. False: another has its name, or there is no room
    /// for it.
    fn opened(&self, tenant: &Arc<Tenant>) -> bool;

    /// PostgreSQL has let the tenant's role in, but that has no connection left.
    fn crowded(&self, tenant: &Tenant);

    /// The tenant goes.
    fn gone(&self, tenant: &Tenant);
}

impl Tenant {
    /// A tenant in state Opening.
    pub(super) fn new(
        id: TenantId,
        settings: TenantPoolConfig,
        origin: Arc<BackendOrigin>,
        breaker: Arc<TenantBreaker>,
        context: &Arc<Context>,
        registrar: Weak<dyn Registrar>,
    ) -> Arc<Tenant> {
        let permits = settings.max_connections;
        let waiters = context.live().limits.waiters_per_tenant;
        let share = context.config.limits.leases_per_caller;
        let (account, configured) = (Account::new(id, permits, context), origin.is_configured);
        let tenant = Arc::new_cyclic(|tenant: &Weak<Tenant>| Tenant {
            gate: Mutex::new(Gate::opening(permits, waiters, share)),
            line: Leaf::default(),
            setup: Leaf::new(Setup {
                backends: Backends::new(&account, settings, origin, breaker),
                permits,
                waiters,
            }),
            hub: Hub::new(&account, tenant.clone()),
            configured,
            // One that is configured is there whether its database is or not.
            opening: AtomicBool::new(!configured),
            upkeep: AtomicBool::new(false),
            ended: OnceLock::new(),
            registrar,
            account,
        });
        let neighbour: Weak<Tenant> = Arc::downgrade(&tenant);
        context.servers.register(&tenant.account.owner, neighbour);
        tenant
    }

    /// Its name.
    pub fn id(&self) -> &TenantId {
        self.account.id()
    }

    /// What its pools share.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// What it shares with all tenants.
    pub fn context(&self) -> &Arc<Context> {
        self.account.context()
    }

    /// What its backends are opened with at present.
    pub fn backends(&self) -> Arc<Backends> {
        Arc::clone(&self.setup.lock().backends)
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate<Job>> {
        // The gate is consistent between its own calls, which do not panic half-way.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wraps a permit that the gate has just given out.
    fn permit(self: &Arc<Self>, caller: Option<CallerId>, upkeep: bool) -> Permit {
        let keeper = Arc::clone(self) as Arc<dyn Gatekeeper>;
        Permit::new(keeper, caller, upkeep, &self.context().outstanding)
    }

    /// A permit to look after its server, if one is free and nobody waits for it. It counts as
    /// one of a request.
    fn permit_to_look(self: &Arc<Self>) -> Option<Permit> {
        let free = self.gate().try_take();
        free.then(|| self.permit(None, false))
    }

    /// A permit for the service's own work, if one is free and nobody waits for it.
    pub(super) fn permit_for_upkeep(self: &Arc<Self>) -> Option<Permit> {
        let mut gate = self.gate();
        if !gate.try_take() {
            return None;
        }
        self.account.numbers.upkeep.fetch_add(1, Ordering::Relaxed);
        drop(gate);
        Some(self.permit(None, true))
    }

    fn unregister(&self) {
        self.registrar.upgrade().into_iter().for_each(|all| all.gone(self));
    }

    /// True until it has its first backend, or goes without one.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.load(Ordering::Acquire)
    }

    /// True once: the tenant no longer counts as opening.
    pub(super) fn stop_opening(&self) -> bool {
        self.opening.swap(false, Ordering::AcqRel)
    }

    pub fn figures(&self) -> Figures {
        let numbers = &self.account.numbers;
        let (used, upkeep, waiting, max, state, paused) = {
            let gate = self.gate();
            let upkeep = numbers.upkeep.load(Ordering::Relaxed);
            (gate.used(), upkeep, gate.waiting(), gate.permits(), gate.state(), gate.paused())
        };
        let backends = self.backends();
        Figures {
            used,
            upkeep,
            idle: backends.store.idle(),
            open: self.account.open.now(),
            opening: numbers.opening_now(),
            resetting: numbers.resetting.load(Ordering::Relaxed),
            waiting,
            max,
            acquired: numbers.acquired.load(Ordering::Relaxed),
            waited: Duration::from_micros(numbers.waited_micros.load(Ordering::Relaxed)),
            state,
            paused,
            breaker: backends.breaker_phase(),
        }
    }
}

impl Gatekeeper for Tenant {
    fn take_back(self: Arc<Self>, caller: Option<&CallerId>, upkeep: bool) {
        self.finish(caller, upkeep);
    }

    fn serve_opening(&self, permit: Permit) {
        if !here::may_block() {
            // Whoever is served there may block.
            return match self.has_line() {
                true => self.context().tools.run(move || permit.pass_on()),
                false => here::ending(|| drop(permit)),
            };
        }
        if let Some(permit) = self.hand_over(permit) {
            // The worker that has given a backend back takes it for the next in line.
            here::ending(|| drop(permit));
        }
    }

    fn doubt(self: Arc<Self>) {
        Upkeep::now(&self).check_doubtful();
    }
}

impl Host for Tenant {
    fn admit(self: Arc<Self>, job: Job, wait: Duration) -> Result<(), Job> {
        Tenant::admit(&self, job, wait)
    }

    fn standing(&self) -> QueuePosition {
        let gate = self.gate();
        QueuePosition {
            used: gate.used(),
            limit: gate.permits(),
            waiting: gate.waiting(),
            position: 1,
            is_paused: gate.paused().is_some(),
        }
    }
}

//! What the service can do for a caller, free of any wire format.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::core::access::Authentication;
use crate::core::ids::{ConnectionId, TenantId};
use crate::core::lease_table::{LeaseView, Via};
use crate::error::RequestError;
use crate::pool::ask::Ask;
use crate::pool::caller::{Caller, CallerProof};
use crate::pool::context::Context;
use crate::pool::grant::Grant;
use crate::pool::job::Job;
use crate::pool::leases::{release::Release, Leases};
use crate::pool::listen::{Listening, Mailbox};
use crate::pool::on_lease::OnLease;
use crate::pool::one_shot::one_shot;
use crate::pool::registry::{HostDsns, Registry, Target};
use crate::pool::requests::responder::{PendingAnswer, Responder};
use crate::pool::retries::{IdempotentRequests, Joining, RetryKey};
use crate::pool::stream::StreamLease;
use crate::pool::work::task::{Executed, Task};

/// Tenants and leases together. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// All tenants.
    pub registry: Arc<Registry>,
    /// All leases.
    pub leases: Arc<Leases>,
    /// All requests that can be repeated.
    pub retries: Arc<IdempotentRequests>,
}

/// Where a request's statements run.
pub enum RunOn {
    /// On this lease, which ends afterwards if so asked.
    Lease {
        /// The lease.
        id: ConnectionId,
        /// End it, also when a statement fails.
        release_after: bool,
    },
    /// On the lease of a stream.
    Stream(ConnectionId),
    /// On any backend of a tenant, after this wait at most.
    Tenant {
        /// The tenant.
        target: Box<Target>,
        /// The longest wait in its queue.
        wait: Duration,
    },
}

impl Service {
    /// A service without tenants.
    ///
    /// # Errors
    /// If OpenSSL cannot be set up.
    pub fn new(context: &Arc<Context>) -> Result<Service, openssl::error::ErrorStack> {
        let limits = &context.config.limits;
        let metrics = context.tools.metrics.clone();
        Ok(Service {
            registry: Registry::new(context)?,
            leases: Leases::new(limits, context.bell.clone(), metrics),
            retries: Arc::default(),
        })
    }

    /// What all parts share.
    pub fn context(&self) -> &Arc<Context> {
        self.registry.context()
    }

    /// The DSNs that callers from the host of this one bring.
    pub fn dsns<'a>(&'a self, caller: &'a Caller) -> HostDsns<'a> {
        self.registry.dsns.of(caller.peer().address())
    }

    /// A request's caller, on the connection from this address, of whom this is known, and who has
    /// shown this.
    pub fn caller(
        &self,
        peer: &str,
        authentication: Authentication,
        proof: Option<Arc<CallerProof>>,
    ) -> Arc<Caller> {
        Caller::proven(&self.context().peers.at(peer), authentication, proof)
    }

    /// Whether a caller whose stream is open may go on at its tenant: identities may have been
    /// read again since.
    ///
    /// # Errors
    /// It may not.
    pub fn recheck(&self, tenant: &TenantId, caller: &Caller) -> Result<(), RequestError> {
        Ok(caller.recheck(&self.context().access.now(), tenant)?)
    }

    /// Whether a caller may use a tenant: asked before anything else of it is looked at.
    fn permit(&self, tenant: &TenantId, caller: &Caller) -> Result<(), RequestError> {
        Ok(self.context().access.now().may_use(tenant, caller.authentication())?)
    }

    /// Leases a backend. The answer comes when there is one, or a reason why not.
    /// `request` names the request, so that it can be repeated.
    ///
    /// # Errors
    /// If the caller may not use the tenant, or the DSN cannot be compared with others.
    pub fn acquire(
        &self,
        target: &Target,
        ask: Ask,
        request: Option<Vec<u8>>,
        wait: Duration,
        caller: &Arc<Caller>,
    ) -> Result<PendingAnswer<Grant>, RequestError> {
        self.permit(&target.tenant, caller)?;
        let (responder, answer) = Responder::new();
        let leases = Arc::clone(&self.leases);
        let Some(request) = request else {
            let job = Job::for_lease(caller, move |checkout| {
                let granted = checkout.and_then(|checkout| leases.grant(checkout, ask));
                // Undelivered, the grant takes itself back when it is dropped.
                drop(responder.send(granted));
            });
            self.registry.admit(target, job, wait);
            return Ok(answer);
        };
        let dsn = target.dsn.as_ref();
        let fingerprint = dsn.map(|dsn| self.registry.fingerprint(dsn));
        let (tenant, owner) = (target.tenant.clone(), caller.owner().cloned());
        let key = RetryKey { tenant, fingerprint, request, owner };
        let deadline = clock::now() + wait;
        match self.retries.call(key, &self.leases, caller, deadline, responder) {
            Joining::Wait => {}
            Joining::Ask(standing, request) => {
                let job = Job::for_lease(&standing, move |checkout| {
                    request.settle(checkout.and_then(|checkout| leases.grant(checkout, ask)));
                });
                self.registry.admit(target, job, wait);
            }
        }
        Ok(answer)
    }

    /// Leases a backend to a stream.
    pub fn attach(
        &self,
        target: &Target,
        ask: Ask,
        wait: Duration,
        caller: &Arc<Caller>,
    ) -> PendingAnswer<StreamLease> {
        let (responder, answer) = Responder::new();
        if let Err(denied) = self.permit(&target.tenant, caller) {
            drop(responder.send(Err(denied)));
            return answer;
        }
        let leases = Arc::clone(&self.leases);
        let job = Job::for_lease(caller, move |checkout| {
            // Unheard, the lease ends when it is dropped.
            drop(responder.send(checkout.and_then(|checkout| leases.attach(checkout, ask))));
        });
        self.registry.admit(target, job, wait);
        answer
    }

    /// Runs statements.
    pub fn execute(
        &self,
        place: RunOn,
        work: impl Into<Task>,
        caller: &Arc<Caller>,
    ) -> PendingAnswer<Executed> {
        let work = work.into();
        let (responder, answer) = Responder::new();
        let tools = &self.context().tools;
        match place {
            RunOn::Lease { id, release_after } => {
                let id = id.of(caller.owner());
                self.on_lease((id, Via::Call), work, release_after, caller, responder);
            }
            RunOn::Stream(id) => {
                self.on_lease((id, Via::Stream), work, false, caller, responder);
            }
            RunOn::Tenant { target, wait } => {
                if let Err(denied) = self.permit(&target.tenant, caller) {
                    drop(responder.send(Err(denied)));
                    return answer;
                }
                one_shot(&self.registry, tools, &target, work, wait, caller, responder);
            }
        }
        answer
    }

    fn on_lease(
        &self,
        (id, via): (ConnectionId, Via),
        work: Task,
        release_after: bool,
        caller: &Arc<Caller>,
        responder: Responder<Executed>,
    ) {
        let (leases, context) = (Arc::clone(&self.leases), Arc::clone(self.context()));
        let caller = Arc::clone(caller);
        OnLease { leases, context, id, via, work, release_after, caller, responder }.begin();
    }

    /// Hands notifications on these channels to `mailbox`, until what is returned
    /// is dropped.
    ///
    /// # Errors
    /// If the tenant is not to be had, or takes no more listeners.
    pub fn listen(
        &self,
        target: &Target,
        channels: BTreeSet<String>,
        mailbox: Arc<dyn Mailbox>,
        wait: Duration,
        caller: &Caller,
    ) -> Result<Listening, RequestError> {
        self.permit(&target.tenant, caller)?;
        self.registry.listen(target, channels, mailbox, wait, caller.id())
    }

    /// Ends a lease. One that is busy with an operation whose caller has left ends with
    /// that, within the time that a cancel may take; one that is busy otherwise fails
    /// with [`RequestError::LeaseBusy`] unless `force` is given.
    pub fn release(
        &self,
        id: ConnectionId,
        force: bool,
        caller: &Caller,
    ) -> PendingAnswer<Release> {
        let id = id.of(caller.owner());
        let (responder, answer) = Responder::new();
        self.leases.release_for(id, force, responder);
        answer
    }

    /// Restarts a lease's time to live.
    ///
    /// # Errors
    /// If there is no such lease, or it has ended.
    pub fn renew(
        &self,
        id: ConnectionId,
        ttl: Option<Duration>,
        caller: &Caller,
    ) -> Result<LeaseView, RequestError> {
        self.leases.renew(&id.of(caller.owner()), ttl)
    }
}

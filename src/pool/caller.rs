//! Follows one caller through its request, so that its leaving is acted upon
//! wherever the request stands.

use std::sync::Arc;
use std::time::Instant;

use crate::clock;
use crate::core::access::{
    Access, AccessDenied, AuthFailure, Authentication, CallerIdentity, Role, ShownCredentials,
};
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::lock::Leaf;
use crate::pool::peers::{Peer, Peers};
use crate::pool::requests::stage::Stage;

/// The caller of one request.
pub struct Caller {
    peer: Arc<Peer>,
    authentication: Authentication,
    /// `None`: nobody had to be known when its call came.
    proof: Option<Arc<CallerProof>>,
    at: Leaf<CallerStage>,
}

/// What a caller has shown.
pub struct CallerProof {
    /// Its token and certificate.
    pub shown: ShownCredentials,
    /// The identities that were in force when its call came.
    pub under: Arc<Access>,
}

/// Where its request stands. Moves downwards, but for a wait that was changed.
#[derive(Default)]
enum CallerStage {
    #[default]
    Arrived,
    /// On its way into the queue, where it may wait until then.
    Postponed(Instant),
    /// It waits in a queue, or another waits there for it and for all who repeat the request.
    Queued(Arc<dyn Stage>),
    Served,
    Running(Arc<dyn Stage>),
    /// It left; nothing is done for it any more.
    Gone,
}

impl Caller {
    /// A caller on this connection, who is there, and of whom this is known.
    pub fn on(peer: &Arc<Peer>, authentication: Authentication) -> Arc<Caller> {
        Caller::proven(peer, authentication, None)
    }

    /// A caller on this connection who has shown this.
    pub fn proven(
        peer: &Arc<Peer>,
        authentication: Authentication,
        proof: Option<Arc<CallerProof>>,
    ) -> Arc<Caller> {
        Arc::new(Caller { peer: Arc::clone(peer), authentication, proof, at: Leaf::default() })
    }

    /// The same caller with another request.
    pub fn again(&self) -> Arc<Caller> {
        Caller::proven(&self.peer, self.authentication.clone(), self.proof.clone())
    }

    /// Whether a caller whose stream is open may go on at its tenant, by the identities in force
    /// now. Costs nothing while they are those that were in force when its call came.
    ///
    /// # Errors
    /// It is not known any more, or is somebody else now, or may not use the tenant.
    pub fn recheck(&self, access: &Arc<Access>, tenant: &TenantId) -> Result<(), AccessDenied> {
        let is_same = match &self.proof {
            Some(proof) => Arc::ptr_eq(&proof.under, access),
            None => access.is_open(),
        };
        if is_same {
            return Ok(());
        }
        let nothing = ShownCredentials::default();
        let shown = self.proof.as_ref().map_or(&nothing, |proof| &proof.shown);
        let seconds = i64::try_from(clock::unix_micros() / 1_000_000).unwrap_or(i64::MAX);
        let now = access.authenticate(shown, seconds)?;
        access.may_use(tenant, &now)?;
        // What it has belongs to who it was.
        match now.identity().map(|identity| identity.id()) == self.owner() {
            true => Ok(()),
            false => Err(AuthFailure::NoCredentials.into()),
        }
    }

    /// A caller from nowhere, for requests of our own.
    pub fn nobody() -> Arc<Caller> {
        Caller::on(&Peers::default().at(""), Authentication::Anonymous)
    }

    /// The connection it calls on.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Who its leases are counted for: its identity, or else its connection.
    pub fn id(&self) -> &CallerId {
        self.identity().map_or_else(|| self.peer.id(), CallerIdentity::id)
    }

    /// Whom its leases are bound to: its identity, if it has one.
    pub fn owner(&self) -> Option<&CallerId> {
        self.identity().map(CallerIdentity::id)
    }

    /// Who it is, if that is known.
    pub fn identity(&self) -> Option<&CallerIdentity> {
        self.authentication.identity().map(|identity| &**identity)
    }

    /// What is known of it.
    pub fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// Whether it has this role.
    ///
    /// # Errors
    /// It has no identity, or not the role.
    pub fn expect_role(&self, role: Role) -> Result<&CallerIdentity, AccessDenied> {
        self.authentication.expect_role(role).map(|identity| &**identity)
    }

    /// The request stands in a queue, as this waiter.
    pub fn queued(&self, waiter: Arc<dyn Stage>) {
        loop {
            let mut at = self.at.lock();
            match *at {
                CallerStage::Arrived => *at = CallerStage::Queued(waiter),
                CallerStage::Postponed(deadline) => {
                    *at = CallerStage::Arrived;
                    drop(at);
                    waiter.postpone(deadline);
                    // It may have been postponed again meanwhile.
                    continue;
                }
                CallerStage::Gone => {
                    drop(at);
                    waiter.leave();
                }
                // A worker was quicker than we are.
                CallerStage::Queued(_) | CallerStage::Served | CallerStage::Running(_) => {}
            }
            return;
        }
    }

    /// Another stands in the queue for this caller. If it has left, it leaves there.
    pub fn represented(&self, seat: Arc<dyn Stage>) {
        let mut at = self.at.lock();
        if matches!(*at, CallerStage::Arrived) {
            *at = CallerStage::Queued(seat);
        } else {
            drop(at);
            seat.leave();
        }
    }

    /// Lets the request stand in the queue for longer, or shorter.
    pub fn postpone(&self, deadline: Instant) {
        let mut at = self.at.lock();
        let waiter = match &*at {
            CallerStage::Queued(waiter) => Some(Arc::clone(waiter)),
            CallerStage::Arrived | CallerStage::Postponed(_) => {
                *at = CallerStage::Postponed(deadline);
                None
            }
            _ => None,
        };
        drop(at);
        if let Some(waiter) = waiter {
            waiter.postpone(deadline);
        }
    }

    /// A worker has taken the request up. False: the caller has left.
    pub fn serve(&self) -> bool {
        let mut at = self.at.lock();
        let before = match *at {
            CallerStage::Gone => return false,
            _ => std::mem::replace(&mut *at, CallerStage::Served),
        };
        drop(at);
        // What it held of its waiter goes without the lock.
        drop(before);
        true
    }

    /// SQL runs for the caller. If it has left, the operation is cancelled.
    pub fn run(&self, operation: Arc<dyn Stage>) {
        let mut at = self.at.lock();
        if matches!(*at, CallerStage::Gone) {
            drop(at);
            return operation.leave();
        }
        let before = std::mem::replace(&mut *at, CallerStage::Running(operation));
        drop(at);
        drop(before);
    }

    /// True while the request stands in a queue.
    pub fn is_queued(&self) -> bool {
        matches!(*self.at.lock(), CallerStage::Queued(_))
    }

    /// True once the caller has left.
    pub fn is_gone(&self) -> bool {
        matches!(*self.at.lock(), CallerStage::Gone)
    }

    /// The caller has left: its waiter leaves the queue, its statement is
    /// cancelled. Does not block.
    pub fn leave(&self) {
        let at = std::mem::replace(&mut *self.at.lock(), CallerStage::Gone);
        match at {
            CallerStage::Queued(stage) | CallerStage::Running(stage) => stage.leave(),
            CallerStage::Arrived
            | CallerStage::Postponed(_)
            | CallerStage::Served
            | CallerStage::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::{AccessToken, TokenDigest};

    const TOKEN: TokenDigest = TokenDigest([7; 32]);

    /// `name` has the token.
    fn access(name: &str) -> Arc<Access> {
        let mut access = Access::default();
        let token = AccessToken { sha256: TOKEN, expires: None };
        let identity = CallerIdentity::new(name, None).expect("a good name");
        access.add(identity, vec![token], Vec::new()).expect("it is the only one");
        Arc::new(access)
    }

    #[test]
    fn a_caller_goes_on_for_as_long_as_it_is_who_it_was() {
        let (peers, tenant) = (Peers::default(), TenantId::parse("t").expect("a good name"));
        let (shop, open) = (access("shop"), Arc::<Access>::default());
        let shown = ShownCredentials { token: Some(Ok(TOKEN)), certificate: None };
        let authentication = shop.authenticate(&shown, 0).expect("its token is known");
        let proof = Some(Arc::new(CallerProof { shown, under: Arc::clone(&shop) }));
        let caller = Caller::proven(&peers.at(""), authentication, proof).again();
        let cause = |caller: &Caller, access: &Arc<Access>| {
            caller.recheck(access, &tenant).map_err(|denied| denied.as_str())
        };
        assert_eq!(cause(&caller, &shop), Ok(()));
        assert_eq!(cause(&caller, &access("shop")), Ok(()), "it was read again");
        assert_eq!(cause(&caller, &access("other")), Err("no_credentials"));
        let mut others = Access::default();
        let token = AccessToken { sha256: TokenDigest([8; 32]), expires: None };
        let identity = CallerIdentity::new("shop", None).expect("a good name");
        others.add(identity, vec![token], Vec::new()).expect("it is the only one");
        assert_eq!(cause(&caller, &Arc::new(others)), Err("unknown_token"));
        let mut strict = Access::clone(&shop);
        strict.set_only_configured(true);
        assert_eq!(cause(&caller, &Arc::new(strict)), Err("tenant_denied"));
        // One who came while nobody had to be known.
        let before = Caller::on(&peers.at(""), Authentication::Anonymous);
        assert_eq!(cause(&before, &open), Ok(()));
        assert_eq!(cause(&before, &shop), Err("no_credentials"));
    }
}

//! A lease on its way to its caller.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::core::ids::ConnectionId;
use crate::core::lease_table::{EndReason, LeaseView, Via};
use crate::error::{CancelCause, RequestError};
use crate::pool::ask::Ask;
use crate::pool::checkout::Checkout;
use crate::pool::leases::Leases;

/// A lease that was granted and is on its way to its caller.
pub struct Grant {
    /// Its secret name.
    pub id: ConnectionId,
    /// What may be shown.
    pub view: LeaseView,
    /// Takes it back unless it is delivered.
    pub undelivered: Undelivered,
}

impl Leases {
    /// Grants a lease on `checkout`.
    ///
    /// # Errors
    /// If there are no random bytes for its name; the checkout is closed then.
    pub fn grant(self: &Arc<Self>, checkout: Checkout, ask: Ask) -> Result<Grant, RequestError> {
        let (id, facts) = self.named(&checkout, &ask, Via::Call)?;
        let view = self.enter(&id, facts, checkout, &ask);
        let undelivered = Undelivered::new(self, &id, GrantDelivery::default().first());
        Ok(Grant { undelivered, id, view })
    }
}

/// Ends a lease that nobody has heard of, when dropped before `delivered`.
pub struct Undelivered {
    pending: Option<(Arc<Leases>, ConnectionId)>,
    claim: DeliveryClaim,
}

impl Undelivered {
    pub(super) fn new(
        leases: &Arc<Leases>,
        id: &ConnectionId,
        claim: DeliveryClaim,
    ) -> Undelivered {
        Undelivered { pending: Some((Arc::clone(leases), id.clone())), claim }
    }

    /// Nothing to take back: the lease was delivered before.
    pub(super) fn nothing() -> Undelivered {
        Undelivered { pending: None, claim: GrantDelivery::default().first() }
    }

    /// How far the delivery is, for those who ask for the same grant.
    pub(super) fn delivery(&self) -> GrantDelivery {
        self.claim.0.clone()
    }

    /// The grant has reached its caller.
    pub fn delivered(mut self) {
        self.pending = None;
        self.claim.0 .0.store(DELIVERED, Ordering::Release);
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let Some((leases, id)) = self.pending.take() {
            if self.claim.give_up() {
                // It may have ended by itself meanwhile.
                let _ = leases.revoke(&id, EndReason::Undelivered, CancelCause::Caller);
            }
        }
    }
}

/// How far a grant is on its way. Several calls may ask for the same grant: 0 =
/// it was taken back, the greatest number = one of them has it, else the number of
/// calls that it is on its way to.
#[derive(Clone, Default)]
pub(super) struct GrantDelivery(Arc<AtomicU64>);

const GIVEN_UP: u64 = 0;
const DELIVERED: u64 = u64::MAX;

/// One call's claim to a grant.
pub(super) struct DeliveryClaim(GrantDelivery);

/// What a later call finds.
pub(super) enum FoundGrant {
    /// The grant has been delivered, and is not taken back any more.
    Delivered,
    /// It is on its way to this call too.
    Claimed(DeliveryClaim),
    /// It was taken back.
    GivenUp,
}

impl GrantDelivery {
    pub(super) fn first(self) -> DeliveryClaim {
        self.0.store(1, Ordering::Release);
        DeliveryClaim(self)
    }

    /// A later call asks for the grant.
    pub(super) fn join(&self) -> FoundGrant {
        let next = |calls: u64| (calls != DELIVERED && calls != GIVEN_UP).then_some(calls + 1);
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(_) => FoundGrant::Claimed(DeliveryClaim(self.clone())),
            Err(DELIVERED) => FoundGrant::Delivered,
            Err(_) => FoundGrant::GivenUp,
        }
    }
}

impl DeliveryClaim {
    /// True if it was the last claim, and none was delivered: nobody has the grant,
    /// and nobody will.
    fn give_up(&self) -> bool {
        let next = |calls: u64| (calls != DELIVERED && calls != GIVEN_UP).then(|| calls - 1);
        self.0 .0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_claim_can_give_up_and_only_what_was_not_delivered() {
        for first_leaves_first in [true, false] {
            let delivery = GrantDelivery::default();
            let first = delivery.clone().first();
            let FoundGrant::Claimed(second) = delivery.join() else { panic!("it is on its way") };
            let (early, late) = match first_leaves_first {
                true => (first, second),
                false => (second, first),
            };
            assert!(!early.give_up());
            assert!(late.give_up());
            assert!(matches!(delivery.join(), FoundGrant::GivenUp));
        }
        let delivery = GrantDelivery::default();
        let first = delivery.clone().first();
        delivery.0.store(DELIVERED, Ordering::Release);
        assert!(matches!(delivery.join(), FoundGrant::Delivered));
        assert!(!first.give_up());
    }
}

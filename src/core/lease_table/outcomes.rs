//! The results of the table's calls.

use super::super::ids::ConnectionId;
use super::{EndReason, LeaseView, Tombstone};

/// Why a call cannot use a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No lease has this id, and no remembered one had it.
    NotFound,
    /// An operation runs under the lease. Boxed because a view is large.
    Busy(Box<LeaseView>),
    /// The lease is used in another way than this one.
    OtherWay(Box<LeaseView>),
    /// The lease has ended.
    Ended(Tombstone),
}

/// The result of [`LeaseTable::end`](super::LeaseTable::end).
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<S> {
    /// The lease continues and has its checkout back.
    Kept(LeaseView),
    /// The lease ended with the operation, and the caller gets the checkout.
    Over {
        /// The checkout, to be reset or closed.
        checkout: S,
        /// The last state of the lease.
        view: LeaseView,
        /// Why it ended.
        reason: EndReason,
    },
    /// No operation runs under this id, so the table does not take the checkout. It cannot happen
    /// if `end` is called once for every `begin`, and not after `lost`.
    Unknown(S),
}

/// The result of [`LeaseTable::revoke`](super::LeaseTable::revoke).
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Revoked<S, H> {
    /// The lease was idle and has ended.
    Over {
        /// The checkout, to be reset or closed.
        checkout: S,
        /// The last state of the lease.
        view: LeaseView,
    },
    /// The lease is busy and will end with its operation.
    Ending {
        /// The handle that cancels the operation.
        handle: H,
        /// The present state of the lease.
        view: LeaseView,
    },
}

/// What a clock that ran out requires.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Due<S, H> {
    /// A clock of an idle lease ran out, which ended the lease.
    Over {
        id: ConnectionId,
        /// The checkout, to be reset or closed.
        checkout: S,
        /// The last state of the lease.
        view: LeaseView,
        /// Which clock ran out.
        reason: EndReason,
    },
    /// The lifetime of a busy lease is over; the lease will end with its operation. Reported once.
    Overdue {
        id: ConnectionId,
        /// The handle that cancels the operation.
        handle: H,
        /// The present state of the lease.
        view: LeaseView,
    },
}

/// The result of [`LeaseTable::end_all`](super::LeaseTable::end_all): the checkouts of the leases
/// that have ended, and the handles of those that will end with their operations.
pub type AllEnded<S, H> = (Vec<(S, LeaseView)>, Vec<(H, LeaseView)>);

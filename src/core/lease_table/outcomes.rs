//! What the calls of the table come to.

use super::super::ids::ConnectionId;
use super::{EndReason, Tombstone, View};

/// Why something cannot be done with a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No lease has this id, and none that is still remembered had it.
    NotFound,
    /// An operation runs under the lease. The lease as it is; boxed, for it is large.
    Busy(Box<View>),
    /// The lease is used in another way than this one.
    OtherWay(Box<View>),
    /// The lease is over.
    Ended(Tombstone),
}

/// What [`LeaseTable::end`](super::LeaseTable::end) made of the lease.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<S> {
    /// The lease goes on and has its session back.
    Kept(View),
    /// The lease ended with the operation, and the session is the caller's.
    Over {
        /// The session, to be reset or closed.
        session: S,
        /// The lease as it was last.
        view: View,
        /// Why it ended.
        reason: EndReason,
    },
    /// No operation runs under this id, so the table does not take the session. Whoever calls `end`
    /// once for every `begin`, and not after `lost`, does not see this.
    Unknown(S),
}

/// What [`LeaseTable::revoke`](super::LeaseTable::revoke) came to.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Revoked<S, H> {
    /// The lease was idle and has ended.
    Over {
        /// The session, to be reset or closed.
        session: S,
        /// The lease as it was last.
        view: View,
    },
    /// The lease is busy and ends with its operation.
    Ending {
        /// How to cancel the operation.
        handle: H,
        /// The lease as it is.
        view: View,
    },
}

/// What the clocks ask for.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Due<S, H> {
    /// A clock of an idle lease ran out; the lease has ended.
    Over {
        /// The id it had.
        id: ConnectionId,
        /// The session, to be reset or closed.
        session: S,
        /// The lease as it was last.
        view: View,
        /// Which clock it was.
        reason: EndReason,
    },
    /// A busy lease has lasted as long as a lease may; it ends with its operation. Comes once.
    Overdue {
        /// Its id.
        id: ConnectionId,
        /// How to cancel the operation.
        handle: H,
        /// The lease as it is.
        view: View,
    },
}

/// What [`LeaseTable::end_all`](super::LeaseTable::end_all) came to: the sessions of the leases that
/// have ended, and how to cancel the operations of those that are about to.
pub type AllEnded<S, H> = (Vec<(S, View)>, Vec<(H, View)>);

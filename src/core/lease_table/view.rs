//! What is public about a lease, while it lasts and after its end.

use super::super::callers::CallerId;
use super::super::ids::TenantId;
use super::super::transaction::TransactionState;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The clocks of a lease. The caller checks that they are in their allowed ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease may be idle. Restarted by the start and the end of every operation and by
    /// [`renew`](super::LeaseTable::renew); stopped while an operation runs.
    pub ttl: Duration,
    /// How long a lease may be idle with an open transaction. Runs from the end of the last
    /// operation; only an operation restarts it.
    pub idle_in_transaction: Duration,
    /// How long a lease may last in total. Runs from the grant and is never restarted.
    pub max_lifetime: Duration,
}

/// What is public about a lease. Nothing in here gives the right to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// The public name of the lease.
    pub lease_name: String,
    /// The tenant that the backend belongs to.
    pub tenant: TenantId,
    /// The process id of the backend.
    pub backend_pid: i32,
    /// Increases from lease to lease, so that other systems can reject a stale holder.
    pub fencing_token: u64,
    /// Who asked for the lease.
    pub holder: String,
    /// The network address the request came from.
    pub peer: String,
    /// Whom it is bound to, if its caller has an identity.
    pub identity: Option<CallerId>,
    /// How it may be used.
    pub via: Via,
}

/// How a lease is used: each in one way, and any other use is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// By calls that name its id.
    Call,
    /// By the stream that it belongs to and ends with.
    Stream,
}

/// What an operation leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The transaction state.
    pub transaction: TransactionState,
    /// The tag of its last command, if one was completed.
    pub command: Option<String>,
}

impl From<TransactionState> for Left {
    fn from(transaction: TransactionState) -> Left {
        Left { transaction, command: None }
    }
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndReason {
    /// Its holder released it.
    Released,
    /// It was idle for too long.
    Ttl,
    /// It was idle for too long with an open transaction.
    IdleInTransaction,
    /// Its lifetime was over.
    MaxLifetime,
    /// The checkout broke, or its state became unknown.
    BackendLost,
    /// An operator revoked it, or its holder released it by force.
    Revoked,
    /// The stream it belonged to was broken.
    StreamLost,
    /// Its caller had disconnected before the grant could be delivered.
    Undelivered,
    /// Its tenant was removed.
    TenantRemoved,
    /// The service stopped.
    Shutdown,
}

/// Whether an operation runs under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseState {
    /// The checkout is idle. Exits: `begin` to `Busy`, or the end of the lease.
    Idle,
    /// An operation has the checkout. Exits: `end` to `Idle`, or the end of the lease.
    Busy,
}

/// The state of a lease at one moment; after its end, the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// What is public about it. Every request on a lease has a view; none copies this.
    pub facts: Arc<LeaseFacts>,
    /// Whether an operation runs.
    pub state: LeaseState,
    /// The transaction state the last operation left behind.
    pub transaction: TransactionState,
    /// The length of the ttl clock.
    pub ttl: Duration,
    /// How long it may be idle with an open transaction.
    pub idle_in_transaction: Duration,
    /// What is left on the ttl clock; all of it while busy, as it restarts at the operation's end.
    pub ttl_remaining: Duration,
    /// What is left of its lifetime.
    pub lifetime_remaining: Duration,
    /// When it was granted.
    pub granted_at: Instant,
    /// When an operation last began or ended; before the first one, the grant.
    pub last_used_at: Instant,
    /// When an operation first left the present transaction open.
    pub transaction_since: Option<Instant>,
    /// The tag of the last command that was completed; empty before the first.
    pub last_command: String,
}

/// The record of a lease that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The public name of the lease.
    pub lease_name: String,
    /// The tenant that the backend belonged to.
    pub tenant: TenantId,
    /// Why it ended.
    pub reason: EndReason,
    /// When it ended. For an idle lease whose clock ran out, the moment at which it did.
    pub ended_at: Instant,
}

impl EndReason {
    /// All reasons.
    pub const ALL: &'static [EndReason] = &[
        EndReason::Released,
        EndReason::Ttl,
        EndReason::IdleInTransaction,
        EndReason::MaxLifetime,
        EndReason::BackendLost,
        EndReason::Revoked,
        EndReason::StreamLost,
        EndReason::Undelivered,
        EndReason::TenantRemoved,
        EndReason::Shutdown,
    ];

    /// The name in metrics and log lines, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Released => "released",
            EndReason::Ttl => "ttl",
            EndReason::IdleInTransaction => "idle_in_transaction",
            EndReason::MaxLifetime => "max_lifetime",
            EndReason::BackendLost => "backend_lost",
            EndReason::Revoked => "revoked",
            EndReason::StreamLost => "stream_lost",
            EndReason::Undelivered => "undelivered",
            EndReason::TenantRemoved => "tenant_removed",
            EndReason::Shutdown => "shutdown",
        }
    }
}

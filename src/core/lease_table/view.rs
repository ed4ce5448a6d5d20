//! What may be told about a lease, while it lasts and after its end.

use super::super::ids::TenantId;
use super::super::transaction::TransactionState;
use std::time::{Duration, Instant};

/// The clocks of a lease. The allowed ranges are the caller's to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease may be idle. Restarted by the start and the end of every operation and by
    /// [`renew`](super::LeaseTable::renew); stands still while an operation runs.
    pub ttl: Duration,
    /// How long a lease may be idle with an open transaction. Runs from the end of the last
    /// operation, and nothing but an operation restarts it.
    pub idle_in_transaction: Duration,
    /// How long a lease may last at all. Runs from the grant and is never restarted.
    pub max_lifetime: Duration,
}

/// What may be told about a lease. Nothing in here gives the right to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The public name of the lease.
    pub lease_name: String,
    /// Whose backend it is.
    pub tenant: TenantId,
    /// The process id of the backend.
    pub backend_pid: i32,
    /// Grows from lease to lease, so that a system behind can turn down a late holder.
    pub fencing_token: u64,
    /// Who asked for the lease.
    pub holder: String,
    /// The network address it was asked for from.
    pub peer: String,
    /// The one way in which it may be used.
    pub via: Via,
}

/// How a lease is used: each has one way, and is denied to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// By calls that name its id.
    Call,
    /// By the stream that it belongs to, and that it ends with.
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
    /// Its holder gave it back.
    Released,
    /// It was idle for too long.
    Ttl,
    /// It was idle for too long with an open transaction.
    IdleInTransaction,
    /// It lasted as long as a lease may.
    MaxLifetime,
    /// The session broke, or its state became unknown.
    BackendLost,
    /// An operator, or its holder by force, took it away.
    Revoked,
    /// The stream it belonged to broke off.
    StreamLost,
    /// It was granted to a caller that was gone before it could be told.
    Undelivered,
    /// Its tenant was taken out of service.
    TenantRemoved,
    /// The service stopped.
    Shutdown,
}

/// Whether an operation runs under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseState {
    /// The session is at rest. Exits: `begin` to `Busy`, or the end of the lease.
    Idle,
    /// An operation has the session. Exits: `end` to `Idle`, or the end of the lease.
    Busy,
}

/// A lease as it was at one moment; after its end, as it was last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// What may be told about it.
    pub facts: Facts,
    /// Whether an operation runs.
    pub state: LeaseState,
    /// The transaction state the last operation left behind.
    pub transaction: TransactionState,
    /// The length of the ttl clock.
    pub ttl: Duration,
    /// How long it may be idle with an open transaction.
    pub idle_in_transaction: Duration,
    /// What is left on the ttl clock; all of it while busy, for it starts anew at the end.
    pub ttl_remaining: Duration,
    /// What is left of the longest time it may last.
    pub lifetime_remaining: Duration,
    /// When it was granted.
    pub granted_at: Instant,
    /// When an operation last began or ended; before the first one, the grant.
    pub last_used_at: Instant,
    /// Since when operations have left a transaction open: the end of the first that did.
    pub transaction_since: Option<Instant>,
    /// The tag of the last command that was completed; empty before the first.
    pub last_command: String,
}

/// What remains of a lease that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The public name of the lease.
    pub lease_name: String,
    /// Whose backend it was.
    pub tenant: TenantId,
    /// Why it ended.
    pub reason: EndReason,
    /// When it ended. If a clock of an idle lease ran out, the moment at which it did.
    pub ended_at: Instant,
}

impl EndReason {
    /// Every reason there is.
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

    /// The reason in snake case, as metrics and log lines name it.
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

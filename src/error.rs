//! The errors of a request, classified by what a caller can do about them.
//!
//! Independent of gRPC; `rpc::convert::status` turns it into a status by one exhaustive
//! match. No variant carries a DSN, a password, a connection id or a parameter.

mod connect;
mod display;
mod excess;
mod from;
mod kinds;
mod postgres;
mod work;

use std::sync::Arc;
use std::time::Duration;

use crate::core::access::{AccessDenied, CallerIdentity};
use crate::core::gate::GateRefusal;
use crate::core::ids::TenantId;
use crate::core::lease_table::Tombstone;
use crate::core::token_bucket::TokenRate;

pub use self::connect::ConnectError;
pub use self::excess::{Excess, NOTICES_BYTES, NOTICES_MAX};
pub use self::postgres::PgFault;
pub use self::work::{CancelCause, Outcome, Work};

/// Why a request failed.
#[derive(Debug, Clone)]
pub enum RequestError {
    /// A request field breaks a rule. `field` is the field's path, `rule` says
    /// what is allowed.
    Invalid {
        /// The field, as named in the proto file.
        field: &'static str,
        /// The rule, as a sentence for the caller.
        rule: String,
    },
    /// The request did not arrive completely within its time limit.
    RequestTimeout {
        /// The limit.
        limit: Duration,
    },
    /// No such lease.
    LeaseNotFound,
    /// No lease has this public name now.
    NoLeaseNamed,
    /// The lease has ended.
    LeaseEnded(Tombstone),
    /// An operation runs on the lease.
    LeaseBusy {
        /// Public name of the lease.
        lease_name: String,
    },
    /// No such tenant.
    TenantNotFound(TenantId),
    /// The tenant was registered with another DSN.
    DsnMismatch {
        /// The tenant.
        tenant: TenantId,
        /// The keys that differ; no values.
        keys: Vec<String>,
        /// The operator has configured the tenant: no other DSN may take over.
        configured: bool,
    },
    /// The tenant is not configured, and no DSN of a client is taken.
    DsnNotTaken {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant's queue is full.
    QueueFull {
        /// The tenant.
        tenant: TenantId,
        /// Permits out.
        used: usize,
        /// Requests in the queue.
        waiting: usize,
        /// The most that may wait.
        limit: usize,
    },
    /// A limit of the whole service is reached.
    ServiceLimit {
        /// What is limited.
        what: &'static str,
        /// In use, the request included.
        used: usize,
        /// The limit.
        limit: usize,
    },
    /// The request's own wait_timeout ran out in the queue.
    WaitTimeout {
        /// The tenant.
        tenant: TenantId,
        /// How long it waited.
        waited: Duration,
        /// Its position in the queue.
        standing: QueuePosition,
    },
    /// A limit of one caller is reached.
    CallerLimit {
        /// The tenant.
        tenant: TenantId,
        /// What is limited.
        what: &'static str,
        /// What the caller has.
        used: usize,
        /// The most it may have.
        limit: usize,
    },
    /// An identity makes more requests a second than it may.
    RateLimited {
        /// Who.
        identity: Arc<CallerIdentity>,
        /// What it may.
        rate: TokenRate,
        /// When its next request is admitted.
        retry: Duration,
    },
    /// A later call with the same request_id has replaced this one.
    Superseded,
    /// The lease belongs to a Session stream, and only that may use it.
    LeaseOnStream {
        /// Public name of the lease.
        lease_name: String,
    },
    /// An operator has paused the tenant, and its requests are refused meanwhile.
    TenantPaused(TenantId),
    /// The settings that were read again are wrong, so that all stay as they were.
    ReloadFailed {
        /// What is wrong with them; no secret.
        faults: String,
    },
    /// The service is stopping, or the tenant's pool is being closed.
    Draining,
    /// No backend could be opened.
    Connect {
        /// The tenant.
        tenant: TenantId,
        /// What happened.
        cause: ConnectError,
    },
    /// No backend was idle, and none is being opened, because the last attempts
    /// have all failed.
    BreakerOpen {
        /// The tenant.
        tenant: TenantId,
        /// What the last attempt failed with.
        cause: ConnectError,
        /// How long ago.
        age: Duration,
        /// When the next attempt is due.
        retry: Duration,
    },
    /// The backend was lost while the request used it.
    BackendLost {
        /// What became of the statements.
        work: Work,
        /// The error that PostgreSQL sent before it closed, if any.
        fault: Option<Box<PgFault>>,
        /// Why the service closed it, if it did.
        excess: Option<Excess>,
    },
    /// PostgreSQL answered a statement with an error.
    Sql {
        /// PostgreSQL's words.
        fault: Box<PgFault>,
        /// What became of the statements.
        work: Work,
    },
    /// A query or statement of the service's own failed, so the caller's statement was not
    /// run.
    Lookup {
        /// PostgreSQL's error, about a statement that the caller did not send.
        fault: Box<PgFault>,
        /// What became of the caller's statements.
        work: Work,
    },
    /// A statement ran past its timeout and was cancelled.
    StatementTimeout {
        /// The limit.
        limit: Duration,
        /// What became of the statements.
        work: Work,
        /// True: the statement did not stop, so its backend was closed.
        lease_ended: bool,
    },
    /// A statement was cancelled because its caller left or its lease ended.
    Cancelled {
        /// Why.
        by: CancelCause,
        /// What became of the statements.
        work: Work,
    },
    /// A parameter does not fit.
    Parameter {
        /// Statement, from 0.
        statement: usize,
        /// Parameter, from 1 as in `$1`.
        parameter: usize,
        /// The rule it breaks.
        rule: String,
        /// What became of the statements before.
        work: Work,
    },
    /// A value in a result could not be decoded.
    Undecodable {
        /// Column name.
        column: String,
        /// Why.
        why: String,
        /// What became of the statements.
        work: Work,
    },
    /// The result does not fit one message.
    ResultTooLarge {
        /// The most a result may have.
        limit_bytes: usize,
        /// What became of the statements.
        work: Work,
        /// True: the rest was too long to skip, and the statement was cancelled.
        cancelled: bool,
    },
    /// PostgreSQL answered COMMIT with ROLLBACK.
    RolledBack {
        /// What became of the statements.
        work: Work,
    },
    /// A one-shot, or the last call of a lease, left a transaction open; it was
    /// rolled back.
    LeftOpen {
        /// What became of the statements.
        work: Work,
    },
    /// Something this service does not do.
    Unsupported {
        /// What, and what to do instead.
        what: &'static str,
        /// What became of the statements before.
        work: Work,
    },
    /// The caller is not known, or may not do this.
    AccessDenied(AccessDenied),
    /// A defect of the service.
    Internal(&'static str),
}

/// The position of a request in a tenant's queue, with the state of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePosition {
    /// Permits out.
    pub used: usize,
    /// All permits.
    pub limit: usize,
    /// Requests still in the queue.
    pub waiting: usize,
    /// Its own position, from 1.
    pub position: usize,
    /// An operator has paused the tenant.
    pub is_paused: bool,
}

impl RequestError {
    /// A field that breaks a rule.
    pub fn invalid(field: &'static str, rule: impl Into<String>) -> RequestError {
        RequestError::Invalid { field, rule: rule.into() }
    }

    /// A refusal by a tenant's gate.
    pub fn refused(tenant: &TenantId, refusal: GateRefusal) -> RequestError {
        match refusal {
            GateRefusal::QueueFull { used, waiting, limit } => {
                RequestError::QueueFull { tenant: tenant.clone(), used, waiting, limit }
            }
            GateRefusal::CallerLimit { used, limit } => {
                let what = "leases at this tenant";
                RequestError::CallerLimit { tenant: tenant.clone(), what, used, limit }
            }
            GateRefusal::MayNotWait => {
                RequestError::Internal("a request was refused without a limit")
            }
            GateRefusal::Paused => RequestError::TenantPaused(tenant.clone()),
            GateRefusal::Draining | GateRefusal::Closed => RequestError::Draining,
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RequestError::Connect { cause, .. } | RequestError::BreakerOpen { cause, .. } => {
                Some(cause)
            }
            RequestError::Sql { fault, .. } | RequestError::Lookup { fault, .. } => Some(fault),
            RequestError::BackendLost { fault: Some(fault), .. } => Some(fault),
            _ => None,
        }
    }
}

//! The parts of a status besides its text: code, reason and details.

use std::time::Duration;

use super::code::{code_of, code_of_lookup};
use super::room;
use super::Code;
use crate::core::access::AccessDenied;
use crate::core::lease_table::Tombstone;
use crate::error::{CancelCause, ConnectError, Outcome, PgFault, RequestError, Work};
use crate::proto::error_details::ErrorInfo;
use crate::proto::errors::Reason;

/// The parts of a status besides its text.
pub(super) struct StatusParts<'a> {
    pub(super) code: Code,
    pub(super) reason: Reason,
    pub(super) info: ErrorInfo,
    pub(super) retry: Option<Duration>,
    pub(super) work: Option<Work>,
    pub(super) fault: Option<&'a PgFault>,
}

/// The retry delay after a refusal for want of capacity.
const SOON: Duration = Duration::from_millis(100);
/// The retry delay while the database or the service is unavailable.
const LATER: Duration = Duration::from_secs(1);

impl<'a> StatusParts<'a> {
    fn new(code: Code, reason: Reason) -> StatusParts<'a> {
        StatusParts {
            code,
            reason,
            info: ErrorInfo::default(),
            retry: None,
            work: None,
            fault: None,
        }
    }

    fn with(mut self, key: &str, value: impl ToString) -> StatusParts<'a> {
        self.info.metadata.insert(key.to_owned(), room::value(&value.to_string()));
        self
    }

    fn retry(mut self, delay: Duration) -> StatusParts<'a> {
        self.retry = Some(delay);
        self
    }

    fn work(mut self, work: &Work) -> StatusParts<'a> {
        self.work = Some(*work);
        self
    }

    fn fault(mut self, fault: &'a PgFault) -> StatusParts<'a> {
        self.fault = Some(fault);
        self.with("sqlstate", &fault.sqlstate)
    }

    pub(super) fn of(error: &'a RequestError) -> StatusParts<'a> {
        match error {
            RequestError::Invalid { field, .. } => {
                StatusParts::new(Code::INVALID_ARGUMENT, Reason::REASON_INVALID_ARGUMENT)
                    .with("field", field)
            }
            RequestError::RequestTimeout { .. } => {
                StatusParts::new(Code::DEADLINE_EXCEEDED, Reason::REASON_REQUEST_TIMEOUT)
            }
            RequestError::LeaseNotFound | RequestError::NoLeaseNamed => {
                StatusParts::new(Code::NOT_FOUND, Reason::REASON_LEASE_NOT_FOUND)
            }
            RequestError::LeaseEnded(tombstone) => StatusParts::ended(tombstone),
            RequestError::LeaseBusy { lease_name } => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_LEASE_BUSY)
                    .with("lease_name", lease_name)
                    .retry(SOON)
            }
            RequestError::TenantNotFound(tenant) => {
                StatusParts::new(Code::NOT_FOUND, Reason::REASON_TENANT_NOT_FOUND)
                    .with("tenant", tenant)
            }
            RequestError::DsnMismatch { tenant, keys, .. } => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_DSN_MISMATCH)
                    .with("tenant", tenant)
                    .with("keys", keys.join(","))
            }
            RequestError::DsnNotTaken { tenant } => {
                StatusParts::new(Code::PERMISSION_DENIED, Reason::REASON_DSN_NOT_TAKEN)
                    .with("tenant", tenant)
            }
            RequestError::QueueFull { tenant, used, waiting, limit } => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_QUEUE_FULL)
                    .with("tenant", tenant)
                    .with("used", used)
                    .with("waiting", waiting)
                    .with("limit", limit)
                    .with("position", waiting + 1)
                    .retry(SOON)
            }
            RequestError::ServiceLimit { used, limit, .. } => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_SERVICE_LIMIT)
                    .with("used", used)
                    .with("limit", limit)
                    .retry(LATER)
            }
            RequestError::WaitTimeout { tenant, standing, .. } => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_WAIT_TIMEOUT)
                    .with("tenant", tenant)
                    .with("used", standing.used)
                    .with("waiting", standing.waiting)
                    .with("limit", standing.limit)
                    .with("position", standing.position)
                    .with("paused", standing.is_paused)
                    .retry(SOON)
            }
            RequestError::CallerLimit { tenant, used, limit, .. } => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_CALLER_LIMIT)
                    .with("tenant", tenant)
                    .with("used", used)
                    .with("limit", limit)
                    .retry(SOON)
            }
            RequestError::RateLimited { rate, retry, .. } => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_RATE_LIMITED)
                    .with("limit", rate.per_second)
                    .with("burst", rate.burst)
                    .retry(*retry)
            }
            RequestError::Superseded => StatusParts::new(Code::ABORTED, Reason::REASON_SUPERSEDED),
            RequestError::LeaseOnStream { lease_name } => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_LEASE_ON_STREAM)
                    .with("lease_name", lease_name)
            }
            RequestError::TenantPaused(tenant) => {
                StatusParts::new(Code::UNAVAILABLE, Reason::REASON_TENANT_PAUSED)
                    .with("tenant", tenant)
                    .retry(LATER)
            }
            RequestError::ReloadFailed { .. } => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_RELOAD_FAILED)
            }
            RequestError::Draining => {
                StatusParts::new(Code::UNAVAILABLE, Reason::REASON_DRAINING).retry(LATER)
            }
            RequestError::Connect { tenant, cause } => {
                StatusParts::connect(cause).with("tenant", tenant)
            }
            RequestError::BreakerOpen { tenant, cause, retry, .. } => {
                let parts = StatusParts::new(Code::UNAVAILABLE, Reason::REASON_BREAKER_OPEN)
                    .with("tenant", tenant)
                    .retry((*retry).max(SOON));
                match cause {
                    ConnectError::Rejected(fault) | ConnectError::Busy(fault) => parts.fault(fault),
                    _ => parts,
                }
            }
            RequestError::BackendLost { work, fault, .. } => {
                let parts = match work.outcome {
                    Outcome::NotStarted => {
                        StatusParts::new(Code::UNAVAILABLE, Reason::REASON_BACKEND_LOST).retry(SOON)
                    }
                    Outcome::NotApplied => {
                        StatusParts::new(Code::ABORTED, Reason::REASON_BACKEND_LOST)
                    }
                    Outcome::Applied | Outcome::Unknown => {
                        StatusParts::new(Code::UNKNOWN, Reason::REASON_BACKEND_LOST)
                    }
                };
                let parts = parts.work(work);
                match fault {
                    Some(fault) => parts.fault(fault),
                    None => parts,
                }
            }
            RequestError::Sql { fault, work } => {
                StatusParts::new(code_of(&fault.sqlstate), Reason::REASON_SQL_ERROR)
                    .work(work)
                    .fault(fault)
            }
            // The texts are about a statement that the caller did not send.
            RequestError::Lookup { fault, work } => {
                StatusParts::new(code_of_lookup(&fault.sqlstate), Reason::REASON_LOOKUP_FAILED)
                    .with("sqlstate", &fault.sqlstate)
                    .work(work)
            }
            RequestError::StatementTimeout { work, .. } => {
                StatusParts::new(Code::DEADLINE_EXCEEDED, Reason::REASON_STATEMENT_TIMEOUT)
                    .work(work)
            }
            RequestError::Cancelled { by, work } => {
                let code = match by {
                    CancelCause::Caller | CancelCause::Unfinished => Code::CANCELLED,
                    // Another attempt would fail in the same way.
                    CancelCause::Notices => Code::FAILED_PRECONDITION,
                    _ => Code::ABORTED,
                };
                StatusParts::new(code, Reason::REASON_CANCELLED)
                    .work(work)
                    .with("cause", by.as_str())
            }
            RequestError::Parameter { work, .. } => {
                StatusParts::new(Code::INVALID_ARGUMENT, Reason::REASON_INVALID_ARGUMENT)
                    .with("field", "statements.parameters")
                    .work(work)
            }
            RequestError::Undecodable { work, .. } => {
                StatusParts::new(Code::UNIMPLEMENTED, Reason::REASON_UNSUPPORTED).work(work)
            }
            RequestError::ResultTooLarge { limit_bytes, work, .. } => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_RESULT_TOO_LARGE)
                    .with("limit", limit_bytes)
                    .work(work)
            }
            RequestError::RolledBack { work } => {
                StatusParts::new(Code::ABORTED, Reason::REASON_TRANSACTION_ROLLED_BACK).work(work)
            }
            RequestError::LeftOpen { work } => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_TRANSACTION_LEFT_OPEN)
                    .work(work)
            }
            RequestError::Unsupported { work, .. } => {
                StatusParts::new(Code::UNIMPLEMENTED, Reason::REASON_UNSUPPORTED).work(work)
            }
            RequestError::AccessDenied(denied) => StatusParts::denied(denied),
            RequestError::Internal(_) => StatusParts::new(Code::INTERNAL, Reason::REASON_INTERNAL),
        }
    }

    fn denied(denied: &AccessDenied) -> StatusParts<'a> {
        let (code, reason) = match denied {
            AccessDenied::Unauthenticated(_) => {
                (Code::UNAUTHENTICATED, Reason::REASON_UNAUTHENTICATED)
            }
            AccessDenied::Tenant { .. } | AccessDenied::Role { .. } => {
                (Code::PERMISSION_DENIED, Reason::REASON_PERMISSION_DENIED)
            }
        };
        StatusParts::new(code, reason).with("cause", denied.as_str())
    }

    fn ended(tombstone: &Tombstone) -> StatusParts<'a> {
        StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_LEASE_ENDED)
            .with("lease_name", &tombstone.lease_name)
            .with("tenant", &tombstone.tenant)
            .with("end_reason", tombstone.reason.as_str())
    }

    fn connect(cause: &'a ConnectError) -> StatusParts<'a> {
        match cause.lead() {
            ConnectError::Rejected(fault) => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_CONNECT_REJECTED)
                    .fault(fault)
            }
            ConnectError::Deferred { refusals, retry, .. } => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_LOGIN_LIMIT)
                    .with("refusals", refusals)
                    .retry((*retry).max(SOON))
            }
            ConnectError::Forbidden { .. } => {
                StatusParts::new(Code::PERMISSION_DENIED, Reason::REASON_HOST_NOT_ALLOWED)
            }
            ConnectError::Settings(_) | ConnectError::Untrusted { .. } => {
                StatusParts::new(Code::FAILED_PRECONDITION, Reason::REASON_CONNECT_REJECTED)
            }
            ConnectError::Busy(fault) if fault.sqlstate.starts_with("53") => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_DATABASE_FULL)
                    .fault(fault)
                    .retry(LATER)
            }
            ConnectError::NoRoom { used, waiting, .. } => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_DATABASE_FULL)
                    .with("used", used)
                    .with("waiting", waiting)
                    .retry(LATER)
            }
            ConnectError::Busy(fault) => {
                StatusParts::new(Code::UNAVAILABLE, Reason::REASON_DATABASE_UNAVAILABLE)
                    .fault(fault)
                    .retry(LATER)
            }
            ConnectError::Unreachable { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::WrongRole { .. } => {
                StatusParts::new(Code::UNAVAILABLE, Reason::REASON_DATABASE_UNAVAILABLE)
                    .retry(LATER)
            }
            ConnectError::Starved(_) => {
                StatusParts::new(Code::RESOURCE_EXHAUSTED, Reason::REASON_SERVICE_LIMIT)
                    .retry(LATER)
            }
            ConnectError::Panicked | ConnectError::Several(_) => {
                StatusParts::new(Code::INTERNAL, Reason::REASON_INTERNAL)
            }
        }
    }
}

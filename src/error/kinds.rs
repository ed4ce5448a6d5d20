//! The name of each kind of error, and whether it is retryable.

use crate::core::access::AccessDenied;
use crate::error::{ConnectError, Outcome, RequestError};

impl RequestError {
    /// Why no connection was opened for the request, if that is what it failed of.
    pub fn failed_connect(&self) -> Option<&ConnectError> {
        match self {
            RequestError::Connect { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// True if the same request may succeed later without a change.
    pub fn is_retryable(&self) -> bool {
        match self {
            RequestError::QueueFull { .. }
            | RequestError::ServiceLimit { .. }
            | RequestError::WaitTimeout { .. }
            | RequestError::CallerLimit { .. }
            | RequestError::RateLimited { .. }
            | RequestError::BreakerOpen { .. }
            | RequestError::TenantPaused(_)
            | RequestError::Draining => true,
            RequestError::Connect { cause, .. } => cause.is_retryable(),
            RequestError::BackendLost { work, .. } => {
                matches!(work.outcome, Outcome::NotStarted | Outcome::NotApplied)
            }
            RequestError::Invalid { .. }
            | RequestError::RequestTimeout { .. }
            | RequestError::LeaseNotFound
            | RequestError::NoLeaseNamed
            | RequestError::LeaseEnded(_)
            | RequestError::LeaseBusy { .. }
            | RequestError::TenantNotFound(_)
            | RequestError::DsnMismatch { .. }
            | RequestError::DsnNotTaken { .. }
            | RequestError::Superseded
            | RequestError::LeaseOnStream { .. }
            | RequestError::Sql { .. }
            | RequestError::Lookup { .. }
            | RequestError::StatementTimeout { .. }
            | RequestError::Cancelled { .. }
            | RequestError::Parameter { .. }
            | RequestError::Undecodable { .. }
            | RequestError::ResultTooLarge { .. }
            | RequestError::RolledBack { .. }
            | RequestError::LeftOpen { .. }
            | RequestError::Unsupported { .. }
            | RequestError::AccessDenied(_)
            | RequestError::ReloadFailed { .. }
            | RequestError::Internal(_) => false,
        }
    }

    /// The name in metrics: short, from a closed set.
    pub fn as_str(&self) -> &'static str {
        match self {
            RequestError::Invalid { .. } => "invalid_argument",
            RequestError::RequestTimeout { .. } => "request_timeout",
            RequestError::LeaseNotFound | RequestError::NoLeaseNamed => "lease_not_found",
            RequestError::LeaseEnded(_) => "lease_ended",
            RequestError::LeaseBusy { .. } => "lease_busy",
            RequestError::TenantNotFound(_) => "tenant_not_found",
            RequestError::DsnMismatch { .. } => "dsn_mismatch",
            RequestError::DsnNotTaken { .. } => "dsn_not_taken",
            RequestError::QueueFull { .. } => "queue_full",
            RequestError::ServiceLimit { .. } => "service_limit",
            RequestError::WaitTimeout { .. } => "wait_timeout",
            RequestError::CallerLimit { .. } => "caller_limit",
            RequestError::RateLimited { .. } => "rate_limited",
            RequestError::Superseded => "superseded",
            RequestError::LeaseOnStream { .. } => "lease_on_stream",
            RequestError::ReloadFailed { .. } => "reload_failed",
            RequestError::TenantPaused(_) => "tenant_paused",
            RequestError::Draining => "draining",
            RequestError::Connect { cause, .. } => cause.reason(),
            RequestError::BreakerOpen { .. } => "breaker_open",
            RequestError::BackendLost { .. } => "backend_lost",
            RequestError::Sql { .. } => "sql",
            RequestError::Lookup { .. } => "lookup",
            RequestError::StatementTimeout { .. } => "statement_timeout",
            RequestError::Cancelled { .. } => "cancelled",
            RequestError::Parameter { .. } => "parameter",
            RequestError::Undecodable { .. } => "undecodable",
            RequestError::ResultTooLarge { .. } => "result_too_large",
            RequestError::RolledBack { .. } => "rolled_back",
            RequestError::LeftOpen { .. } => "left_open",
            RequestError::Unsupported { .. } => "unsupported",
            RequestError::AccessDenied(AccessDenied::Unauthenticated(_)) => "unauthenticated",
            RequestError::AccessDenied(_) => "permission_denied",
            RequestError::Internal(_) => "internal",
        }
    }
}

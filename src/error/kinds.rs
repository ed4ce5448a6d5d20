//! The name of each kind of error, and whether it is retryable.

use crate::core::access::AccessDenied;
use crate::error::{Error, Outcome};

impl Error {
    /// True if the same request may succeed later without a change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::QueueFull { .. }
            | Error::ServiceLimit { .. }
            | Error::WaitTimeout { .. }
            | Error::CallerLimit { .. }
            | Error::RateLimited { .. }
            | Error::BreakerOpen { .. }
            | Error::TenantPaused(_)
            | Error::Draining => true,
            Error::Connect { cause, .. } => cause.is_retryable(),
            Error::BackendLost { work, .. } => {
                matches!(work.outcome, Outcome::NotStarted | Outcome::NotApplied)
            }
            Error::Invalid { .. }
            | Error::RequestTimeout { .. }
            | Error::LeaseNotFound
            | Error::NoLeaseNamed
            | Error::LeaseEnded(_)
            | Error::LeaseBusy { .. }
            | Error::TenantNotFound(_)
            | Error::DsnMismatch { .. }
            | Error::DsnNotTaken { .. }
            | Error::Superseded
            | Error::LeaseOnStream { .. }
            | Error::Sql { .. }
            | Error::Lookup { .. }
            | Error::StatementTimeout { .. }
            | Error::Cancelled { .. }
            | Error::Parameter { .. }
            | Error::Undecodable { .. }
            | Error::ResultTooLarge { .. }
            | Error::RolledBack { .. }
            | Error::LeftOpen { .. }
            | Error::Unsupported { .. }
            | Error::AccessDenied(_)
            | Error::ReloadFailed { .. }
            | Error::Internal(_) => false,
        }
    }

    /// The name in metrics: short, from a closed set.
    pub fn as_str(&self) -> &'static str {
        match self {
            Error::Invalid { .. } => "invalid_argument",
            Error::RequestTimeout { .. } => "request_timeout",
            Error::LeaseNotFound | Error::NoLeaseNamed => "lease_not_found",
            Error::LeaseEnded(_) => "lease_ended",
            Error::LeaseBusy { .. } => "lease_busy",
            Error::TenantNotFound(_) => "tenant_not_found",
            Error::DsnMismatch { .. } => "dsn_mismatch",
            Error::DsnNotTaken { .. } => "dsn_not_taken",
            Error::QueueFull { .. } => "queue_full",
            Error::ServiceLimit { .. } => "service_limit",
            Error::WaitTimeout { .. } => "wait_timeout",
            Error::CallerLimit { .. } => "caller_limit",
            Error::RateLimited { .. } => "rate_limited",
            Error::Superseded => "superseded",
            Error::LeaseOnStream { .. } => "lease_on_stream",
            Error::ReloadFailed { .. } => "reload_failed",
            Error::TenantPaused(_) => "tenant_paused",
            Error::Draining => "draining",
            Error::Connect { cause, .. } => cause.reason(),
            Error::BreakerOpen { .. } => "breaker_open",
            Error::BackendLost { .. } => "backend_lost",
            Error::Sql { .. } => "sql",
            Error::Lookup { .. } => "lookup",
            Error::StatementTimeout { .. } => "statement_timeout",
            Error::Cancelled { .. } => "cancelled",
            Error::Parameter { .. } => "parameter",
            Error::Undecodable { .. } => "undecodable",
            Error::ResultTooLarge { .. } => "result_too_large",
            Error::RolledBack { .. } => "rolled_back",
            Error::LeftOpen { .. } => "left_open",
            Error::Unsupported { .. } => "unsupported",
            Error::AccessDenied(AccessDenied::Unauthenticated(_)) => "unauthenticated",
            Error::AccessDenied(_) => "permission_denied",
            Error::Internal(_) => "internal",
        }
    }
}

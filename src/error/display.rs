//! The texts of the errors.

use std::fmt;
use std::time::Duration;

use super::excess::{NOTICES_BYTES, NOTICES_MAX};
use super::{CancelCause, Outcome, PgFault, RequestError};

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Invalid { rule, .. } => f.write_str(rule),
            RequestError::RequestTimeout { limit } => write!(
                f,
                "the request did not arrive completely within {} ms, so nothing was done",
                limit.as_millis()
            ),
            RequestError::LeaseNotFound => f.write_str(
                "connection not found: this instance of the service has no such lease, and had none in the last 10 minutes",
            ),
            RequestError::NoLeaseNamed => {
                f.write_str("no lease has this name: it has ended, or there was none")
            }
            RequestError::LeaseEnded(t) => write!(
                f,
                "lease {} has ended ({})",
                t.lease_name,
                t.reason.as_str()
            ),
            RequestError::LeaseBusy { lease_name } => write!(
                f,
                "lease {lease_name} is busy: another operation runs on it"
            ),
            RequestError::TenantNotFound(tenant) => write!(f, "pool not found for tenant {tenant}"),
            RequestError::DsnMismatch { tenant, keys, configured: true } => {
                let keys = keys.join(", ");
                write!(f, "dsn differs from the configured one of tenant {tenant}: {keys}; send none")
            }
            RequestError::DsnMismatch { tenant, keys, configured: false } => {
                write!(f, "dsn differs from the one tenant {tenant} was registered with: ")?;
                mismatch(f, keys)
            }
            RequestError::DsnNotTaken { tenant } => write!(
                f,
                "tenant {tenant} is not configured, and this service takes no DSN of a client (allow_client_dsn)"
            ),
            RequestError::QueueFull {
                tenant,
                used,
                waiting,
                limit,
            } => write!(
                f,
                "the queue of tenant {tenant} is full: {waiting} of {limit} requests waiting, {used} connections in use"
            ),
            RequestError::ServiceLimit { what, used, limit } => {
                write!(f, "the service has reached its limit of {what}: {used} of {limit}")
            }
            RequestError::WaitTimeout { tenant, waited, standing } => write!(
                f,
                "no connection of tenant {tenant} became free within {} ms: {}{} of {} in use, position {} in the queue",
                waited.as_millis(),
                if standing.is_paused { "it is paused, " } else { "" },
                standing.used,
                standing.limit,
                standing.position
            ),
            RequestError::CallerLimit { tenant, what, used, limit } => write!(
                f,
                "this caller has reached its limit of {what} (tenant {tenant}): {used} of {limit}"
            ),
            RequestError::RateLimited { identity, rate, retry } => write!(
                f,
                "identity {} may make {} requests a second, {} at once (requests_per_second, request_burst): the next one in {} ms",
                identity.name(),
                rate.per_second,
                rate.burst,
                whole_millis(*retry)
            ),
            RequestError::Superseded => {
                f.write_str("a later call with the same request_id has replaced this one")
            }
            RequestError::LeaseOnStream { lease_name } => write!(
                f,
                "lease {lease_name} belongs to a Session stream; only that stream can use or end it"
            ),
            RequestError::TenantPaused(tenant) => write!(
                f,
                "tenant {tenant} is paused by an operator: no connection is given out until it is resumed"
            ),
            RequestError::ReloadFailed { faults } => {
                write!(f, "nothing was changed, because the settings are wrong: {faults}")
            }
            RequestError::Draining => {
                f.write_str("the service is stopping and grants no more leases")
            }
            RequestError::Connect { tenant, cause } => {
                write!(f, "cannot connect to the database of tenant {tenant}: {cause}")
            }
            RequestError::BreakerOpen { tenant, cause, age, .. } => write!(
                f,
                "no connection of tenant {tenant} is idle, and none is opened while the database is unavailable; the last attempt, {:.1} s ago, failed: {cause}",
                age.as_secs_f64()
            ),
            RequestError::BackendLost { fault, excess, work } => {
                f.write_str(match work.outcome {
                    Outcome::NotStarted => "the backend was lost before the statement was sent",
                    Outcome::NotApplied => "the backend was lost; nothing was applied",
                    Outcome::Applied | Outcome::Unknown => {
                        "the backend was lost; what became of the statement is unknown"
                    }
                })?;
                match (excess, fault) {
                    (Some(excess), _) => write!(f, ": {excess}"),
                    (None, Some(fault)) => write!(f, ": {fault}"),
                    (None, None) => Ok(()),
                }
            }
            // Results are read in PostgreSQL's binary form, which few types lack.
            RequestError::Sql { fault, .. } if lacks_binary_form(fault) => {
                write!(f, "{fault}; cast the column to ::text")
            }
            RequestError::Sql { fault, .. } => write!(f, "{fault}"),
            RequestError::Lookup { fault, .. } if fault.sqlstate == "26000" => write!(
                f,
                "a statement that the service had prepared no longer exists, so this one was not run: {fault}; DEALLOCATE ALL and DISCARD ALL remove such statements; they are prepared again once the transaction has ended"
            ),
            RequestError::Lookup { fault, .. } => write!(
                f,
                "the service's own look-up of a parameter's or a column's type failed, so the statement was not run: {fault}; where the statement casts to ::text, no look-up is needed"
            ),
            RequestError::StatementTimeout { limit, lease_ended, .. } => write!(
                f,
                "the statement ran longer than {} ms and was cancelled{}",
                limit.as_millis(),
                if *lease_ended { "; it did not stop, so its connection was closed" } else { "" }
            ),
            RequestError::Cancelled { by: CancelCause::Unfinished, .. } => {
                f.write_str("the stream ended without `finish`: the COPY was aborted and no rows were stored")
            }
            RequestError::Cancelled { by: CancelCause::Notices, .. } => write!(
                f,
                "the statement was cancelled: besides its rows it sent more than {NOTICES_MAX} notices and other messages, or more than {NOTICES_BYTES} bytes of them"
            ),
            RequestError::Cancelled { by, .. } => {
                write!(f, "the statement was cancelled ({})", by.as_str())
            }
            // The number of parameters is wrong.
            RequestError::Parameter { statement, parameter: 0, rule, .. } => {
                write!(f, "statements[{statement}].parameters: {rule}")
            }
            RequestError::Parameter { statement, parameter, rule, .. } => {
                write!(f, "statements[{statement}].parameters[{}] (${parameter}): {rule}", parameter - 1)
            }
            RequestError::Undecodable { column, why, .. } => {
                write!(f, "a value of column {column:?} cannot be sent: {why}")
            }
            RequestError::ResultTooLarge { limit_bytes, cancelled, .. } => write!(
                f,
                "the result, or a row of it, is larger than {limit_bytes} bytes{}; use max_rows, LIMIT, a cursor or Query; for one value or row of that size take parts of it (substr), or CopyOut",
                if *cancelled { ", and the statement was cancelled" } else { "" }
            ),
            RequestError::RolledBack { .. } => f.write_str(
                "the transaction had failed: PostgreSQL answered COMMIT with ROLLBACK, nothing was committed",
            ),
            RequestError::LeftOpen { .. } => f.write_str(
                "the call left a transaction open; it was rolled back",
            ),
            RequestError::Unsupported { what, .. } => f.write_str(what),
            RequestError::AccessDenied(denied) => denied.fmt(f),
            RequestError::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}

/// Rounded up: somebody who comes then is not early.
fn whole_millis(time: Duration) -> u128 {
    time.as_nanos().div_ceil(1_000_000)
}

/// The keys in which a DSN differs, and the remedy.
fn mismatch(f: &mut fmt::Formatter<'_>, keys: &[String]) -> fmt::Result {
    f.write_str(&keys.join(", "))?;
    // Also if the password was wrong too.
    if keys.iter().all(|key| SERVER_KEYS.contains(&key.as_str())) {
        f.write_str(
            "; other servers take over, with the same password, while the tenant has no lease, no call and no listener",
        )?;
    } else if keys.iter().any(|key| key != "password") {
        f.write_str(
            "; send the DSN that the tenant has, take another tenant_id, or leave the tenant unused until it is removed",
        )?;
    }
    Ok(())
}

/// The keys of a DSN that say where the servers are.
const SERVER_KEYS: [&str; 3] = ["host", "hostaddr", "port"];

/// True if a result could not be sent because its type, or one inside it, has no binary
/// form. Other errors with this SQLSTATE are about functions in the statement.
fn lacks_binary_form(fault: &PgFault) -> bool {
    let raised_by =
        ["getTypeBinaryOutputInfo", "array_send", "get_range_io_data", "get_multirange_io_data"];
    fault.sqlstate == "42883" && raised_by.contains(&fault.routine.as_str())
}

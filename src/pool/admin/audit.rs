//! The lines that tell what operators have done, or were refused.

use crate::core::access::{CallerIdentity, Role};
use crate::error::RequestError;
use crate::logging;
use crate::pool::caller::Caller;

/// The caller, if it has this role. An identity without it is logged with what it asked for, at a
/// bounded rate, because it may ask without end.
///
/// # Errors
/// The caller has no identity, or not the role.
pub fn expect<'a>(
    caller: &'a Caller,
    role: Role,
    action: &str,
) -> Result<&'a CallerIdentity, RequestError> {
    caller.expect_role(role).map_err(|denied| {
        let by = denied.identity().cloned();
        let error = RequestError::AccessDenied(denied);
        if let Some(by) = by.filter(|_| logging::admits("admin", None)) {
            line((&by, caller.peer().address()), action, format_args!(""), error.as_str());
        }
        error
    })
}

/// Writes what somebody has done to the log.
pub(super) fn tell<T>(
    (by, peer): (&CallerIdentity, &str),
    action: &str,
    on: std::fmt::Arguments<'_>,
    outcome: &Result<T, RequestError>,
) {
    line((by, peer), action, on, outcome.as_ref().err().map_or("done", RequestError::as_str));
}

fn line(
    (by, peer): (&CallerIdentity, &str),
    action: &str,
    on: std::fmt::Arguments<'_>,
    outcome: &str,
) {
    log::info!(target: logging::AUDIT, "event=admin action={action}{on} by={} peer={peer} outcome={outcome}", by.name());
}

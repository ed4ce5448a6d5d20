//! What an operator asks to have done, and what became of it.

use protobuf::EnumOrUnknown;

use super::fields::{invalid_dsn, unix_timestamp};
use super::health::{breaker, number};
use super::lease::{end_reason, outcome};
use crate::config::dsn::Dsn;
use crate::core::access::{IdentityPattern, TenantUsers};
use crate::core::gate::Pause;
use crate::core::ids::TenantId;
use crate::core::lease_table::EndReason;
use crate::error::RequestError;
use crate::pool::admin::actions::CheckedTenant;
use crate::pool::leases::release::Release;
use crate::pool::registry::putting::PutTenant;
use crate::pool::reloading::ReloadOutcome;
use crate::proto::admin as wire;

/// A parsed `mode` of a PauseTenant.
pub(in crate::rpc) fn pause(mode: EnumOrUnknown<wire::PauseMode>) -> Result<Pause, RequestError> {
    use wire::PauseMode as Wire;
    match mode.enum_value() {
        Ok(Wire::PAUSE_MODE_UNSPECIFIED | Wire::PAUSE_MODE_WAIT) => Ok(Pause::Wait),
        Ok(Wire::PAUSE_MODE_REFUSE) => Ok(Pause::Refuse),
        Err(_) => Err(RequestError::invalid("mode", "mode must be WAIT or REFUSE")),
    }
}

/// A parsed `max_connections` of a ResizeTenant.
pub(in crate::rpc) fn size(max_connections: i32) -> Result<usize, RequestError> {
    let rule = || RequestError::invalid("max_connections", "max_connections must be 1 or more");
    usize::try_from(max_connections).ok().filter(|size| *size > 0).ok_or_else(rule)
}

/// The answer to a CheckTenant.
pub(in crate::rpc) fn checked(checked: CheckedTenant) -> wire::CheckTenantResponse {
    let CheckedTenant { working, failed, after } = checked;
    let (error, at) = after.last_error.unzip();
    wire::CheckTenantResponse {
        status: after.level.as_str().to_owned(),
        breaker_state: breaker(after.figures.breaker).into(),
        working: number(working),
        failed: number(failed),
        last_error: error.unwrap_or_default(),
        last_error_at: at.map(unix_timestamp).into(),
        ..wire::CheckTenantResponse::default()
    }
}

/// The most identities of a PutTenant, and the most bytes of each.
const IDENTITIES_MAX: usize = 100;
const IDENTITY_BYTES: usize = 128;

/// A parsed PutTenant.
pub(in crate::rpc) fn put(
    request: &wire::PutTenantRequest,
) -> Result<(TenantId, PutTenant), RequestError> {
    let tenant = TenantId::parse(&request.tenant_id)?;
    let dsn = (!request.dsn.is_empty()).then(|| Dsn::parse(&request.dsn)).transpose();
    let dsn = dsn.map_err(|error| invalid_dsn(&error))?;
    let min_connections = request.min_connections.map(|least| {
        let rule = || RequestError::invalid("min_connections", "min_connections must be 0 or more");
        usize::try_from(least).map_err(|_| rule())
    });
    if request.identities.len() > IDENTITIES_MAX {
        let rule = format!("identities must be at most {IDENTITIES_MAX}");
        return Err(RequestError::invalid("identities", rule));
    }
    let identities = request.identities.iter().map(|text| {
        let short = text.len() <= IDENTITY_BYTES;
        let pattern = IdentityPattern::parse(if short { text } else { "" });
        pattern.map_err(|rule| RequestError::invalid("identities", format!("identities {rule}")))
    });
    let identities: Result<Vec<IdentityPattern>, RequestError> = identities.collect();
    let put = PutTenant {
        users: TenantUsers { anonymous: request.anonymous, identities: identities? },
        dsn,
        max_connections: request.max_connections.map(size).transpose()?,
        min_connections: min_connections.transpose()?,
    };
    Ok((tenant, put))
}

/// The answer to a RemoveTenant.
pub(in crate::rpc) fn removed(leases: usize) -> wire::RemoveTenantResponse {
    wire::RemoveTenantResponse { leases: number(leases), ..wire::RemoveTenantResponse::default() }
}

/// A parsed `lease_name`.
pub(in crate::rpc) fn lease_name(text: &str) -> Result<&str, RequestError> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > LEASE_NAME_BYTES || !printable {
        return Err(RequestError::invalid("lease_name", "lease_name must be that of a lease"));
    }
    Ok(text)
}

/// More than any name of a lease has.
const LEASE_NAME_BYTES: usize = 64;

/// The answer to a RevokeLease.
pub(in crate::rpc) fn revoked(release: Release) -> wire::RevokeLeaseResponse {
    let (outcome, _) = outcome(release);
    let reason = match release {
        Release::AlreadyEnded(reason) => reason,
        Release::Released | Release::RolledBack | Release::Cancelling => EndReason::Revoked,
    };
    wire::RevokeLeaseResponse {
        outcome: outcome.into(),
        end_reason: end_reason(reason).into(),
        ..wire::RevokeLeaseResponse::default()
    }
}

/// The answer to a Reload.
pub(in crate::rpc) fn reloaded(reloaded: ReloadOutcome) -> wire::ReloadResponse {
    let unchanged = reloaded.refused.into_iter().map(|(tenant, error)| wire::UnchangedTenant {
        tenant_id: tenant.to_string(),
        error: error.to_string(),
        ..wire::UnchangedTenant::default()
    });
    let dropped = reloaded.ended.into_iter().map(|ended| wire::DroppedChange {
        key: ended.key,
        what: ended.what,
        ..wire::DroppedChange::default()
    });
    wire::ReloadResponse {
        applied: reloaded.applied,
        needs_restart: reloaded.needs_restart,
        unchanged_tenants: unchanged.collect(),
        dropped_changes: dropped.collect(),
        ..wire::ReloadResponse::default()
    }
}

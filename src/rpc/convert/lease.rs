//! Leases: requests for them, their state and their end.

use std::ops::RangeInclusive;
use std::time::Duration;

use protobuf::EnumOrUnknown;

use super::fields::{clamped, duration, given, target, timestamp};
use crate::config::lease::Clocks;
use crate::core::lease_table::{EndReason, LeaseState, LeaseView, Terms};
use crate::core::transaction::TransactionState;
use crate::error::RequestError;
use crate::pool::ask::Ask;
use crate::pool::caller::Caller;
use crate::pool::grant::Grant;
use crate::pool::leases::release::Release;
use crate::pool::registry::{HostDsns, Target};
use crate::proto::connection_pool as wire;

/// The most characters of `holder`.
const HOLDER_MAX: usize = 128;
/// Enough random bytes that a request's id cannot be guessed.
const REQUEST_ID_BYTES: RangeInclusive<usize> = 16..=64;

/// A parsed GetConnection.
pub(in crate::rpc) struct Acquire {
    pub target: Target,
    pub ask: Ask,
    /// The caller's id of the request; `None` if it may not be repeated.
    pub request: Option<Vec<u8>>,
    pub wait: Duration,
}

pub(in crate::rpc) fn acquire(
    request: wire::ConnectionRequest,
    clocks: &Clocks,
    dsns: &HostDsns<'_>,
    caller: &Caller,
) -> Result<Acquire, RequestError> {
    let printable = request.holder.chars().all(|c| !c.is_control());
    if request.holder.chars().count() > HOLDER_MAX || !printable {
        return Err(RequestError::invalid(
            "holder",
            format!("holder must be at most {HOLDER_MAX} printable characters"),
        ));
    }
    let named = !request.request_id.is_empty();
    if named && !REQUEST_ID_BYTES.contains(&request.request_id.len()) {
        return Err(RequestError::invalid("request_id", "request_id must be 16 to 64 bytes long"));
    }
    let target = target(&request.tenant_id, &request.dsn, dsns)?;
    let terms = Terms {
        ttl: clamped("ttl", &request.ttl, &clocks.ttl)?,
        idle_in_transaction: clamped(
            "idle_in_transaction",
            &request.idle_in_transaction,
            &clocks.idle_in_transaction,
        )?,
        max_lifetime: clamped("max_lifetime", &request.max_lifetime, &clocks.lifetime)?,
    };
    let wait = clamped("wait_timeout", &request.wait_timeout, &clocks.wait)?;
    let peer = caller.peer().address().to_owned();
    let ask = Ask { terms, holder: request.holder, peer, owner: caller.owner().cloned() };
    Ok(Acquire { target, ask, request: named.then_some(request.request_id), wait })
}

pub(in crate::rpc) fn ttl(
    request: &wire::RenewRequest,
    clocks: &Clocks,
) -> Result<Option<Duration>, RequestError> {
    given("ttl", &request.ttl, &clocks.ttl.range())
}

/// The answer to a GetConnection.
pub(in crate::rpc) fn granted(grant: &Grant) -> wire::ConnectionResponse {
    wire::ConnectionResponse {
        connection_id: grant.id.reveal().to_owned(),
        lease: Some(lease(&grant.view)).into(),
        ..wire::ConnectionResponse::default()
    }
}

/// The answer to a ReleaseConnection.
pub(in crate::rpc) fn released(release: Release) -> wire::ReleaseResponse {
    let (outcome, reason) = outcome(release);
    wire::ReleaseResponse {
        success: true,
        outcome: outcome.into(),
        end_reason: end_reason(reason).into(),
        ..wire::ReleaseResponse::default()
    }
}

/// The answer to a RenewConnection.
pub(in crate::rpc) fn renewed(view: &LeaseView) -> wire::RenewResponse {
    wire::RenewResponse {
        ttl: Some(duration(view.ttl)).into(),
        lifetime_remaining: Some(duration(view.lifetime_remaining)).into(),
        ..wire::RenewResponse::default()
    }
}

pub(in crate::rpc) fn lease(view: &LeaseView) -> wire::Lease {
    wire::Lease {
        lease_name: view.facts.lease_name.clone(),
        tenant_id: view.facts.tenant.to_string(),
        backend_pid: view.facts.backend_pid,
        fencing_token: view.facts.fencing_token,
        holder: view.facts.holder.clone(),
        state: EnumOrUnknown::new(match view.state {
            LeaseState::Idle => wire::LeaseState::LEASE_STATE_IDLE,
            LeaseState::Busy => wire::LeaseState::LEASE_STATE_BUSY,
        }),
        transaction_state: transaction(view.transaction).into(),
        ttl: Some(duration(view.ttl)).into(),
        ttl_remaining: Some(duration(view.ttl_remaining)).into(),
        lifetime_remaining: Some(duration(view.lifetime_remaining)).into(),
        granted_at: Some(timestamp(view.granted_at)).into(),
        last_used_at: Some(timestamp(view.last_used_at)).into(),
        peer: view.facts.peer.clone(),
        transaction_since: view.transaction_since.map(timestamp).into(),
        last_command_tag: view.last_command.clone(),
        idle_in_transaction: Some(duration(view.idle_in_transaction)).into(),
        ..wire::Lease::default()
    }
}

pub(in crate::rpc) fn transaction(state: TransactionState) -> wire::TransactionState {
    match state {
        TransactionState::None => wire::TransactionState::TRANSACTION_STATE_NONE,
        TransactionState::Open => wire::TransactionState::TRANSACTION_STATE_OPEN,
        TransactionState::Failed => wire::TransactionState::TRANSACTION_STATE_FAILED,
    }
}

pub(super) fn end_reason(reason: EndReason) -> wire::LeaseEndReason {
    use wire::LeaseEndReason as Wire;
    match reason {
        EndReason::Released => Wire::LEASE_END_REASON_RELEASED,
        EndReason::Ttl => Wire::LEASE_END_REASON_TTL,
        EndReason::IdleInTransaction => Wire::LEASE_END_REASON_IDLE_IN_TRANSACTION,
        EndReason::MaxLifetime => Wire::LEASE_END_REASON_MAX_LIFETIME,
        EndReason::BackendLost => Wire::LEASE_END_REASON_BACKEND_LOST,
        EndReason::Revoked => Wire::LEASE_END_REASON_REVOKED,
        EndReason::StreamLost => Wire::LEASE_END_REASON_STREAM_LOST,
        EndReason::Undelivered => Wire::LEASE_END_REASON_UNDELIVERED,
        EndReason::TenantRemoved => Wire::LEASE_END_REASON_TENANT_REMOVED,
        EndReason::Shutdown => Wire::LEASE_END_REASON_SHUTDOWN,
    }
}

/// What a release did, and how the lease has ended.
pub(in crate::rpc) fn outcome(release: Release) -> (wire::ReleaseOutcome, EndReason) {
    match release {
        Release::Released => (wire::ReleaseOutcome::RELEASE_OUTCOME_RELEASED, EndReason::Released),
        Release::RolledBack => {
            (wire::ReleaseOutcome::RELEASE_OUTCOME_ROLLED_BACK, EndReason::Released)
        }
        Release::AlreadyEnded(reason) => {
            (wire::ReleaseOutcome::RELEASE_OUTCOME_ALREADY_ENDED, reason)
        }
        Release::Cancelling => {
            (wire::ReleaseOutcome::RELEASE_OUTCOME_CANCELLING, EndReason::Released)
        }
    }
}

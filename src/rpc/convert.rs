//! Between the wire's types and ours. Requests are parsed here; what comes out
//! is trusted inside.

pub(super) mod health;
pub(super) mod sql;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use protobuf::well_known_types::duration::Duration as WireDuration;
use protobuf::well_known_types::timestamp::Timestamp;
use protobuf::{EnumOrUnknown, MessageField};

use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::lease;
use crate::core::gate::GateState;
use crate::core::ids::{ConnectionId, TenantId};
use crate::core::lease_table::{EndReason, LeaseState, Terms, View};
use crate::core::transaction::TransactionState;
use crate::error::Error;
use crate::pool::grant::Ask;
use crate::pool::peers::Peer;
use crate::pool::registry::Target;
use crate::proto::connection_pool as wire;

/// The longest `holder`.
const HOLDER_MAX: usize = 128;
/// Random bytes enough that nobody guesses another's request.
const REQUEST_ID_BYTES: RangeInclusive<usize> = 16..=64;

pub(super) fn duration(duration: Duration) -> WireDuration {
    WireDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Below 1e9 by contract of Duration.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
        ..WireDuration::default()
    }
}

/// The duration of a field, clamped into its range; absent = `default`.
fn clamped(
    field: &'static str,
    value: &MessageField<WireDuration>,
    default: Duration,
    range: &RangeInclusive<Duration>,
) -> Result<Duration, Error> {
    Ok(given(field, value, range)?.unwrap_or(default))
}

fn given(
    field: &'static str,
    value: &MessageField<WireDuration>,
    range: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, Error> {
    let Some(value) = value.as_ref() else {
        return Ok(None);
    };
    match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            Ok(Some(Duration::new(seconds, nanos).clamp(*range.start(), *range.end())))
        }
        _ => Err(Error::invalid(field, format!("{field} must be a duration of zero or more"))),
    }
}

/// A time of the monotonic clock as people know it.
pub(in crate::rpc) fn timestamp(at: Instant) -> Timestamp {
    let ago = clock::now().saturating_duration_since(at);
    let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    unix_timestamp(clock::unix_micros().saturating_sub(ago))
}

fn unix_timestamp(micros: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(micros % 1_000_000 * 1000).unwrap_or(0),
        ..Timestamp::default()
    }
}

pub(super) fn connection_id(text: &str) -> Result<ConnectionId, Error> {
    Ok(ConnectionId::parse(text)?)
}

fn target(tenant_id: &str, dsn: &str) -> Result<Target, Error> {
    let tenant = TenantId::parse(tenant_id)?;
    if dsn.is_empty() {
        return Ok(Target::new(tenant, None));
    }
    let dsn = Dsn::parse(dsn).map_err(|error| {
        let text = error.to_string();
        let named = text.starts_with("dsn");
        Error::invalid("dsn", if named { text } else { format!("dsn: {text}") })
    })?;
    Ok(Target::new(tenant, Some(dsn)))
}

/// What a GetConnection asks for.
pub(super) struct Acquire {
    pub target: Target,
    pub ask: Ask,
    /// The caller's name for the request.
    pub request: Option<Vec<u8>>,
    pub wait: Duration,
}

pub(super) fn acquire(request: wire::ConnectionRequest, peer: &Peer) -> Result<Acquire, Error> {
    let printable = request.holder.chars().all(|c| !c.is_control());
    if request.holder.chars().count() > HOLDER_MAX || !printable {
        return Err(Error::invalid(
            "holder",
            format!("holder must be at most {HOLDER_MAX} printable characters"),
        ));
    }
    let named = !request.request_id.is_empty();
    if named && !REQUEST_ID_BYTES.contains(&request.request_id.len()) {
        return Err(Error::invalid("request_id", "request_id must be 16 to 64 bytes long"));
    }
    let target = target(&request.tenant_id, &request.dsn)?;
    let terms = Terms {
        ttl: clamped("ttl", &request.ttl, lease::TTL, &lease::TTL_RANGE)?,
        idle_in_transaction: clamped(
            "idle_in_transaction",
            &request.idle_in_transaction,
            lease::IDLE_IN_TRANSACTION,
            &lease::IDLE_IN_TRANSACTION_RANGE,
        )?,
        max_lifetime: clamped(
            "max_lifetime",
            &request.max_lifetime,
            lease::MAX_LIFETIME,
            &lease::MAX_LIFETIME_RANGE,
        )?,
    };
    let wait = clamped("wait_timeout", &request.wait_timeout, lease::WAIT, &lease::WAIT_RANGE)?;
    let ask = Ask { terms, holder: request.holder, peer: peer.address().to_owned() };
    Ok(Acquire { target, ask, request: named.then_some(request.request_id), wait })
}

pub(super) fn ttl(request: &wire::RenewRequest) -> Result<Option<Duration>, Error> {
    given("ttl", &request.ttl, &lease::TTL_RANGE)
}

pub(super) fn lease(view: &View) -> wire::Lease {
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

pub(super) fn transaction(state: TransactionState) -> wire::TransactionState {
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

pub(super) fn tenant_state(state: GateState) -> wire::TenantState {
    match state {
        GateState::Opening => wire::TenantState::TENANT_STATE_OPENING,
        GateState::Active => wire::TenantState::TENANT_STATE_ACTIVE,
        GateState::Draining => wire::TenantState::TENANT_STATE_DRAINING,
        GateState::Closed => wire::TenantState::TENANT_STATE_CLOSED,
    }
}

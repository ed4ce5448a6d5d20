//! Fields that several messages have.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use protobuf::well_known_types::duration::Duration as WireDuration;
use protobuf::well_known_types::timestamp::Timestamp;
use protobuf::MessageField;

use crate::clock;
use crate::config::dsn::DsnError;
use crate::config::lease::Clock;
use crate::core::ids::{ConnectionId, TenantId};
use crate::error::RequestError;
use crate::pool::registry::{HostDsns, Target};

pub(in crate::rpc) fn duration(duration: Duration) -> WireDuration {
    WireDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Below 1e9 by contract of Duration.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
        ..WireDuration::default()
    }
}

/// The duration of a field, clamped into what its clock allows; absent = the usual one.
pub(super) fn clamped(
    field: &'static str,
    value: &MessageField<WireDuration>,
    clock: &Clock,
) -> Result<Duration, RequestError> {
    Ok(given(field, value, &clock.range())?.unwrap_or(clock.usual))
}

pub(super) fn given(
    field: &'static str,
    value: &MessageField<WireDuration>,
    range: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, RequestError> {
    let Some(value) = value.as_ref() else {
        return Ok(None);
    };
    match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            Ok(Some(Duration::new(seconds, nanos).clamp(*range.start(), *range.end())))
        }
        _ => {
            Err(RequestError::invalid(field, format!("{field} must be a duration of zero or more")))
        }
    }
}

/// A time of the monotonic clock as people know it.
pub(in crate::rpc) fn timestamp(at: Instant) -> Timestamp {
    let ago = clock::now().saturating_duration_since(at);
    let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    unix_timestamp(clock::unix_micros().saturating_sub(ago))
}

pub(super) fn unix_timestamp(micros: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(micros % 1_000_000 * 1000).unwrap_or(0),
        ..Timestamp::default()
    }
}

pub(in crate::rpc) fn connection_id(text: &str) -> Result<ConnectionId, RequestError> {
    Ok(ConnectionId::parse(text)?)
}

pub(super) fn target(
    tenant_id: &str,
    dsn: &str,
    dsns: &HostDsns<'_>,
) -> Result<Target, RequestError> {
    let tenant = TenantId::parse(tenant_id)?;
    let dsn = (!dsn.is_empty()).then(|| dsns.parse(dsn)).transpose();
    Ok(Target { tenant, dsn: dsn.map_err(|error| invalid_dsn(&error))? })
}

/// The error of a field `dsn` that breaks a rule.
pub(super) fn invalid_dsn(error: &DsnError) -> RequestError {
    let text = error.to_string();
    let named = text.starts_with("dsn");
    RequestError::invalid("dsn", if named { text } else { format!("dsn: {text}") })
}

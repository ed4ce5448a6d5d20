//! Between the wire's types and ours. Requests are parsed here; what comes out
//! is trusted inside.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use protobuf::well_known_types::duration::Duration as WireDuration;
use protobuf::well_known_types::timestamp::Timestamp;
use protobuf::{EnumOrUnknown, MessageField};

use crate::backend::keyword::{controls_transaction, first_keyword};
use crate::backend::session::{Notice, Statement, StatementResult};
use crate::clock;
use crate::config::dsn::Dsn;
use crate::config::{lease, Limits};
use crate::core::gate::GateState;
use crate::core::ids::{ConnectionId, TenantId};
use crate::core::lease_table::{EndReason, LeaseState, Terms, View};
use crate::core::transaction::TransactionState;
use crate::core::value::{Column, Value};
use crate::error::Error;
use crate::pool::execute::{Executed, Request};
use crate::pool::registry::Target;
use crate::pool::service::Place;
use crate::proto::connection_pool as wire;
use crate::proto::sql;

/// The longest `holder`.
const HOLDER_MAX: usize = 128;

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
fn timestamp(at: Instant) -> Timestamp {
    let ago = clock::now().saturating_duration_since(at);
    let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    let micros = clock::unix_micros().saturating_sub(ago);
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
        return Ok(Target { tenant, dsn: None });
    }
    let dsn = Dsn::parse(dsn).map_err(|error| {
        let text = error.to_string();
        let named = text.starts_with("dsn");
        Error::invalid("dsn", if named { text } else { format!("dsn: {text}") })
    })?;
    Ok(Target { tenant, dsn: Some(dsn) })
}

/// What a GetConnection asks for.
pub(super) struct Acquire {
    pub target: Target,
    pub terms: Terms,
    pub holder: String,
    pub wait: Duration,
}

pub(super) fn acquire(request: wire::ConnectionRequest) -> Result<Acquire, Error> {
    let printable = request.holder.chars().all(|c| !c.is_control());
    if request.holder.chars().count() > HOLDER_MAX || !printable {
        return Err(Error::invalid(
            "holder",
            format!("holder must be at most {HOLDER_MAX} printable characters"),
        ));
    }
    Ok(Acquire {
        target: target(&request.tenant_id, &request.dsn)?,
        terms: Terms {
            ttl: clamped("ttl", &request.ttl, lease::TTL, &lease::TTL_RANGE)?,
            idle_in_transaction: lease::IDLE_IN_TRANSACTION,
            max_lifetime: clamped(
                "max_lifetime",
                &request.max_lifetime,
                lease::MAX_LIFETIME,
                &lease::MAX_LIFETIME_RANGE,
            )?,
        },
        wait: clamped("wait_timeout", &request.wait_timeout, lease::WAIT, &lease::WAIT_RANGE)?,
        holder: request.holder,
    })
}

pub(super) fn ttl(request: &wire::RenewRequest) -> Result<Option<Duration>, Error> {
    given("ttl", &request.ttl, &lease::TTL_RANGE)
}

pub(super) fn execute(
    request: sql::ExecuteRequest,
    limits: &Limits,
) -> Result<(Place, Request), Error> {
    let wait = clamped("wait_timeout", &request.wait_timeout, lease::WAIT, &lease::WAIT_RANGE)?;
    let place = match (request.connection_id.is_empty(), request.tenant_id.is_empty()) {
        (false, true) => Place::Lease {
            id: connection_id(&request.connection_id)?,
            release_after: request.release_after,
        },
        (true, false) => {
            Place::Tenant { target: Box::new(target(&request.tenant_id, &request.dsn)?), wait }
        }
        _ => {
            return Err(Error::invalid(
                "connection_id",
                "exactly one of connection_id and tenant_id is required",
            ))
        }
    };
    if request.statements.is_empty() || request.statements.len() > limits.statements {
        return Err(Error::invalid(
            "statements",
            format!("statements must be 1 to {}", limits.statements),
        ));
    }
    let max_rows = u64::try_from(request.max_rows)
        .map_err(|_| Error::invalid("max_rows", "max_rows must be zero or more"))?;
    let statements = request.statements.into_iter().enumerate();
    let statements: Result<Vec<Statement>, Error> =
        statements.map(|(i, s)| statement(i, s, limits)).collect();
    let request = Request {
        statements: statements?,
        atomic: request.atomic,
        timeout: clamped("timeout", &request.timeout, lease::STATEMENT, &lease::STATEMENT_RANGE)?,
        max_rows: (max_rows > 0).then_some(max_rows),
        max_bytes: limits.result_bytes,
    };
    if request.atomic {
        no_transaction_control(&request.statements)?;
    }
    Ok((place, request))
}

/// With `atomic` the transaction is ours: who ends it half-way breaks the promise.
fn no_transaction_control(statements: &[Statement]) -> Result<(), Error> {
    match statements.iter().position(|statement| controls_transaction(&statement.sql)) {
        None => Ok(()),
        Some(i) => Err(Error::invalid(
            "statements",
            format!(
                "statements[{i}]: {} is not allowed with atomic, which begins and commits by itself",
                first_keyword(&statements[i].sql)
            ),
        )),
    }
}

fn statement(index: usize, statement: sql::Statement, limits: &Limits) -> Result<Statement, Error> {
    if statement.sql.len() > limits.sql_bytes {
        return Err(Error::invalid(
            "statements.sql",
            format!("statements[{index}].sql must be at most {} bytes long", limits.sql_bytes),
        ));
    }
    if statement.sql.contains('\0') {
        return Err(Error::invalid(
            "statements.sql",
            format!("statements[{index}].sql must not contain a NUL character"),
        ));
    }
    let parameters = statement.parameters.into_iter().enumerate();
    let parameters: Result<Vec<Value>, Error> = parameters
        .map(|(i, value)| {
            parameter(value).ok_or_else(|| {
                Error::invalid(
                    "statements.parameters",
                    format!("statements[{index}].parameters[{i}] has no value; use null for NULL"),
                )
            })
        })
        .collect();
    Ok(Statement { sql: statement.sql, parameters: parameters? })
}

fn parameter(value: sql::Value) -> Option<Value> {
    use sql::value::Kind;
    Some(match value.kind? {
        Kind::Null(_) => Value::Null,
        Kind::Bool(v) => Value::Bool(v),
        Kind::Int(v) => Value::Int(v),
        Kind::Double(v) => Value::Double(v),
        Kind::Text(v) => Value::Text(v),
        Kind::Bytes(v) => Value::Bytes(v),
        Kind::Raw(v) => Value::Raw { oid: v.type_oid, bytes: v.data },
    })
}

fn value(value: Value) -> sql::Value {
    use sql::value::Kind;
    sql::Value {
        kind: Some(match value {
            Value::Null => Kind::Null(true),
            Value::Bool(v) => Kind::Bool(v),
            Value::Int(v) => Kind::Int(v),
            Value::Double(v) => Kind::Double(v),
            Value::Text(v) => Kind::Text(v),
            Value::Bytes(v) => Kind::Bytes(v),
            Value::Raw { oid, bytes } => {
                Kind::Raw(sql::RawValue { type_oid: oid, data: bytes, ..sql::RawValue::default() })
            }
        }),
        ..sql::Value::default()
    }
}

pub(super) fn executed(executed: Executed) -> sql::ExecuteResponse {
    sql::ExecuteResponse {
        results: executed.results.into_iter().map(result).collect(),
        session: Some(sql::SessionInfo {
            transaction_state: transaction(executed.transaction).into(),
            notices: executed.notices.into_iter().map(notice).collect(),
            lease_ended: executed.lease_ended,
            ..sql::SessionInfo::default()
        })
        .into(),
        ..sql::ExecuteResponse::default()
    }
}

fn result(result: StatementResult) -> sql::StatementResult {
    let row = |values: Vec<Value>| sql::Row {
        values: values.into_iter().map(value).collect(),
        ..sql::Row::default()
    };
    sql::StatementResult {
        columns: result.columns.into_iter().map(column).collect(),
        rows: result.rows.into_iter().map(row).collect(),
        rows_affected: i64::try_from(result.rows_affected).unwrap_or(i64::MAX),
        command_tag: result.command_tag,
        truncated: result.truncated,
        ..sql::StatementResult::default()
    }
}

fn column(column: Column) -> sql::Column {
    sql::Column {
        name: column.name,
        type_oid: column.type_oid,
        type_name: column.type_name,
        table_oid: column.table_oid,
        ..sql::Column::default()
    }
}

fn notice(notice: Notice) -> sql::Notice {
    sql::Notice {
        severity: notice.severity,
        sqlstate: notice.sqlstate,
        message: notice.message,
        ..sql::Notice::default()
    }
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

//! Health and statistics as they go over the wire.

use super::fields::{duration, unix_timestamp};
use crate::clock;
use crate::core::breaker::BreakerPhase;
use crate::core::gate::GateState;
use crate::core::health::Level;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::numbers::Figures;
use crate::pool::report::Report;
use crate::pool::snapshot::TenantSnapshot;
use crate::proto::connection_pool as wire;

/// The rows that were asked for: those of one tenant, which the caller must be allowed to see, or
/// all.
fn asked<'a>(
    report: &'a Report,
    tenant_id: &str,
    expect_visible: impl FnOnce(&TenantId) -> Result<(), RequestError>,
) -> Result<&'a [TenantSnapshot], RequestError> {
    if tenant_id.is_empty() {
        return Ok(&report.rows);
    }
    let tenant = TenantId::parse(tenant_id)?;
    expect_visible(&tenant)?;
    let own = report.rows.iter().find(|row| row.tenant == tenant);
    let own = own.ok_or(RequestError::TenantNotFound(tenant))?;
    Ok(std::slice::from_ref(own))
}

fn seconds(micros: u64) -> i64 {
    i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX)
}

pub(super) fn number(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn total(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(in crate::rpc) fn check(
    report: &Report,
    tenant_id: &str,
    expect_visible: impl FnOnce(&TenantId) -> Result<(), RequestError>,
) -> Result<wire::HealthCheckResponse, RequestError> {
    let rows = asked(report, tenant_id, expect_visible)?;
    let level = if tenant_id.is_empty() {
        report.level
    } else {
        Level::of_all(rows.iter().map(|row| row.level))
    };
    let count = |of: fn(&TenantSnapshot) -> usize| rows.iter().map(of).sum::<usize>();
    let sum = |of: fn(&TenantSnapshot) -> u64| rows.iter().map(of).sum::<u64>();
    let last = rows.iter().filter_map(|row| row.last_check).max();
    Ok(wire::HealthCheckResponse {
        status: level.as_str().to_owned(),
        message: format!(
            "Connection pool: {}/{} connections active, {} errors, {} health check failures",
            count(|row| row.figures.active()),
            count(|row| row.figures.alive()),
            sum(|row| row.open_failures),
            sum(|row| row.check_failures),
        ),
        timestamp: seconds(last.unwrap_or_else(clock::unix_micros)),
        tenants: rows.iter().map(row).collect(),
        ..wire::HealthCheckResponse::default()
    })
}

fn row(row: &TenantSnapshot) -> wire::TenantHealth {
    let (error, at) = row.last_error.clone().unzip();
    wire::TenantHealth {
        tenant_id: row.tenant.to_string(),
        status: row.level.as_str().to_owned(),
        breaker_state: breaker(row.figures.breaker).into(),
        starving: row.starving,
        paused: row.figures.paused.is_some(),
        last_check: row.last_check.map(unix_timestamp).into(),
        last_error: error.unwrap_or_default(),
        last_error_at: at.map(unix_timestamp).into(),
        ..wire::TenantHealth::default()
    }
}

pub(in crate::rpc) fn metrics(
    report: &Report,
    tenant_id: &str,
    expect_visible: impl FnOnce(&TenantId) -> Result<(), RequestError>,
) -> Result<wire::ConnectionPoolMetricsResponse, RequestError> {
    let rows = asked(report, tenant_id, expect_visible)?;
    let count = |of: fn(&TenantSnapshot) -> usize| number(rows.iter().map(of).sum());
    let sum = |of: fn(&TenantSnapshot) -> u64| total(rows.iter().map(of).sum());
    Ok(wire::ConnectionPoolMetricsResponse {
        total_connections: count(|row| row.figures.open),
        active_connections: count(|row| row.figures.alive()),
        available_connections: count(|row| row.figures.available()),
        connection_errors: sum(|row| row.open_failures),
        health_check_failures: sum(|row| row.check_failures),
        last_health_check_timestamp: rows
            .iter()
            .filter_map(|row| row.last_check)
            .max()
            .map(seconds),
        ..wire::ConnectionPoolMetricsResponse::default()
    })
}

/// The answer to a GetPoolStats.
pub(in crate::rpc) fn stats(now: &TenantSnapshot) -> wire::StatsResponse {
    let figures = &now.figures;
    wire::StatsResponse {
        active_connections: number(figures.active()),
        idle_connections: number(figures.idle),
        total_connections: number(figures.open),
        max_connections: number(figures.max),
        opening: number(figures.opening),
        waiting: number(figures.waiting),
        leases: number(now.leases),
        acquire_count: total(figures.acquired),
        acquire_wait_total: Some(duration(figures.waited)).into(),
        state: tenant_state(figures).into(),
        breaker_state: breaker(figures.breaker).into(),
        ..wire::StatsResponse::default()
    }
}

pub(super) fn breaker(phase: BreakerPhase) -> wire::BreakerState {
    match phase {
        BreakerPhase::Closed => wire::BreakerState::BREAKER_STATE_CLOSED,
        BreakerPhase::Open => wire::BreakerState::BREAKER_STATE_OPEN,
        BreakerPhase::HalfOpen => wire::BreakerState::BREAKER_STATE_HALF_OPEN,
    }
}

pub(super) fn tenant_state(figures: &Figures) -> wire::TenantState {
    match figures.state {
        GateState::Active if figures.paused.is_some() => wire::TenantState::TENANT_STATE_PAUSED,
        GateState::Opening => wire::TenantState::TENANT_STATE_OPENING,
        GateState::Active => wire::TenantState::TENANT_STATE_ACTIVE,
        GateState::Draining => wire::TenantState::TENANT_STATE_DRAINING,
        GateState::Closed => wire::TenantState::TENANT_STATE_CLOSED,
    }
}

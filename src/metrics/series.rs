//! The series of one tenant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::closed::{self, Closed};
use super::families::MetricFamilies;
use super::Metrics;
use crate::core::ids::TenantId;
use crate::core::lease_table::EndReason;

/// What a request that runs SQL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its results are returned at once.
    Execute,
    /// Its rows are streamed.
    Query,
    /// Data flows from PostgreSQL.
    CopyOut,
    /// Data flows to PostgreSQL.
    CopyIn,
}

/// Where a request runs SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunPlace {
    /// On any connection of the tenant.
    OneShot,
    /// On a lease that calls name.
    Lease,
    /// On the lease of a `Session` stream.
    Session,
}

/// In the order in which they are declared.
const KINDS: [&str; 4] = ["execute", "query", "copy_out", "copy_in"];
const PLACES: [&str; 3] = ["one_shot", "lease", "session"];
const OUTCOMES: [&str; 2] = ["ok", "failed"];
/// How a wait for a backend ends: with a backend, with the caller giving up, or with another error.
const WAITS: [&str; 3] = ["granted", "gave_up", "refused"];

/// All counters and histograms of one tenant.
pub struct Series {
    /// The tenant was removed, so the series are no longer read.
    ended: AtomicBool,
    granted: IntCounter,
    leases_ended: Closed,
    held: Histogram,
    leak_warnings: IntCounter,
    waits: [Histogram; 3],
    acquire_failures: Closed,
    opens: IntCounter,
    open_failures: Closed,
    closes: Closed,
    connect: Histogram,
    checks: IntCounter,
    check_failures: IntCounter,
    operations: [[[IntCounter; 2]; 3]; 4],
    operation_failures: Closed,
    slow_statements: IntCounter,
    operation_time: [Histogram; 4],
}

impl Series {
    /// All series of this tenant, at 0.
    pub(super) fn new(families: &MetricFamilies, tenant: &str) -> Series {
        let ends: Vec<&'static str> = EndReason::ALL.iter().map(|end| end.as_str()).collect();
        let closed = |family, names| Closed::new(family, names, Some(tenant));
        let one = [tenant];
        let wait = |outcome| families.acquire_wait.with_label_values(&[outcome, tenant]);
        let counter = |kind, place| {
            OUTCOMES.map(|outcome| {
                families.operations.with_label_values(&[kind, outcome, place, tenant])
            })
        };
        Series {
            ended: AtomicBool::new(false),
            granted: families.leases_granted.with_label_values(&one),
            leases_ended: closed(&families.leases_ended, &ends),
            held: families.lease_held.with_label_values(&one),
            leak_warnings: families.leak_warnings.with_label_values(&one),
            waits: WAITS.map(wait),
            acquire_failures: closed(&families.acquire_failures, closed::ACQUIRE_FAILURES),
            opens: families.backend_opens.with_label_values(&one),
            open_failures: closed(&families.backend_open_failures, closed::OPEN_FAILURES),
            closes: closed(&families.backend_closes, closed::CLOSES),
            connect: families.backend_connect.with_label_values(&one),
            checks: families.checks.with_label_values(&one),
            check_failures: families.check_failures.with_label_values(&one),
            operations: KINDS.map(|kind| PLACES.map(|place| counter(kind, place))),
            operation_failures: closed(&families.operation_failures, closed::OPERATION_FAILURES),
            slow_statements: families.slow_statements.with_label_values(&one),
            operation_time: KINDS
                .map(|kind| families.operation_time.with_label_values(&[kind, tenant])),
        }
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Counts a granted lease.
    pub fn granted(&self) {
        self.granted.inc();
    }

    /// Records an ended lease and how long it was held.
    pub fn ended(&self, reason: EndReason, held: Duration) {
        self.leases_ended.inc(reason.as_str());
        self.held.observe(held.as_secs_f64());
    }

    /// Counts a lease that is held for suspiciously long.
    pub fn leak_warned(&self) {
        self.leak_warnings.inc();
    }

    /// Records a request that got its backend, and how long it waited.
    pub fn acquired(&self, waited: Duration) {
        let [granted, ..] = &self.waits;
        granted.observe(waited.as_secs_f64());
    }

    /// Records a request that got no backend, and how long it waited.
    pub fn acquire_failed(&self, reason: &str, waited: Duration) {
        self.acquire_failures.inc(reason);
        let [_, gave_up, refused] = &self.waits;
        let wait = match reason {
            "wait_timeout" | "caller_gone" => gave_up,
            _ => refused,
        };
        wait.observe(waited.as_secs_f64());
    }

    /// Records an opened backend and how long it took.
    pub fn opened(&self, took: Duration) {
        self.opens.inc();
        self.connect.observe(took.as_secs_f64());
    }

    /// Counts a backend that could not be opened.
    pub fn open_failed(&self, reason: &str) {
        self.open_failures.inc(reason);
    }

    /// Counts a closed backend.
    pub fn closed(&self, reason: &str) {
        self.closes.inc(reason);
    }

    /// Counts a check of an idle connection.
    pub fn checked(&self, works: bool) {
        self.checks.inc();
        self.check_failures.inc_by(u64::from(!works));
    }

    /// Counts a request that ran SQL for long.
    pub fn slow(&self) {
        self.slow_statements.inc();
    }

    /// Records a request that ran SQL: how long, and why it failed, if it did.
    pub fn operated(&self, kind: Kind, place: RunPlace, failure: Option<&str>, took: Duration) {
        let [ok, failed] = &self.operations[kind as usize][place as usize];
        match failure {
            None => ok.inc(),
            Some(reason) => {
                failed.inc();
                self.operation_failures.inc(reason);
            }
        }
        self.operation_time[kind as usize].observe(took.as_secs_f64());
    }
}

/// The series that a tenant counts on: the shared ones until it is admitted, then its own until
/// they end.
pub struct Counts {
    metrics: Metrics,
    tenant: TenantId,
    /// A leaf lock.
    current: RwLock<Arc<Series>>,
}

impl Counts {
    /// The series for a tenant of this name.
    pub fn new(metrics: &Metrics, tenant: &TenantId) -> Counts {
        Counts {
            metrics: metrics.clone(),
            tenant: tenant.clone(),
            current: RwLock::new(Arc::clone(&metrics.0.other)),
        }
    }

    /// Notes that the tenant has connected: it gets series of its own, if there is room.
    pub fn admit(&self) {
        let current = self.now();
        if !current.has_ended() && !Arc::ptr_eq(&current, &self.metrics.0.other) {
            return;
        }
        if let Some(own) = self.metrics.admit(&self.tenant) {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = own;
        }
    }

    /// The series to count on now.
    pub fn series(&self) -> Arc<Series> {
        let current = self.now();
        match current.has_ended() {
            true => Arc::clone(&self.metrics.0.other),
            false => current,
        }
    }

    fn now(&self) -> Arc<Series> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

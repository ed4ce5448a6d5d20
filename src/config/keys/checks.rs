//! How the service is watched: its check of itself, its certificate, HTTP, the metrics.

use super::kind::{secs, FOREVER_SECS};
use super::service::{key, live};
use super::{SettingKey, SettingKind};

/// Each connection of HTTP takes two threads.
const HTTP_CONNECTIONS_MAX: u64 = 1024;
/// A page of so many tenants has 150 MB.
const METRICS_TENANTS_MAX: u64 = 5000;

pub(super) const KEYS: &[SettingKey] = &[
    key(
        "http_connections",
        "Connections of each port of HTTP at once; others wait. When all are in use, the slowest \
         is closed (see [Limits](limits.md#http-and-the-log)). Each takes three descriptors and a \
         thread.",
        SettingKind::Count(2..=HTTP_CONNECTIONS_MAX, |d| &mut d.config.limits.http_connections),
    ),
    live(
        "self_check_interval",
        "How often the service calls itself over its own gRPC port, as a client would: \
         `/health/ready` and `HealthCheck` tell when nobody can reach it. After a failure it calls \
         again within a second. 0 = never.",
        SettingKind::Time(secs(0, 3600), |d| &mut d.config.self_check.interval),
    ),
    live(
        "self_check_timeout",
        "How long the answer to that call may take.",
        SettingKind::Time(secs(1, 60), |d| &mut d.config.self_check.timeout),
    ),
    live(
        "self_check_failures",
        "Failed calls in a row after which gRPC counts as unreachable.",
        SettingKind::Small(1..=1000, |d| &mut d.config.self_check.failures),
    ),
    live(
        "certificate_warning",
        "The log warns of a certificate of the service that expires within this time, when it \
         reads it. Less than they live for certificates of a day; 0 = never.",
        SettingKind::Time(secs(0, FOREVER_SECS), |d| &mut d.config.certificate_warning),
    ),
    key(
        "metrics_tenants",
        "Tenants with series of their own in `/metrics`, in the order in which they connect; all \
         others share `_other`. A page has some 30 kB for each.",
        SettingKind::Count(0..=METRICS_TENANTS_MAX, |d| &mut d.config.limits.metrics_tenants),
    ),
];

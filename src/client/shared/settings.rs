//! The numbers of a lineup and of a directory, from the settings of their service.

use std::time::Duration;

use crate::client::config::ServiceConfig;
use crate::client::directory::Times;
use crate::client::lineup::{Checks, LineupSettings, Pauses};

pub(super) fn settings(config: &ServiceConfig, connect_timeout: Duration) -> LineupSettings {
    LineupSettings {
        size: config.pool.size,
        least: config.pool.min_size,
        idle: config.pool.idle_timeout,
        calls_per_channel: config.pool.calls_per_channel,
        max_waiters: config.pool.max_waiters,
        connect_timeout,
        outlier: config.outlier,
        pauses: Pauses {
            min: config.connection.reconnect_backoff_min,
            max: config.connection.max_reconnect_delay,
        },
        balance: config.pool.balance,
        checks: Checks {
            ping: config.connection.ping_interval,
            tries: config.health.tries,
            successes: config.health.successes,
        },
        max_age: config.pool.max_age,
    }
}

/// When names are looked up, and whether that is done here: a proxy looks names up itself.
pub(super) fn times(config: &ServiceConfig, settings: &LineupSettings) -> (Times, bool) {
    let times = Times {
        refresh: config.connection.dns_refresh,
        limit: settings.connect_timeout,
        pauses: settings.pauses,
    };
    (times, !config.connection.http_proxy)
}

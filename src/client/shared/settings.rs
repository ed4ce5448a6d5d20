//! The numbers of a lineup, from the settings of its service.

use std::time::Duration;

use crate::client::config::ServiceConfig;
use crate::client::lineup::{Checks, Pauses, Settings};

pub(super) fn settings(config: &ServiceConfig, connect_timeout: Duration) -> Settings {
    Settings {
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

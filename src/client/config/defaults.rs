//! The defaults.

use std::time::Duration;

use super::{
    BreakerConfig, BudgetConfig, CallConfig, Compression, ConnectionConfig, EventsConfig,
    HealthConfig, PoolConfig, RetryConfig,
};
use crate::client::balance::Balance;
use crate::client::call_error::Code;

impl Default for BudgetConfig {
    fn default() -> Self {
        BudgetConfig { per_call: 0.2, per_second: 10.0, most: 100.0 }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        let codes =
            [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Aborted];
        RetryConfig {
            max_attempts: 3,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            multiplier: 2.0,
            codes: codes.to_vec(),
            not_sent: true,
            jitter: 0.2,
            unsafe_all: false,
            budget: BudgetConfig::default(),
        }
    }
}

impl Default for EventsConfig {
    fn default() -> Self {
        EventsConfig { sample_rate: 1.0, status_interval: None }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let codes = vec![Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted];
        BreakerConfig { failures: 5, successes: 2, timeout: Duration::from_secs(30), codes }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            size: 10,
            min_size: None,
            idle_timeout: Duration::from_secs(300),
            calls_per_channel: 1,
            checkout_timeout: Duration::from_secs(15),
            max_waiters: 1000,
            open_timeout: Duration::from_secs(30),
            max_age: Some(Duration::from_secs(3600)),
            leak_warning: Some(Duration::from_secs(600)),
            drain_timeout: Duration::from_secs(30),
            balance: Balance::RoundRobin,
            pick: None,
        }
    }
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        ConnectionConfig {
            max_message_bytes: 4 << 20,
            keepalive_time: Some(Duration::from_secs(30)),
            keepalive_timeout: Duration::from_secs(5),
            keepalive_permit_without_calls: true,
            connect_timeout: Duration::from_secs(10),
            reconnect_backoff_min: Duration::from_secs(1),
            max_reconnect_delay: Duration::from_secs(3),
            ping_interval: Some(Duration::from_secs(25)),
            compression: Compression::None,
            user_agent: None,
            http_proxy: false,
            dns_refresh: Some(Duration::from_secs(60)),
            resolver: None,
        }
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        HealthConfig {
            enabled: true,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            tries: 3,
            successes: 2,
            service: String::new(),
            method: None,
            watch: false,
        }
    }
}

impl Default for CallConfig {
    fn default() -> Self {
        CallConfig {
            timeout: Some(Duration::from_secs(30)),
            attempt_timeout: None,
            wait_for_ready: false,
        }
    }
}

//! The table of all settings beside the address: their names in files and variables.

use super::setting::Setting;
use super::ServiceConfig;
use crate::settings::{SettingFault, SettingValue};

/// A setting.
pub(super) struct ConfigKey {
    /// Its name in a file, with its tables.
    pub(super) name: &'static str,
    /// The end of its variable's name; empty: it has none.
    pub(super) variable: &'static str,
    /// What kind of value it has.
    pub(super) kind: fn(&ServiceConfig) -> &'static str,
    /// Reads it.
    pub(super) set: fn(&mut ServiceConfig, &SettingValue) -> Result<(), SettingFault>,
    /// Shows it.
    pub(super) get: fn(&ServiceConfig) -> String,
}

fn kind<T: Setting>(_: &T) -> &'static str {
    T::KIND
}

/// A field of the configuration.
macro_rules! key {
    ($name:literal, $variable:literal, $($field:ident).+) => {
        ConfigKey {
            name: $name,
            variable: $variable,
            kind: |config| kind(&config.$($field).+),
            set: |config, value| {
                config.$($field).+ = Setting::read(value)?;
                Ok(())
            },
            get: |config| config.$($field).+.show(),
        }
    };
}

/// A field of a part that may be absent.
macro_rules! part {
    ($name:literal, $part:ident, $($field:ident).+) => {
        ConfigKey {
            name: $name,
            variable: "",
            kind: |config| kind(&config.$part.clone().unwrap_or_default().$($field).+),
            set: |config, value| {
                let part = config.$part.get_or_insert_with(Default::default);
                part.$($field).+ = Setting::read(value)?;
                Ok(())
            },
            get: |config| match &config.$part {
                Some(part) => part.$($field).+.show(),
                None => "off".to_owned(),
            },
        }
    };
}

/// Whether a part is there.
macro_rules! switch {
    ($name:literal, $variable:literal, $part:ident) => {
        ConfigKey {
            name: $name,
            variable: $variable,
            kind: |_| <bool as Setting>::KIND,
            set: |config, value| {
                let on = bool::read(value)?;
                config.$part = on.then(|| config.$part.take().unwrap_or_default());
                Ok(())
            },
            get: |config| config.$part.is_some().to_string(),
        }
    };
}

/// The settings. A switch comes after what it switches, so that it wins.
pub(super) const KEYS: &[ConfigKey] = &[
    key!("type", "TYPE", kind),
    key!("tls.mode", "TLS", tls.mode),
    key!("tls.ca_file", "CA_FILE", tls.ca_file),
    key!("tls.cert_file", "CERT_FILE", tls.cert_file),
    key!("tls.key_file", "KEY_FILE", tls.key_file),
    key!("tls.server_name", "SERVER_NAME", tls.server_name),
    key!("tls.reload", "", tls.reload),
    key!("pool.size", "POOL_SIZE", pool.size),
    key!("pool.min_size", "", pool.min_size),
    key!("pool.idle_timeout", "", pool.idle_timeout),
    key!("pool.calls_per_channel", "CALLS_PER_CHANNEL", pool.calls_per_channel),
    key!("pool.checkout_timeout", "CHECKOUT_TIMEOUT_MS", pool.checkout_timeout),
    key!("pool.max_waiters", "", pool.max_waiters),
    key!("pool.open_timeout", "CONNECTION_TIMEOUT_SECS", pool.open_timeout),
    key!("pool.max_age", "", pool.max_age),
    key!("pool.leak_warning", "", pool.leak_warning),
    key!("pool.drain_timeout", "", pool.drain_timeout),
    key!("pool.balance", "", pool.balance),
    key!("connection.max_message_bytes", "MAX_MESSAGE_BYTES", connection.max_message_bytes),
    key!("connection.keepalive_time", "", connection.keepalive_time),
    key!("connection.keepalive_timeout", "", connection.keepalive_timeout),
    key!(
        "connection.keepalive_permit_without_calls",
        "",
        connection.keepalive_permit_without_calls
    ),
    key!("connection.connect_timeout", "", connection.connect_timeout),
    key!("connection.reconnect_backoff_min", "", connection.reconnect_backoff_min),
    key!("connection.max_reconnect_delay", "", connection.max_reconnect_delay),
    key!("connection.ping_interval", "PING_INTERVAL_SECS", connection.ping_interval),
    key!("connection.compression", "", connection.compression),
    key!("connection.user_agent", "", connection.user_agent),
    key!("connection.http_proxy", "", connection.http_proxy),
    key!("connection.dns_refresh", "", connection.dns_refresh),
    key!("health.enabled", "", health.enabled),
    key!("health.interval", "HEALTH_CHECK_INTERVAL_SECS", health.interval),
    key!("health.timeout", "", health.timeout),
    key!("health.tries", "", health.tries),
    key!("health.successes", "", health.successes),
    key!("health.service", "", health.service),
    key!("health.method", "", health.method),
    key!("health.watch", "", health.watch),
    key!("call.timeout", "CALL_TIMEOUT_MS", call.timeout),
    key!("call.attempt_timeout", "", call.attempt_timeout),
    key!("call.wait_for_ready", "", call.wait_for_ready),
    part!("retry.max_attempts", retry, max_attempts),
    part!("retry.initial_backoff", retry, initial_backoff),
    part!("retry.max_backoff", retry, max_backoff),
    part!("retry.multiplier", retry, multiplier),
    part!("retry.jitter", retry, jitter),
    part!("retry.codes", retry, codes),
    part!("retry.not_sent", retry, not_sent),
    part!("retry.unsafe_all", retry, unsafe_all),
    part!("retry.budget.per_call", retry, budget.per_call),
    part!("retry.budget.per_second", retry, budget.per_second),
    part!("retry.budget.most", retry, budget.most),
    part!("hedge.max_attempts", hedge, max_attempts),
    part!("hedge.delay", hedge, delay),
    part!("breaker.failures", breaker, failures),
    part!("breaker.successes", breaker, successes),
    part!("breaker.timeout", breaker, timeout),
    part!("breaker.codes", breaker, codes),
    part!("outlier.failures", outlier, failures),
    part!("outlier.error_ratio", outlier, error_ratio),
    part!("outlier.window", outlier, window),
    part!("outlier.min_calls", outlier, min_calls),
    part!("outlier.ejection_time", outlier, ejection_time),
    part!("outlier.max_ejection_time", outlier, max_ejection_time),
    part!("outlier.max_ejected", outlier, max_ejected),
    key!("events.sample_rate", "", events.sample_rate),
    key!("events.status_interval", "", events.status_interval),
    key!("enable_logging", "ENABLE_LOGGING", enable_logging),
    key!("enable_metrics", "ENABLE_METRICS", enable_metrics),
    switch!("enable_retry", "ENABLE_RETRY", retry),
    switch!("enable_circuit_breaker", "ENABLE_CIRCUIT_BREAKER", breaker),
    switch!("enable_outlier_ejection", "ENABLE_OUTLIER_EJECTION", outlier),
    key!("suppress_connection_errors", "", suppress_connection_errors),
];

/// Another name of a variable, and the one it means.
pub(super) const SYNONYM: (&str, &str) = ("CONNECTION_POOL_SIZE", "POOL_SIZE");

/// The variables of the address and the preset, and what they are called in a file.
pub(super) const ADDRESS: [(&str, &str); 5] = [
    ("PROFILE", "profile"),
    ("HOST", "host"),
    ("PORT", "port"),
    ("ADDRESSES", "addresses"),
    ("UPSTREAM_ENDPOINT", "endpoint"),
];

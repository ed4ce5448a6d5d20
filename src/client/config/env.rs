//! Settings from the environment: `GRPC_HOST`, `GRPC_PORT` and so on, or with the name of a
//! service, `GRPC_USERS_HOST`. Names of gRPC's own variables are never looked at.

use std::time::Duration;

use super::{ServiceConfig, TlsMode};
use crate::client::error::{ConfigError, Fault};

/// What a variable changes. An error is its rule.
type Set = fn(&mut ServiceConfig, &str) -> Result<(), String>;

/// The settings that variables change, beside the address. Two names with the same function mean
/// the same.
const KEYS: &[(&str, Set)] = &[
    ("TLS", |config, text| {
        config.tls.mode = match text {
            "auto" => TlsMode::Auto,
            "on" | "true" => TlsMode::On,
            "off" | "false" => TlsMode::Off,
            _ => return Err("must be auto, on or off".to_owned()),
        };
        Ok(())
    }),
    ("CA_FILE", |config, text| put(&mut config.tls.ca_file, text)),
    ("CERT_FILE", |config, text| put(&mut config.tls.cert_file, text)),
    ("KEY_FILE", |config, text| put(&mut config.tls.key_file, text)),
    ("SERVER_NAME", |config, text| put(&mut config.tls.server_name, text)),
    ("POOL_SIZE", |config, text| number(&mut config.pool.size, text)),
    ("CALLS_PER_CHANNEL", |config, text| number(&mut config.pool.calls_per_channel, text)),
    ("CHECKOUT_TIMEOUT_MS", |config, text| millis(&mut config.pool.checkout_timeout, text)),
    ("CONNECTION_TIMEOUT_SECS", |config, text| {
        let mut secs = 0;
        number(&mut secs, text)?;
        config.pool.open_timeout = Duration::from_secs(secs as u64);
        Ok(())
    }),
    ("MAX_MESSAGE_BYTES", |config, text| number(&mut config.connection.max_message_bytes, text)),
    ("CALL_TIMEOUT_MS", |config, text| {
        let mut timeout = Duration::ZERO;
        millis(&mut timeout, text)?;
        config.call.timeout = Some(timeout);
        Ok(())
    }),
];

impl ServiceConfig {
    /// Reads `GRPC_HOST` and `GRPC_PORT` (or `GRPC_ADDRESSES`, or `GRPC_UPSTREAM_ENDPOINT`), and
    /// other settings over the preset that `GRPC_PROFILE` names.
    ///
    /// # Errors
    /// Everything that is wrong, each with its variable and its rule.
    pub fn from_env() -> Result<ServiceConfig, ConfigError> {
        read("GRPC_", |name| std::env::var_os(name))
    }

    /// The same for one service of several: for `users`, `GRPC_USERS_HOST` and so on. Dashes and
    /// dots of the name are underscores.
    ///
    /// # Errors
    /// As for [`from_env`](Self::from_env).
    pub fn from_env_named(service: &str) -> Result<ServiceConfig, ConfigError> {
        let name = service.to_ascii_uppercase().replace(['-', '.'], "_");
        read(&format!("GRPC_{name}_"), |name| std::env::var_os(name))
    }
}

pub(super) fn read(
    prefix: &str,
    get: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<ServiceConfig, ConfigError> {
    let mut faults = Vec::new();
    let mut fault = |key: &str, rule: String| {
        faults.push(Fault { key: format!("{prefix}{key}"), rule });
    };
    let mut values: Vec<(&str, String)> = Vec::new();
    let addresses = ["PROFILE", "HOST", "PORT", "ADDRESSES", "UPSTREAM_ENDPOINT"];
    let synonym = "CONNECTION_POOL_SIZE";
    for key in addresses.into_iter().chain(KEYS.iter().map(|(key, _)| *key)).chain([synonym]) {
        match get(&format!("{prefix}{key}")).map(|value| value.into_string()) {
            Some(Ok(value)) => values.push((key, value)),
            Some(Err(_)) => fault(key, "must be UTF-8".to_owned()),
            None => {}
        }
    }
    let value =
        |key: &str| values.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str());
    let mut config = address(value, &mut fault);
    if let (Some(one), Some(other)) = (value("POOL_SIZE"), value(synonym)) {
        if one != other {
            fault("POOL_SIZE", format!("is {one}, and {prefix}{synonym} is {other}"));
        }
    }
    for (key, text) in &values {
        let key = if *key == synonym { "POOL_SIZE" } else { key };
        if let Some((_, set)) = KEYS.iter().find(|(known, _)| *known == key) {
            if let Err(rule) = set(&mut config, text) {
                fault(key, rule);
            }
        }
    }
    match faults.is_empty() {
        true => Ok(config),
        false => Err(ConfigError { faults }),
    }
}

/// The preset with the address.
fn address<'a>(
    value: impl Fn(&str) -> Option<&'a str>,
    fault: &mut impl FnMut(&str, String),
) -> ServiceConfig {
    let sources = ["HOST", "ADDRESSES", "UPSTREAM_ENDPOINT"];
    let given: Vec<&str> = sources.into_iter().filter(|key| value(key).is_some()).collect();
    if let [first, second, ..] = given[..] {
        fault(first, format!("must not be there together with {second}"));
    }
    let port = value("PORT").and_then(|text| {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        if port.is_none() {
            fault("PORT", format!("must be from 1 to 65535, and is {text:?}"));
        }
        port
    });
    if let (Some(_), Some(key)) = (value("PORT"), given.iter().find(|key| **key != "HOST")) {
        fault("PORT", format!("must not be there together with {key}"));
    }
    let host = value("HOST").unwrap_or_default();
    let mut config = match value("PROFILE") {
        None => ServiceConfig::new(host, 443),
        Some("production") => ServiceConfig::production(host),
        Some("local") => ServiceConfig::local(),
        Some("test") => ServiceConfig::test(host, 443),
        Some(other) => {
            fault("PROFILE", format!("must be production, local or test, and is {other:?}"));
            ServiceConfig::new(host, 443)
        }
    };
    if let Some(list) = value("ADDRESSES").or(value("UPSTREAM_ENDPOINT")) {
        config.addresses = list.split(',').map(|one| one.trim().to_owned()).collect();
    } else if !host.is_empty() || (port.is_some() && value("PROFILE") == Some("local")) {
        let host = if host.is_empty() { "localhost" } else { host };
        let default = if value("PROFILE") == Some("local") { 9090 } else { 443 };
        config.addresses = ServiceConfig::new(host, port.unwrap_or(default)).addresses;
    } else if value("PROFILE") != Some("local") {
        fault("HOST", "is required".to_owned());
    }
    config
}

fn put(place: &mut Option<String>, text: &str) -> Result<(), String> {
    *place = Some(text.to_owned());
    Ok(())
}

fn number(place: &mut usize, text: &str) -> Result<(), String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    *place = number.ok_or_else(|| format!("must be a number above 0, and is {text:?}"))?;
    Ok(())
}

fn millis(place: &mut Duration, text: &str) -> Result<(), String> {
    let mut millis = 0;
    number(&mut millis, text)?;
    *place = Duration::from_millis(millis as u64);
    Ok(())
}

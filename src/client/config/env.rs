//! Settings from the environment: `GRPC_HOST`, `GRPC_PORT` and so on, or with the name of a
//! service, `GRPC_USERS_HOST`. Names of gRPC's own variables are never looked at.

use super::keys::{ADDRESS, KEYS, SYNONYM};
use super::layers::{combine, ConfigLayer};
use super::variables::Variables;
use super::ServiceConfig;
use crate::client::error::{ConfigError, Fault};
use crate::settings::{Content, Origin, SettingFault, SettingFaults, SettingValue};

/// Times that are written as numbers, with the unit in the variable's name.
const UNITS: [(&str, &str, &str); 2] = [("_MS", "ms", "milliseconds"), ("_SECS", "s", "seconds")];

impl ServiceConfig {
    /// Reads `GRPC_HOST` and `GRPC_PORT` (or `GRPC_ADDRESSES`, or `GRPC_UPSTREAM_ENDPOINT`), and
    /// other settings over the preset that `GRPC_PROFILE` names. One that is probably misspelt is
    /// named beside the errors, and else by [`advice`](Self::advice).
    ///
    /// # Errors
    /// Everything that is wrong, each with its variable and its rule.
    pub fn from_env() -> Result<ServiceConfig, ConfigError> {
        read("GRPC_", &Variables::of_process())
    }

    /// The same for one service of several: for `users`, `GRPC_USERS_HOST` and so on. Dashes and
    /// dots of the name are underscores.
    ///
    /// # Errors
    /// As for [`from_env`](Self::from_env).
    pub fn from_env_named(service: &str) -> Result<ServiceConfig, ConfigError> {
        read(&prefix(service), &Variables::of_process())
    }
}

/// What the variables of a service begin with.
pub(super) fn prefix(service: &str) -> String {
    format!("GRPC_{}_", service.to_ascii_uppercase().replace(['-', '.'], "_"))
}

pub(super) fn read(prefix: &str, variables: &Variables) -> Result<ServiceConfig, ConfigError> {
    let mut faults = SettingFaults::default();
    let layer = layer(prefix, variables, &mut faults);
    let read = combine(&[&layer], faults).and_then(ServiceConfig::checked);
    hinting(read, variables.misspelt(prefix))
}

/// What was read, with the variables that are probably misspelt: beside what is wrong, which may
/// be so because of them, or else as advice.
pub(super) fn hinting(
    read: Result<ServiceConfig, ConfigError>,
    hints: Vec<Fault>,
) -> Result<ServiceConfig, ConfigError> {
    match read {
        Ok(mut config) => {
            config.hint(hints);
            Ok(config)
        }
        Err(mut error) => {
            error.faults.extend(hints);
            Err(error)
        }
    }
}

/// The settings that variables with this prefix give.
pub(super) fn layer(
    prefix: &str,
    variables: &Variables,
    faults: &mut SettingFaults,
) -> ConfigLayer {
    let mut layer = ConfigLayer::default();
    let keys = KEYS.iter().filter(|key| !key.variable.is_empty());
    let keys = keys.map(|key| (key.variable, key.name));
    for (variable, name) in ADDRESS.into_iter().chain(keys) {
        if let Some(value) = faults.keep(value(prefix, variable, name, variables)).flatten() {
            layer.0.insert(name, value);
        }
    }
    let (synonym, meant) = SYNONYM;
    if let Some(other) = faults.keep(value(prefix, synonym, "pool.size", variables)).flatten() {
        match layer.0.get("pool.size") {
            Some(known) if known.content != other.content => {
                let rule = format!("must be the same as {prefix}{meant}");
                faults.add(other.fault_shown(rule));
            }
            Some(_) => {}
            None => drop(layer.0.insert("pool.size", other)),
        }
    }
    layer
}

fn value(
    prefix: &str,
    variable: &str,
    name: &str,
    variables: &Variables,
) -> Result<Option<SettingValue>, SettingFault> {
    let full = format!("{prefix}{variable}");
    let Some(text) = variables.get(&full) else {
        return Ok(None);
    };
    let origin = Origin::Variable(full);
    let text = text.to_str();
    let text = text.ok_or_else(|| SettingFault::new(name, origin.clone(), "must be UTF-8"))?;
    let mut value = SettingValue::text_of(name, text, origin);
    let unit = UNITS.iter().find(|(end, ..)| variable.ends_with(end));
    if let Some((_, unit, words)) = unit.filter(|_| text != "off") {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(value.fault_shown(format!("must be a number of {words}")));
        }
        value.content = Content::Text(format!("{text}{unit}"));
    }
    Ok(Some(value))
}

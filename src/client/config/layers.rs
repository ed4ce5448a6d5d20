//! Settings from several places, of which one is stronger than the other.

use std::collections::BTreeMap;

use super::keys::KEYS;
use super::ServiceConfig;
use crate::client::error::{ConfigError, Fault};
use crate::settings::{SettingFault, SettingFaults, SettingValue};

/// The settings of one place, by their names in files.
#[derive(Default)]
pub(super) struct ConfigLayer(pub(super) BTreeMap<&'static str, SettingValue>);

/// What gives an address, beside the port.
pub(super) const ADDRESSES: [&str; 3] = ["host", "addresses", "endpoint"];

/// The presets by their names.
const PROFILES: [(&str, &str); 4] = [
    ("production", "production"),
    ("local", "local"),
    ("test", "test"),
    ("connection_pool", "connection_pool"),
];

/// The configuration of all layers, the weakest first.
///
/// # Errors
/// Everything that is wrong, each with its key, where it came from, and its rule.
pub(super) fn combine(
    layers: &[&ConfigLayer],
    mut faults: SettingFaults,
) -> Result<ServiceConfig, ConfigError> {
    let strongest = |name: &str| layers.iter().rev().find_map(|layer| layer.0.get(name));
    let profile = strongest("profile").and_then(|value| faults.keep(value.choice(&PROFILES)));
    let mut config = address(layers, profile, &mut faults);
    for layer in layers {
        for key in KEYS {
            let Some(value) = layer.0.get(key.name) else { continue };
            if faults.keep((key.set)(&mut config, value)).is_some() {
                config.came_from(key.name, value.origin.clone());
            }
        }
    }
    if faults.0.is_empty() {
        return Ok(config);
    }
    let mut error = ConfigError::from(faults);
    // What could be read may be out of its range, but for an address that could not.
    let more = config.checked().err().into_iter().flat_map(|error| error.faults);
    error.faults.extend(more.filter(|fault| !fault.is_of_address()));
    Err(error)
}

/// The preset with the address, which the strongest layer gives that gives any.
fn address(
    layers: &[&ConfigLayer],
    profile: Option<&'static str>,
    faults: &mut SettingFaults,
) -> ServiceConfig {
    let given = layers.iter().enumerate().rev().find_map(|(rank, layer)| {
        let mut given = ADDRESSES.iter().filter_map(|name| layer.0.get(*name));
        let first = given.next()?;
        if let Some(second) = given.next() {
            let second = format!("must not be there together with {}", place(second));
            faults.add(first.fault(second));
        }
        Some((rank, first))
    });
    let ports = layers.iter().enumerate().rev();
    let port = ports.filter_map(|(rank, layer)| Some((rank, layer.0.get("port")?))).next();
    let number = port.and_then(|(_, value)| faults.keep(value.number(1..=65535)));
    let host = given.filter(|(_, value)| value.key.ends_with("host"));
    let text = host.and_then(|(_, value)| faults.keep(value.text())).unwrap_or_default();
    let name = profile.unwrap_or_default();
    let preset = ServiceConfig::of_profile(name, text);
    let mut config = preset.unwrap_or_else(|| ServiceConfig::new(text, 443));
    match given {
        Some((rank, list)) if host.is_none() => {
            if let Some((_, value)) = port.filter(|(of_port, _)| *of_port >= rank) {
                faults.add(value.fault(format!("must not be there together with {}", place(list))));
            }
            config.addresses = faults.keep(list.texts()).unwrap_or_default();
            config.came_from("addresses", list.origin.clone());
        }
        Some((_, value)) => {
            let default = config.default_port();
            let port = number.map_or(default, |number| u16::try_from(number).unwrap_or(default));
            config.addresses = ServiceConfig::new(text, port).addresses;
            config.came_from("addresses", value.origin.clone());
        }
        None if name == "local" => {
            if let Some((number, (_, value))) = number.zip(port) {
                config.addresses = vec![format!("localhost:{number}")];
                config.came_from("addresses", value.origin.clone());
            }
        }
        None => {
            let of = if name.is_empty() { "endpoint" } else { name };
            let rule = format!("is required for {of} configuration");
            faults.add(SettingFault::new("host", crate::settings::Origin::Default, rule));
        }
    }
    config
}

/// A key as an error names it.
fn place(value: &SettingValue) -> String {
    format!("{} ({})", value.key, value.origin)
}

impl ServiceConfig {
    /// Checks what was combined; each error says where its setting came from.
    pub(super) fn checked(self) -> Result<ServiceConfig, ConfigError> {
        match self.check() {
            Ok(_) => Ok(self),
            Err(mut error) => {
                for fault in &mut error.faults {
                    // An address is one of the list.
                    let of_list = fault.is_of_address().then_some("addresses");
                    if let Some(origin) = self.origin(of_list.unwrap_or(&fault.key)) {
                        fault.key = format!("{} ({origin})", fault.key);
                    }
                }
                Err(error)
            }
        }
    }
}

impl Fault {
    /// It is of one address, or of all.
    fn is_of_address(&self) -> bool {
        ["address ", "host ", "addresses"].iter().any(|word| self.key.starts_with(word))
    }
}

impl ConfigError {
    /// The same, where each fault names the service.
    pub(in crate::client) fn of_service(mut self, service: &str) -> ConfigError {
        for Fault { key, .. } in &mut self.faults {
            // A variable has the service's name, or is its alone.
            if !["services.", "defaults.", "GRPC_"].iter().any(|start| key.starts_with(start)) {
                *key = format!("services.{service}.{key}");
            }
        }
        self
    }
}

impl From<SettingFaults> for ConfigError {
    fn from(faults: SettingFaults) -> ConfigError {
        let fault = |SettingFault { key, origin, rule }: SettingFault| {
            let place = origin.to_string();
            let key = match (key.is_empty(), &*place) {
                (true, _) => format!("{place}:"),
                (false, "default") => key,
                (false, _) => format!("{key} ({place})"),
            };
            Fault { key, rule }
        };
        ConfigError { faults: faults.0.into_iter().map(fault).collect() }
    }
}

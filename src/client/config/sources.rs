//! Where the settings of a service came from.

mod rules;

use std::collections::BTreeMap;

use super::keys::KEYS;
use super::ServiceConfig;
use crate::client::error::Fault;
use crate::settings::Origin;

/// A setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingInfo {
    /// Its name in a file, with its tables: `pool.size`.
    pub name: &'static str,
    /// The end of its variable's name, after `GRPC_` or `GRPC_SERVICE_`; empty: it has none.
    pub variable: &'static str,
    /// What kind of value it has: `time` is with a unit, sizes are in bytes.
    pub kind: &'static str,
    /// Its value, as a file would have it, without quotes around times.
    pub value: String,
    /// Its default.
    pub default: String,
    /// `default`, `profile NAME`, `FILE:LINE`, a variable, or `code`.
    pub source: String,
}

/// Where each setting came from, and what it was when it came. One that is something else by now
/// was changed by the program.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    profile: Option<&'static str>,
    /// Those of a method's rule by `methods."/a.B/C".timeout`.
    given: BTreeMap<String, (String, Origin)>,
    /// Variables that are probably misspelt.
    hints: Vec<Fault>,
}

/// Where it came from makes no difference.
impl PartialEq for Sources {
    fn eq(&self, _: &Sources) -> bool {
        true
    }
}

/// The name of the addresses among the settings.
const ADDRESSES: &str = "addresses";

impl Sources {
    pub(super) fn of_profile(profile: &'static str) -> Sources {
        Sources { profile: Some(profile), ..Sources::default() }
    }

    pub(super) fn profile(&self) -> Option<&'static str> {
        self.profile
    }
}

/// The value of a setting, by its name.
fn shown(config: &ServiceConfig, name: &str) -> Option<String> {
    if name == ADDRESSES {
        return Some(config.addresses.join(","));
    }
    KEYS.iter().find(|key| key.name == name).map(|key| (key.get)(config))
}

impl ServiceConfig {
    /// A setting came from there, and is in its place.
    pub(super) fn came_from(&mut self, name: &str, origin: Origin) {
        if let Some(value) = shown(self, name) {
            self.sources.given.insert(name.to_owned(), (value, origin));
        }
    }

    /// Where a setting came from.
    pub(super) fn origin(&self, name: &str) -> Option<&Origin> {
        let given = &self.sources.given;
        given.get(name).map(|(_, origin)| origin).or_else(|| self.origin_of_rule(name))
    }

    /// These variables are probably misspelt.
    pub(super) fn hint(&mut self, hints: Vec<Fault>) {
        self.sources.hints.extend(hints);
    }

    /// Variables that are probably misspelt.
    pub(super) fn hints(&self) -> &[Fault] {
        &self.sources.hints
    }

    /// The preset that it began with.
    pub(super) fn profile(&self) -> Option<&'static str> {
        self.sources.profile()
    }

    /// Every setting with its value, unit and source. Secrets are none of them: credentials, and
    /// what is in files, are not shown.
    pub fn settings(&self) -> Vec<SettingInfo> {
        let (bare, preset) = (ServiceConfig::of(Vec::new()), self.preset());
        let info = |name: &'static str, variable, kind| {
            let value = shown(self, name).unwrap_or_default();
            let source = match self.sources.given.get(name) {
                Some((given, origin)) if *given == value => origin.to_string(),
                Some(_) => "code".to_owned(),
                None if Some(&value) == shown(&bare, name).as_ref() => "default".to_owned(),
                None if Some(&value) == shown(&preset, name).as_ref() => {
                    format!("profile {}", self.sources.profile.unwrap_or_default())
                }
                None => "code".to_owned(),
            };
            let default = shown(&bare, name).unwrap_or_default();
            SettingInfo { name, variable, kind, value, default, source }
        };
        let mut all = vec![info(ADDRESSES, "ADDRESSES", "list of addresses")];
        all.extend(KEYS.iter().map(|key| info(key.name, key.variable, (key.kind)(self))));
        all
    }

    /// The same as text: `pool.size = 8 (clients.toml:4)`, a setting a line; after them the rules
    /// of methods.
    pub fn effective(&self) -> String {
        let line = |one: SettingInfo| format!("{} = {} ({})\n", one.name, one.value, one.source);
        self.settings().into_iter().map(line).chain(self.rules()).collect()
    }

    fn preset(&self) -> ServiceConfig {
        let profile = self.sources.profile.unwrap_or_default();
        ServiceConfig::of_profile(profile, "").unwrap_or_else(|| ServiceConfig::of(Vec::new()))
    }
}

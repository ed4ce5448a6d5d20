//! Settings from a TOML file, and from variables over them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::check::{AT_MOST, LONGEST};
use super::env;
use super::keys::KEYS;
use super::layers::{combine, ConfigLayer, ADDRESSES};
use super::many::SettingsFile;
use super::setting::Setting;
use super::variables::Variables;
use super::{Config, MethodPolicy, ServiceConfig};
use crate::client::error::ConfigError;
use crate::settings::{file, Origin, SettingFault, SettingFaults, SettingValue, Table};

/// The settings that only the address and the preset have.
const OTHER: [&str; 2] = ["profile", "port"];
/// The parts that methods may have of their own.
const PARTS: [&str; 3] = ["retry.", "breaker.", "hedge."];

impl Config {
    /// Reads a TOML file: `[services.NAME]` for each service, and `[defaults]` for all. Variables
    /// win over it: `GRPC_NAME_…`, and those without a name if there is one service.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key, its line or variable, and its rule. A key
    /// that is not known is wrong.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Config, ConfigError> {
        let document = file::read(path.as_ref())?;
        let config = Config::of(document.root, &Variables::of_process())?;
        let (path, services) = (path.as_ref().to_owned(), config.services.clone());
        Ok(Config { file: Some(Arc::new(SettingsFile { path, services })), ..config })
    }

    /// The same from a text, without variables. `name` stands for the file in errors.
    ///
    /// # Errors
    /// As for [`from_file`](Self::from_file).
    pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
        Config::of(file::parse(name, text)?, &Variables::none())
    }

    pub(super) fn of(mut root: Table, variables: &Variables) -> Result<Config, ConfigError> {
        let mut faults = SettingFaults::default();
        let reload = faults.keep(root.take("reload")).flatten();
        let reload = reload.and_then(|value| faults.keep(period(&value)));
        let defaults = faults.keep(root.take_table("defaults")).flatten();
        let services = faults.keep(root.take_table("services")).flatten();
        root.finish(&mut faults);
        let defaults = defaults.map(|table| Entry::read(table, &mut faults)).unwrap_or_default();
        let mut named = Vec::new();
        for (name, table) in services.into_iter().flat_map(Table::into_named) {
            if let Some(table) = faults.keep(table) {
                named.push((name, Entry::read(table, &mut faults)));
            }
        }
        let mut error = ConfigError::from(faults);
        let (mut config, alone) = (Config::new(), named.len() == 1);
        config.reload = reload.as_ref().and_then(|(period, _)| *period);
        config.reload_from = reload;
        for (name, entry) in named {
            match entry.service(&defaults, &name, alone, variables) {
                Ok(service) => drop(config.services.insert(name, service)),
                Err(wrong) => error.faults.extend(wrong.of_service(&name).faults),
            }
        }
        match error.faults.is_empty() {
            true => Ok(config),
            false => Err(error),
        }
    }
}

/// How often the file is looked at, and where that stands.
fn period(value: &SettingValue) -> Result<(Option<Duration>, Origin), SettingFault> {
    let period = Option::<Duration>::read(value)?;
    match period.is_some_and(|period| period.is_zero() || period > LONGEST) {
        true => Err(value.fault(format!("must be above 0 and {AT_MOST}"))),
        false => Ok((period, value.origin.clone())),
    }
}

/// What a table of a service holds.
#[derive(Default)]
struct Entry {
    layer: ConfigLayer,
    methods: Vec<Rule>,
}

/// What is different for some methods, and where each part of it stands: its keys below that of
/// the rule, and the rule itself by no key.
struct Rule {
    pattern: String,
    policy: MethodPolicy,
    origins: Vec<(String, Origin)>,
}

impl Entry {
    fn read(table: Table, faults: &mut SettingFaults) -> Entry {
        let mut tables = Tables { open: HashMap::from([("", Some(table))]) };
        let keys = KEYS.iter().map(|key| key.name).chain(ADDRESSES).chain(OTHER);
        let mut layer = ConfigLayer::default();
        for name in keys {
            let (parent, last) = name.rsplit_once('.').unwrap_or(("", name));
            let Some(table) = tables.open(parent, faults) else { continue };
            if let Some(value) = faults.keep(table.take(last)).flatten() {
                layer.0.insert(name, value);
            }
        }
        let methods = tables.open("methods", faults).is_some();
        let methods = tables.open.remove("methods").flatten().filter(|_| methods);
        let methods = methods.map(|table| rules(table, faults)).unwrap_or_default();
        // The keys of inner tables are known to the outer ones, so that their order is no matter.
        for table in tables.open.into_values().flatten() {
            table.finish(faults);
        }
        Entry { layer, methods }
    }

    fn service(
        &self,
        defaults: &Entry,
        name: &str,
        alone: bool,
        variables: &Variables,
    ) -> Result<ServiceConfig, ConfigError> {
        let mut faults = SettingFaults::default();
        let mut layers = vec![&defaults.layer, &self.layer];
        let unnamed = alone.then(|| env::layer("GRPC_", variables, &mut faults));
        layers.extend(unnamed.as_ref());
        let prefix = env::prefix(name);
        let own = env::layer(&prefix, variables, &mut faults);
        layers.push(&own);
        let ruled = |mut config: ServiceConfig| {
            for rule in defaults.methods.iter().chain(&self.methods) {
                config.methods.set(&rule.pattern, rule.policy.clone());
                config.rule_came_from(&rule.pattern, &rule.origins);
            }
            config.checked()
        };
        let mut hints = variables.misspelt(&prefix);
        if alone {
            // Those with the service's name are among them already.
            let unnamed = variables.misspelt("GRPC_").into_iter();
            hints.extend(unnamed.filter(|hint| !hint.key.starts_with(&prefix)));
        }
        env::hinting(combine(&layers, faults).and_then(ruled), hints)
    }
}

/// The tables of a service, opened when a key of theirs is read.
struct Tables {
    open: HashMap<&'static str, Option<Table>>,
}

impl Tables {
    fn open(&mut self, name: &'static str, faults: &mut SettingFaults) -> Option<&mut Table> {
        if !self.open.contains_key(name) {
            let (parent, last) = name.rsplit_once('.').unwrap_or(("", name));
            let opened = self.open(parent, faults).map(|table| table.take_table(last));
            let opened = opened.and_then(|table| faults.keep(table)).flatten();
            self.open.insert(name, opened);
        }
        self.open.get_mut(name)?.as_mut()
    }
}

/// What is different for some methods.
fn rules(table: Table, faults: &mut SettingFaults) -> Vec<Rule> {
    let named = table.into_named().into_iter();
    let tables = named.filter_map(|(pattern, table)| Some((pattern, faults.keep(table)?)));
    let tables: Vec<(String, Table)> = tables.collect();
    let read = |(pattern, table)| rule(pattern, table, faults);
    tables.into_iter().map(read).collect()
}

/// The parts are read as those of a service, so that they have the same keys.
fn rule(pattern: String, table: Table, faults: &mut SettingFaults) -> Rule {
    let mut read = MethodPolicy::new();
    let mut origins = vec![(String::new(), table.origin.clone())];
    let mut parts = ServiceConfig::of(Vec::new());
    (parts.retry, parts.breaker, parts.hedge) = (None, None, None);
    let mut tables = Tables { open: HashMap::from([("", Some(table))]) };
    let mut take = |parent: &'static str, last: &'static str, faults: &mut SettingFaults| {
        let taken = tables.open(parent, faults)?.take(last);
        let value = faults.keep(taken).flatten()?;
        let key = if parent.is_empty() { last.to_owned() } else { format!("{parent}.{last}") };
        origins.push((key, value.origin.clone()));
        Some(value)
    };
    let idempotent = take("", "idempotent", faults);
    let idempotent = idempotent.and_then(|value| faults.keep(bool::read(&value)));
    read.idempotent = idempotent.unwrap_or_default();
    for (name, place) in
        [("timeout", &mut read.timeout), ("attempt_timeout", &mut read.attempt_timeout)]
    {
        let time = take("", name, faults);
        *place = time.and_then(|value| faults.keep(Duration::read(&value)));
    }
    let of_calls = |name: &str| PARTS.iter().any(|part| name.starts_with(part));
    for key in KEYS.iter().filter(|key| of_calls(key.name)) {
        let (parent, last) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if let Some(value) = take(parent, last, faults) {
            faults.keep((key.set)(&mut parts, &value));
        }
    }
    for table in tables.open.into_values().flatten() {
        table.finish(faults);
    }
    let ServiceConfig { retry, breaker, hedge, .. } = parts;
    Rule { pattern, policy: MethodPolicy { retry, breaker, hedge, ..read }, origins }
}

//! Settings from a TOML file, and from variables over them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::check::LONGEST;
use super::env;
use super::keys::KEYS;
use super::layers::{combine, Layer, ADDRESSES};
use super::many::SettingsFile;
use super::setting::Setting;
use super::{Config, MethodPolicy, ServiceConfig};
use crate::client::error::ConfigError;
use crate::settings::{file, Fault, Faults, Origin, Table, Value};

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
        let config = Config::of(document.root, |name| std::env::var_os(name))?;
        let (path, services) = (path.as_ref().to_owned(), config.services.clone());
        Ok(Config { file: Some(Arc::new(SettingsFile { path, services })), ..config })
    }

    /// The same from a text, without variables. `name` stands for the file in errors.
    ///
    /// # Errors
    /// As for [`from_file`](Self::from_file).
    pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
        Config::of(file::parse(name, text)?, |_| None)
    }

    pub(super) fn of(
        mut root: Table,
        get: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        let mut faults = Faults::default();
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
            match entry.service(&defaults, &name, alone, &get) {
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
fn period(value: &Value) -> Result<(Option<Duration>, Origin), Fault> {
    let period = Option::<Duration>::read(value)?;
    match period.is_some_and(|period| period.is_zero() || period > LONGEST) {
        true => Err(value.fault(format!("must be above 0 and at most {} s", LONGEST.as_secs()))),
        false => Ok((period, value.origin.clone())),
    }
}

/// What a table of a service holds.
#[derive(Default)]
struct Entry {
    layer: Layer,
    methods: Vec<(String, MethodPolicy)>,
}

impl Entry {
    fn read(table: Table, faults: &mut Faults) -> Entry {
        let mut tables = Tables { open: HashMap::from([("", Some(table))]) };
        let keys = KEYS.iter().map(|key| key.name).chain(ADDRESSES).chain(OTHER);
        let mut layer = Layer::default();
        for name in keys {
            let (parent, last) = name.rsplit_once('.').unwrap_or(("", name));
            let Some(table) = tables.open(parent, faults) else { continue };
            if let Some(value) = faults.keep(table.take(last)).flatten() {
                layer.0.insert(name, value);
            }
        }
        let methods = tables.open("methods", faults).is_some();
        let methods = tables.open.remove("methods").flatten().filter(|_| methods);
        let methods = methods.map(|table| policies(table, faults)).unwrap_or_default();
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
        get: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<ServiceConfig, ConfigError> {
        let mut faults = Faults::default();
        let mut layers = vec![&defaults.layer, &self.layer];
        let unnamed = alone.then(|| env::layer("GRPC_", get, &mut faults));
        layers.extend(unnamed.as_ref());
        let own = env::layer(&env::prefix(name), get, &mut faults);
        layers.push(&own);
        let mut config = combine(&layers, faults)?;
        for (pattern, policy) in defaults.methods.iter().chain(&self.methods) {
            config.methods.set(pattern, policy.clone());
        }
        config.checked()
    }
}

/// The tables of a service, opened when a key of theirs is read.
struct Tables {
    open: HashMap<&'static str, Option<Table>>,
}

impl Tables {
    fn open(&mut self, name: &'static str, faults: &mut Faults) -> Option<&mut Table> {
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
fn policies(table: Table, faults: &mut Faults) -> Vec<(String, MethodPolicy)> {
    let mut policies = Vec::new();
    for (pattern, table) in table.into_named() {
        if let Some(table) = faults.keep(table) {
            policies.push((pattern, policy(table, faults)));
        }
    }
    policies
}

/// The parts are read as those of a service, so that they have the same keys.
fn policy(table: Table, faults: &mut Faults) -> MethodPolicy {
    let mut read = MethodPolicy::new();
    let mut parts = ServiceConfig::of(Vec::new());
    (parts.retry, parts.breaker, parts.hedge) = (None, None, None);
    let mut tables = Tables { open: HashMap::from([("", Some(table))]) };
    if let Some(own) = tables.open("", faults) {
        let idempotent = faults.keep(own.take("idempotent")).flatten();
        let idempotent = idempotent.and_then(|value| faults.keep(bool::read(&value)));
        read.idempotent = idempotent.unwrap_or_default();
        for (name, place) in
            [("timeout", &mut read.timeout), ("attempt_timeout", &mut read.attempt_timeout)]
        {
            let time = faults.keep(own.take(name)).flatten();
            *place = time.and_then(|value| faults.keep(Duration::read(&value)));
        }
    }
    let of_calls = |name: &str| PARTS.iter().any(|part| name.starts_with(part));
    for key in KEYS.iter().filter(|key| of_calls(key.name)) {
        let (parent, last) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        let Some(table) = tables.open(parent, faults) else { continue };
        if let Some(value) = faults.keep(table.take(last)).flatten() {
            faults.keep((key.set)(&mut parts, &value));
        }
    }
    for table in tables.open.into_values().flatten() {
        table.finish(faults);
    }
    MethodPolicy { retry: parts.retry, breaker: parts.breaker, hedge: parts.hedge, ..read }
}

//! What was given for a tenant: for each key its value, with its place.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::config::elsewhere::elsewhere;
use crate::config::keys::{self, Section};
use crate::config::tenant_keys::{DSN_ENV, KEYS};
use crate::settings::{Origin, SettingFault, SettingFaults, SettingValue, Table};

/// The most tenants of a file. Each is known from the start, with a queue and metrics of its own:
/// some 20 kB.
pub const TENANTS_MAX: usize = 5000;

/// What was given for a tenant.
pub struct RawTenant {
    /// Its name, which may be no legal one.
    pub name: String,
    /// Its table, as messages name it: `tenants.orders`.
    pub key: String,
    /// Where that begins.
    pub origin: Origin,
    /// The values, by the names of their keys.
    pub values: BTreeMap<&'static str, SettingValue>,
    /// What the variable holds that `dsn_env` names.
    pub variable: Option<OsString>,
    /// Its table has something that is not understood.
    pub has_unknown: bool,
}

impl RawTenant {
    /// A fault of the table.
    pub(in crate::config) fn fault(&self, rule: impl Into<String>) -> SettingFault {
        SettingFault::new(&self.key, self.origin.clone(), rule)
    }

    /// A fault of one of its keys; of the table if that was not given.
    pub(in crate::config) fn fault_of(&self, name: &str, rule: impl Into<String>) -> SettingFault {
        match self.values.get(name) {
            Some(value) => value.fault(rule),
            None => SettingFault::new(&format!("{}.{name}", self.key), self.origin.clone(), rule),
        }
    }
}

/// Takes the tenants out of `[tenants]`. Every key that is not known is a fault.
pub fn take(
    tenants: Table,
    variable: &dyn Fn(&str) -> Option<OsString>,
    faults: &mut SettingFaults,
) -> Vec<RawTenant> {
    let whole = tenants.fault(format!("must not have more than {TENANTS_MAX} tenants"));
    let named = tenants.into_named();
    if named.len() > TENANTS_MAX {
        faults.add(whole);
        return Vec::new();
    }
    let mut all = Vec::new();
    for (name, table) in named {
        let Some(mut table) = faults.keep(table) else { continue };
        let mut raw = RawTenant {
            name,
            key: table.key.clone(),
            origin: table.origin.clone(),
            values: BTreeMap::new(),
            variable: None,
            has_unknown: false,
        };
        let before = faults.0.len();
        let shared = keys::keys().filter(|key| key.table == Section::Defaults);
        for name in KEYS.iter().map(|key| key.name).chain(shared.map(|key| key.name)) {
            let value = faults.keep(table.take(name)).flatten();
            raw.values.extend(value.map(|value| (name, value)));
        }
        table.finish_with(faults, elsewhere);
        raw.has_unknown = faults.0.len() > before;
        let named = raw.values.get(DSN_ENV).and_then(|value| value.text().ok());
        raw.variable = named.and_then(variable);
        all.push(raw);
    }
    all
}

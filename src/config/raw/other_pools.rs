//! The tenant that the variables of other pools tell of.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::tenants::RawTenant;
use crate::config::tenant_keys::PASSWORD;
use crate::settings::{Origin, SettingFault, SettingFaults, SettingValue};

/// Its name.
const NAME: &str = "default";
/// The variable without which there is no such tenant: the others alone may be meant for another
/// program.
const HOST: &str = "DB_HOST";
/// The variables, each with the key of a tenant's table that means the same. Of two for one key the
/// last one holds.
pub(in crate::config) const VARIABLES: [(&str, &str); 7] = [
    (HOST, "host"),
    ("DB_PORT", "port"),
    ("DB_NAME", "database"),
    ("DB_USER", "user"),
    ("DB_PASSWORD", PASSWORD),
    ("DB_SSLMODE", "ssl_mode"),
    ("DB_SSL_MODE", "ssl_mode"),
];

/// Adds that tenant to those of the file, if there is one.
pub fn add(
    tenants: &mut Vec<RawTenant>,
    variable: &dyn Fn(&str) -> Option<OsString>,
    faults: &mut SettingFaults,
) {
    if variable(HOST).is_none() {
        return;
    }
    let origin = Origin::Variable(HOST.to_owned());
    let key = format!("tenants.{NAME}");
    if let Some(filed) = tenants.iter().find(|tenant| tenant.name == NAME) {
        // Either would silently hide the other.
        faults.add(filed.fault(format!("must not be configured beside {HOST}")));
        return;
    }
    let (mut values, before) = (BTreeMap::new(), faults.0.len());
    for (name, in_table) in VARIABLES {
        let (key, origin) = (format!("{key}.{in_table}"), Origin::Variable(name.to_owned()));
        match variable(name).map(OsString::into_string) {
            None => {}
            Some(Ok(text)) => {
                values.insert(in_table, SettingValue::text_of(&key, &text, origin));
            }
            Some(Err(_)) => faults.add(SettingFault::new(&key, origin, "must be UTF-8")),
        }
    }
    let (name, has_unknown) = (NAME.to_owned(), faults.0.len() > before);
    tenants.push(RawTenant { name, key, origin, values, variable: None, has_unknown });
}

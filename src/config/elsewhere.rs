//! Where a key belongs that is not known in the table in which it is.

use crate::config::keys;
use crate::config::tenant_keys;

/// The keys of an identity's table.
const OF_IDENTITIES: [&str; 3] = ["tokens", "certificates", "role"];

/// What to tell whoever wrote it there, as the end of a sentence.
pub(super) fn elsewhere(name: &str) -> Option<String> {
    if name == "password" {
        return Some("a password is in a file that password_file names, or in a DSN".to_owned());
    }
    if let Some(key) = keys::find(name) {
        return Some(format!("it belongs in [{}]", key.table.name()));
    }
    if tenant_keys::KEYS.iter().any(|key| key.name == name) {
        return Some("it belongs in [tenants.NAME]".to_owned());
    }
    if let Some(here) = tenant_keys::of_dsn(name).or_else(|| tenant_keys::of_pool_key(name)) {
        return Some(format!("it is a key of DSNs, and {here} in [tenants.NAME]"));
    }
    OF_IDENTITIES.contains(&name).then(|| "it belongs in [identities.NAME]".to_owned())
}

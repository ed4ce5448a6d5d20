//! A configuration file with every key and its default, for who begins one.

use crate::config::draft::Draft;
use crate::config::keys::{self, Section, SettingKey};
use crate::config::tenants;

/// The text of the file. Every key is commented out with its default, so that it changes nothing as
/// it is.
pub fn with_defaults() -> String {
    let mut text = String::from(HEAD);
    for table in [Section::Service, Section::Defaults] {
        text.push_str(&format!("\n[{}]\n", table.name()));
        if table == Section::Defaults {
            text.push_str("# For all tenants; each key may be in the table of a tenant too.\n");
        }
        for key in keys::keys().filter(|key| key.table == table) {
            text.push('\n');
            text.push_str(&entry(key));
        }
    }
    text.push_str(TENANT);
    for key in tenants::keys::KEYS {
        text.push_str(&format!("\n# {}\n#{} = {}\n", key.help, key.name, key.example));
    }
    text
}

/// The beginning of a tenant.
pub(super) const TENANT: &str = "
# A tenant: clients name it, and need no DSN. One table each; it may have every key of [defaults] too.
#[tenants.\"orders\"]
";

const HEAD: &str = "\
# Configuration of connection-pool-manager: every key with its default.
# Flags and CPM_ variables win over this file.
# A time is in seconds or has units: 30, \"1m30s\", \"250ms\". A size is in bytes or has a unit: \"64MiB\".

# Settings that go together: local, test or production.
#profile = \"production\"
";

fn entry(key: &SettingKey) -> String {
    let allowed = key.kind.allowed();
    let help = format!("# {}\n# Allowed: {allowed}.", key.help);
    match (key.toml(&Draft::default()), key.default) {
        (Some(value), None) => format!("{help}\n#{} = {value}\n", key.name),
        (Some(value), Some(words)) => {
            format!("{help} Default: {words}.\n#{} = {value}\n", key.name)
        }
        (None, words) => {
            let words = words.unwrap_or("none");
            format!("{help} Default: {words}.\n#{} =\n", key.name)
        }
    }
}

//! A configuration file with every key and its default, for who begins one.

use crate::config::draft::Draft;
use crate::config::keys::{self, Section, SettingKey};
use crate::config::tenant_keys;

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
    text.push_str(IDENTITY);
    text.push_str(TENANT);
    for key in tenant_keys::KEYS {
        text.push_str(&format!("\n{}#{} = {}\n", comment(key.help), key.name, key.example));
    }
    text
}

/// An identity.
pub(super) const IDENTITY: &str = "
# Who may call: one table each. Without any, everybody may. What proves it is a token, of which the
# file has the digest (printf %s TOKEN | sha256sum), or a certificate of client_ca.
#[identities.\"shop\"]

# Its tokens, each until it expires.
#tokens = [{ sha256 = \"64 hexadecimal digits\", expires = 2027-01-31T00:00:00Z }]

# The names in its certificates: URI, DNS name or common name.
#certificates = [\"spiffe://example.com/shop\"]

# What it may do beyond using tenants. Allowed: observer, admin. Default: none.
#role = \"observer\"
";

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

/// Values of the keys whose default is none that could be written.
pub(super) const EXAMPLES: [(&str, &str); 8] = [
    ("client_ca", "\"/etc/connection-pool-manager/clients.pem\""),
    ("http_admin", "\"127.0.0.1:8083\""),
    ("state_file", "\"/var/lib/connection-pool-manager/state.toml\""),
    ("dsn_cert_dir", "\"/etc/connection-pool-manager/dsn-certs\""),
    ("allowed_hosts", "[\"10.0.0.0/8\", \"db.example\"]"),
    ("max_client_connections", "1000"),
    ("client_connections_per_address", "100"),
    ("request_burst", "100"),
];

/// Columns of a comment.
const COMMENT_MAX: usize = 100;

/// Sentences in Markdown as lines of a comment.
fn comment(markdown: &str) -> String {
    let (mut text, mut line) = (String::new(), String::from("#"));
    for word in keys::plain(markdown).split(' ') {
        if line.len() + word.len() >= COMMENT_MAX {
            text.push_str(&format!("{line}\n"));
            line.truncate(1);
        }
        line.push_str(&format!(" {word}"));
    }
    format!("{text}{line}\n")
}

fn entry(key: &SettingKey) -> String {
    let allowed = key.kind.allowed();
    let live = if key.live { "" } else { " Only a restart changes it." };
    let help = format!("{}# Allowed: {allowed}.{live}", comment(key.help));
    match (key.toml(&Draft::default()), key.default) {
        (Some(value), None) => format!("{help}\n#{} = {value}\n", key.name),
        (Some(value), Some(words)) => {
            format!("{help} Default: {words}.\n#{} = {value}\n", key.name)
        }
        (None, words) => {
            let words = words.unwrap_or("none");
            let example = EXAMPLES.iter().find(|(name, _)| *name == key.name);
            let value = example.map_or("", |(_, value)| value);
            format!("{help} Default: {words}; here is an example.\n#{} = {value}\n", key.name)
        }
    }
}

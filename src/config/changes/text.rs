//! The text of the file.

use std::fmt::Write;

use super::configured::{self, base_of, differing, draft_of, hex};
use super::{ChangeKind, ChangedTenant, RuntimeChanges, Salt};
use crate::config::tenants::TenantConfig;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::access::{IdentityPattern, TenantUsers};
use crate::core::ids::TenantId;

/// The number of this form of the file.
pub(super) const FORMAT: u64 = 1;

const HEAD: &str = "\
# What operators have changed of connection-pool-manager while it runs. The service writes this file,
# and replaces it at each change. It has passwords.
";

/// What the file says. `config` is the configuration that the changes differ from.
pub fn text(changes: &RuntimeChanges, config: &ServerConfig, salt: &Salt) -> String {
    let mut text = format!("{HEAD}format = {FORMAT}\nsalt = \"{}\"\n", hex(salt));
    if let Some(level) = &changes.log_level {
        let (level, configured) = (quoted(level), quoted(&config.log_level));
        put(&mut text, format_args!("\n[log]\nlevel = {level}\nconfigured = {configured}"));
    }
    for (id, changed) in &changes.tenants {
        tenant(&mut text, id, changed, config, salt);
    }
    put(&mut text, format_args!("\n[end]\ntenants = {}", changes.tenants.len()));
    text
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{line}");
}

fn tenant(
    text: &mut String,
    id: &TenantId,
    changed: &ChangedTenant,
    config: &ServerConfig,
    salt: &Salt,
) {
    put(text, format_args!("\n[tenants.{}]", quoted(id.as_str())));
    let configured = config.tenants.get(id);
    if let Some(configured) = configured {
        let digest = configured::of_tenant(salt, configured);
        put(text, format_args!("configured = \"{digest}\""));
    }
    match &changed.change {
        ChangeKind::Same => {}
        ChangeKind::Removed => put(text, format_args!("removed = true")),
        ChangeKind::Put { tenant, users } => {
            settings(text, tenant, configured, &config.pool);
            if let Some(users) = users {
                let digest = configured::of_users(salt, config.access.users_of(id));
                put(text, format_args!("configured_identities = \"{digest}\""));
                users_of(text, users);
            }
        }
    }
    if let Some(paused) = changed.paused {
        put(text, format_args!("paused = \"{}\"", paused.as_str()));
    }
}

/// The settings of a tenant that are others than configured, or than a new tenant's.
fn settings(
    text: &mut String,
    tenant: &TenantConfig,
    configured: Option<&TenantConfig>,
    defaults: &TenantPoolConfig,
) {
    if configured.is_none_or(|configured| configured.dsn != tenant.dsn) {
        put(text, format_args!("dsn = {}", quoted(&tenant.dsn.canonical())));
    }
    let own = draft_of(&tenant.pool);
    let base = draft_of(&base_of(tenant, configured, defaults));
    for key in differing(&own, &base) {
        if let Some(value) = key.toml(&own) {
            put(text, format_args!("{} = {value}", key.name));
        }
    }
}

fn users_of(text: &mut String, users: &TenantUsers) {
    let names: Vec<String> =
        users.identities.iter().map(IdentityPattern::as_str).map(quoted).collect();
    put(text, format_args!("identities = [{}]", names.join(", ")));
    put(text, format_args!("anonymous = {}", users.anonymous));
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Those that TOML does not allow as they are, and the end of a line.
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

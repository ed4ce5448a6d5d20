//! What the configuration says of a tenant, as a digest that says whether it still does.

use std::fmt::Write;

use crate::config::keys::{self, Section, SettingKey};
use crate::config::tenants::TenantConfig;
use crate::config::{Draft, ServerConfig, TenantPoolConfig};
use crate::core::access::{IdentityPattern, TenantUsers};

/// Random bytes before what is digested, so that equal passwords have other digests.
pub type Salt = [u8; 16];

/// The keys that a tenant's pool has.
pub(super) fn pool_keys() -> impl Iterator<Item = &'static SettingKey> {
    keys::keys().filter(|key| key.table == Section::Defaults)
}

/// These settings as the keys show them.
pub(super) fn draft_of(pool: &TenantPoolConfig) -> Draft {
    Draft::of(&ServerConfig { pool: pool.clone(), ..ServerConfig::default() })
}

/// The keys in which two pools differ.
pub(super) fn differing(one: &Draft, other: &Draft) -> Vec<&'static SettingKey> {
    pool_keys().filter(|key| key.show(one) != key.show(other)).collect()
}

/// Of a tenant's DSN and of what its own table says of its pool.
pub(super) fn of_tenant(salt: &Salt, tenant: &TenantConfig) -> String {
    let mut parts = vec![tenant.dsn.canonical()];
    parts.extend(tenant.own.iter().map(|(name, value)| format!("{name}={value}")));
    digest(salt, &parts)
}

/// The pool over which that of a tenant is laid: what is configured of it, or what a new one with
/// its DSN has.
pub(super) fn base_of(
    tenant: &TenantConfig,
    configured: Option<&TenantConfig>,
    defaults: &TenantPoolConfig,
) -> TenantPoolConfig {
    let new = || defaults.with(&tenant.dsn.pool);
    configured.map_or_else(new, |configured| configured.pool.clone())
}

/// Of who may use it.
pub(super) fn of_users(salt: &Salt, users: Option<&TenantUsers>) -> String {
    let Some(users) = users else { return digest(salt, &[]) };
    let mut parts = vec![users.anonymous.to_string()];
    parts.extend(users.identities.iter().map(IdentityPattern::as_str).map(str::to_owned));
    digest(salt, &parts)
}

fn digest(salt: &Salt, parts: &[String]) -> String {
    let mut bytes = salt.to_vec();
    for part in parts {
        bytes.extend(part.len().to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    hex(&openssl::sha::sha256(&bytes))
}

/// In hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of such digits.
pub(super) fn salt_of(text: &str) -> Option<Salt> {
    let mut salt = Salt::default();
    if text.len() != 2 * salt.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in salt.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(salt)
}

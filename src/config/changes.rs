//! What operators have changed while the service runs, as a file keeps it over a restart.
//!
//! The file is TOML, written by the service and read by what reads the configuration. A tenant has a
//! table with what is in force of it where that differs from the configuration, and with a digest of
//! what the configuration said of it then: if it says something else by now, it wins, as it does in a
//! reload. The last table counts the tenants, so that a file that was cut off is known as one.

mod configured;
mod fits;
mod resolve;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::config::tenants::TenantConfig;
use crate::config::{ServerConfig, TenantPoolConfig};
use crate::core::access::TenantUsers;
use crate::core::gate::Pause;
use crate::core::ids::TenantId;
use crate::settings::{file, Origin, SettingFaults, Table};

use configured::{base_of, differing, draft_of};

pub use configured::Salt;
pub use text::text;

/// The most bytes of the file: with usual DSNs, as many tenants as a configuration may have.
pub const CHANGES_MAX_BYTES: u64 = 8 << 20;

/// What differs from the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimeChanges {
    /// Which lines of the log are written.
    pub log_level: Option<String>,
    /// The tenants.
    pub tenants: BTreeMap<TenantId, ChangedTenant>,
}

/// A tenant that operators have changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedTenant {
    /// What is another than configured.
    pub change: ChangeKind,
    /// How it is paused, if it is.
    pub paused: Option<Pause>,
}

impl ChangedTenant {
    /// The names of what is changed. `defaults`: what new tenants have.
    pub fn names(
        &self,
        configured: Option<&TenantConfig>,
        defaults: &TenantPoolConfig,
    ) -> Vec<&'static str> {
        let mut names = Vec::new();
        match &self.change {
            ChangeKind::Same => {}
            ChangeKind::Removed => names.push("removed"),
            ChangeKind::Put { tenant, users } => {
                let is_another = configured.is_none_or(|before| before.dsn != tenant.dsn);
                names.extend(is_another.then_some("dsn"));
                let base = draft_of(&base_of(tenant, configured, defaults));
                let keys = differing(&draft_of(&tenant.pool), &base).into_iter();
                names.extend(keys.map(|key| key.name));
                names.extend(users.is_some().then_some("identities"));
            }
        }
        names.extend(self.paused.map(|_| "paused"));
        names
    }
}

/// What became of a tenant. `Debug` does not show the password.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeKind {
    /// It is as configured.
    Same,
    /// It is configured, and was removed.
    Removed,
    /// It was created, or has other settings.
    Put {
        /// All of its settings.
        tenant: Box<TenantConfig>,
        /// Who may use it, if that is other than configured.
        users: Option<TenantUsers>,
    },
}

/// What a file keeps, and what of it holds.
#[derive(Debug, Default)]
pub struct KeptChanges {
    /// What holds.
    pub changes: RuntimeChanges,
    /// The same for people: a key, the names of what is changed, and the place. No secret.
    pub shown: Vec<(String, String, Origin)>,
    /// What the configuration has decided otherwise since.
    pub dropped: Vec<DroppedChange>,
}

/// A change that holds no more, because the configuration says something else by now.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedChange {
    /// `tenants.orders`, or `log`.
    pub key: String,
    /// The names of what was changed.
    pub what: String,
    /// Where it is written.
    pub origin: Origin,
}

impl fmt::Display for DroppedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DroppedChange { key, what, origin } = self;
        write!(f, "{key} ({origin}) holds no more ({what}): the configuration has changed since")
    }
}

/// Reads a file, if it is there; none keeps nothing.
///
/// # Errors
/// It cannot be read, can be read by others, or is none that the service wrote; or the configuration
/// leaves no room for what it keeps, or does not allow it.
pub fn read(path: &Path, config: &ServerConfig) -> Result<KeptChanges, SettingFaults> {
    match file::own::read(path, CHANGES_MAX_BYTES)? {
        Some(root) => held(root, config),
        None => Ok(KeptChanges::default()),
    }
}

/// The same of the text that a file has, or is about to have.
///
/// # Errors
/// As those of [`read`].
pub fn of_text(
    path: &Path,
    text: &str,
    config: &ServerConfig,
) -> Result<KeptChanges, SettingFaults> {
    held(file::parse(&path.display().to_string(), text)?, config)
}

fn held(root: Table, config: &ServerConfig) -> Result<KeptChanges, SettingFaults> {
    let kept = resolve::kept(root, config)?;
    fits::check(&kept, config)?;
    Ok(kept)
}

#[cfg(test)]
mod tests;

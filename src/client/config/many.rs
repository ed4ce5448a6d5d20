//! The settings of several services.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::setting::Setting;
use super::ServiceConfig;
use crate::settings::Origin;

/// Services by name, with their settings. Any of them may be changed before it is opened.
///
/// ```
/// # #[cfg(feature = "config-file")]
/// # fn main() -> Result<(), connection_pool_manager::client::ConfigError> {
/// use connection_pool_manager::client::Config;
///
/// let text = r#"
///     [services.users]
///     profile = "production"
///     host = "users.example.com"
///     pool = { size = 10 }
///
///     [services.orders]
///     type = "orders"
///     host = "localhost"
///     port = 9090
///     retry = { max_attempts = 3, initial_backoff = "1s", max_backoff = "5s" }
///     connection = { keepalive_time = "30s", ping_interval = "25s" }
///     health = { enabled = false }
/// "#;
/// let mut config = Config::parse("clients.toml", text)?;
/// config.services.get_mut("orders").unwrap().pool.size = 3;
/// assert!(config.effective().contains("users.pool.size = 10 (clients.toml:5)"));
/// assert!(config.effective().contains("orders.pool.size = 3 (code)"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "config-file"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The services.
    pub services: BTreeMap<String, ServiceConfig>,
    /// The file that it was read from is looked at so often, and what has changed in it is taken
    /// as [`reload`](crate::client::ConnectionManager::reload) does. Default `None`: never.
    /// Heeded when a manager is opened.
    pub reload: Option<Duration>,
    /// What `reload` was when it was read, and where that stood.
    pub(super) reload_from: Option<(Option<Duration>, Origin)>,
    /// Where it was read from.
    pub(super) file: Option<Arc<SettingsFile>>,
}

/// A file of settings.
#[derive(Debug, PartialEq)]
pub(in crate::client) struct SettingsFile {
    pub(in crate::client) path: PathBuf,
    /// What it held, before the program changed anything.
    pub(in crate::client) services: BTreeMap<String, ServiceConfig>,
}

impl Config {
    /// Without any service.
    pub fn new() -> Config {
        Config::default()
    }

    /// The file that it was read from.
    pub(in crate::client) fn file(&self) -> Option<&Arc<SettingsFile>> {
        self.file.as_ref()
    }

    /// Every setting of every service with its source, a setting a line:
    /// `users.pool.size = 8 (clients.toml:4)`.
    pub fn effective(&self) -> String {
        let source = match &self.reload_from {
            Some((given, origin)) if *given == self.reload => origin.to_string(),
            None if self.reload.is_none() => "default".to_owned(),
            _ => "code".to_owned(),
        };
        let mut text = format!("reload = {} ({source})\n", self.reload.show());
        for (name, config) in &self.services {
            for line in config.effective().lines() {
                text.push_str(&format!("{name}.{line}\n"));
            }
        }
        text
    }
}

//! The settings of several services.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ServiceConfig;

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
    /// The file that it was read from, to read it again.
    pub(super) file: Option<PathBuf>,
}

impl Config {
    /// Without any service.
    pub fn new() -> Config {
        Config::default()
    }

    /// The file that it was read from.
    pub(in crate::client) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Every setting of every service with its source, a setting a line:
    /// `users.pool.size = 8 (clients.toml:4)`.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        for (name, config) in &self.services {
            for line in config.effective().lines() {
                text.push_str(&format!("{name}.{line}\n"));
            }
        }
        text
    }
}

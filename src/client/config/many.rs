//! The settings of several services.

use std::collections::BTreeMap;

use super::ServiceConfig;

/// Services by name, with their settings. Any of them may be changed before it is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The services.
    pub services: BTreeMap<String, ServiceConfig>,
}

impl Config {
    /// Without any service.
    pub fn new() -> Config {
        Config::default()
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

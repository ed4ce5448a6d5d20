//! The settings in force, as one log line.

use std::fmt;

use crate::config::keys::{self, SettingKind};
use crate::config::{Draft, ServerConfig};
use crate::core::connections::ConnectionBounds;
use crate::core::quoted::Quoted;

/// All settings of an operator, by the names of their keys. None is a secret.
pub(super) struct SettingsLine<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) bounds: &'a ConnectionBounds,
}

impl fmt::Display for SettingsLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut draft = Draft::of(self.config);
        // What became of them.
        draft.config.limits.client_connections = Some(self.bounds.total);
        draft.config.limits.client_connections_per_address = Some(self.bounds.per_host);
        for (i, key) in keys::keys().enumerate() {
            let Some(text) = key.show(&draft) else { continue };
            let space = if i == 0 { "" } else { " " };
            match (&key.kind, text.strip_suffix("ms")) {
                (SettingKind::Time(..), Some(millis)) => {
                    write!(f, "{space}{}_ms={millis}", key.name)?
                }
                (SettingKind::Time(..), None) => write!(f, "{space}{}_s={text}", key.name)?,
                (SettingKind::Custom(_), _) if text.parse::<u64>().is_err() => {
                    write!(f, "{space}{}={}", key.name, Quoted(&text))?
                }
                _ => write!(f, "{space}{}={text}", key.name)?,
            }
        }
        Ok(())
    }
}

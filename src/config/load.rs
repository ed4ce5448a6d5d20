//! From what was given to settings that keep all rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::draft::Draft;
use crate::config::keys::{self, SettingKey};
use crate::config::profile::Profile;
use crate::config::raw::RawSettings;
use crate::config::Config;
use crate::settings::{Fault, Faults, Origin};

/// Settings, and where each came from.
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The file, if others than its owner can read it.
    pub readable_by_others: Option<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
}

/// Reads and checks what was given.
///
/// # Errors
/// Everything that is wrong.
pub fn load(raw: &RawSettings) -> Result<Loaded, Faults> {
    let (mut draft, mut faults) = (Draft::default(), Faults::default());
    draft.config.access = Arc::new(raw.access.clone());
    for key in keys::keys() {
        if let Some(value) = raw.values.get(key.name) {
            faults.keep(key.set(&mut draft, value));
        }
    }
    faults.ended()?;
    let given = |name: &str| raw.values.contains_key(name);
    let (pool, limits) = (&mut draft.config.pool, &draft.config.limits);
    // Where only one of two is given, the other follows.
    if !given("max_connections") {
        pool.max_connections = pool.max_connections.min(limits.max_backends);
    }
    if !given("min_connections") {
        pool.min_connections = pool.min_connections.min(pool.max_connections);
    }
    let clocks = &mut draft.config.limits.clocks;
    for (name, clock) in [
        ("wait", &mut clocks.wait),
        ("lease_ttl", &mut clocks.ttl),
        ("idle_in_transaction", &mut clocks.idle_in_transaction),
        ("lease_lifetime", &mut clocks.lifetime),
        ("statement_timeout", &mut clocks.statement),
    ] {
        if !given(name) {
            clock.usual = clock.usual.min(clock.most);
        }
    }
    let origins = raw.values.iter().map(|(name, value)| (*name, value.origin.clone())).collect();
    let readable = raw.file.clone().filter(|(_, others)| *others).map(|(path, _)| path);
    let loaded = Loaded { config: draft.finish(), readable_by_others: readable, origins };
    if let Some((Profile::Production, _)) = &raw.profile {
        loaded.check_production()?;
    }
    match loaded.config.check() {
        Ok(()) => Ok(loaded),
        Err(rule) => Err(Fault::new("", Origin::Default, rule).into()),
    }
}

impl Loaded {
    /// Where a setting came from.
    pub fn origin(&self, key: &SettingKey) -> Origin {
        self.origins.get(key.name).cloned().unwrap_or(Origin::Default)
    }

    fn check_production(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        for name in ["insecure", "core_dumps"] {
            let Some(key) = keys::find(name) else { continue };
            if key.show(&Draft::of(&self.config)).as_deref() == Some("true") {
                let rule = "is refused by the production profile";
                faults.add(Fault::new(name, self.origin(key), rule));
            }
        }
        faults.ended()
    }

    /// All settings as they are in force, a line each, with where they came from. No secret is
    /// shown.
    pub fn effective(&self) -> String {
        let (draft, mut text) = (Draft::of(&self.config), String::new());
        for key in keys::keys() {
            let value = match (key.toml(&draft), key.default) {
                (Some(value), _) => value,
                (None, Some(words)) => format!("({words})"),
                (None, None) => "(none)".to_owned(),
            };
            text.push_str(&format!("{} = {value}  # {}\n", key.path(), self.origin(key)));
        }
        text
    }
}

#[cfg(test)]
mod tests;

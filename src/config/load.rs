//! From what was given to settings that keep all rules.

mod warnings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::draft::Draft;
use crate::config::keys::{self, SettingKey};
use crate::config::lease::Clocks;
use crate::config::profile::Profile;
use crate::config::raw::RawSettings;
use crate::config::{tenants, ClientCertificates, ServerConfig};
use crate::core::access::Proofs;
use crate::settings::{Origin, SettingFault, SettingFaults};

/// Settings, and where each came from.
pub struct Loaded {
    /// The settings.
    pub config: ServerConfig,
    /// Files with secrets that others than their owner can read.
    pub exposed: Vec<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
    /// The identities with where they are written, and by what each proves who it is.
    identities: Vec<((String, Origin), Proofs)>,
    /// What was given for tenants: keys with their values and where each came from; no secret.
    tenants: Vec<(String, String, Origin)>,
}

/// Reads and checks what was given.
///
/// # Errors
/// Everything that is wrong, and stays so once the rest is mended.
pub fn load(raw: &RawSettings) -> Result<Loaded, SettingFaults> {
    let (mut draft, mut faults) = (Draft::default(), raw.faults.clone());
    let mut doubts = raw.doubts.clone();
    for key in keys::keys() {
        let value = raw.values.get(key.name).map(|value| key.set(&mut draft, value));
        if value.is_some_and(|set| faults.keep(set).is_none()) {
            doubts.add(key.name);
        }
    }
    settle(&mut draft, |name| raw.values.contains_key(name));
    let mut built = tenants::build(raw, (&draft, &doubts), &mut faults);
    if !raw.values.contains_key("allow_client_dsn") {
        let is_filed = |origin: &Origin| matches!(origin, Origin::File { .. });
        draft.config.allow_client_dsn = !raw.tenants.iter().any(|one| is_filed(&one.origin));
    }
    let mut access = raw.access.clone();
    access.set_only_configured(!draft.config.allow_client_dsn);
    for (tenant, users) in std::mem::take(&mut built.users) {
        access.configure(tenant, users);
    }
    draft.config.access = Arc::new(access);
    draft.config.tenants = Arc::new(std::mem::take(&mut built.tenants));
    let origins = raw.values.iter().map(|(name, value)| (*name, value.origin.clone())).collect();
    let mut exposed = built.exposed;
    exposed.extend(raw.file.iter().filter(|(_, exposed)| *exposed).map(|(path, _)| path.clone()));
    let named = raw.identities.iter().cloned();
    let identities = named.map(|one| (one.clone(), draft.config.access.proofs(&one.0))).collect();
    let config = draft.finish();
    let loaded = Loaded { config, exposed, origins, identities, tenants: built.shown };
    if let Some((Profile::Production, _)) = &raw.profile {
        loaded.check_production(|name| doubts.are_of(name, raw.is_given(name)), &mut faults);
    }
    let mut broken = loaded.config.contradictions();
    broken.retain(|broken| !doubts.excuse(broken, |name| raw.is_given(name)));
    for broken in broken {
        let at = raw.identities.iter().find(|(name, _)| broken.subject == identity_key(name));
        let at = at.map_or(Origin::Default, |(_, at)| at.clone());
        let rule = broken.with_origins(|name| loaded.origin_of(name));
        faults.add(SettingFault::new(&broken.subject, at, rule));
    }
    faults.ended().map(|()| loaded)
}

/// What was not given follows what was.
fn settle(draft: &mut Draft, given: impl Fn(&str) -> bool) {
    let (pool, limits) = (&mut draft.config.pool, &mut draft.config.limits);
    if !given("max_connections") {
        pool.max_connections = pool.max_connections.min(limits.max_backends);
    }
    if !given("min_connections") {
        pool.min_connections = pool.min_connections.min(pool.max_connections);
    }
    pool.lengthen(&given);
    follow(&mut limits.clocks, given);
}

/// The table of an identity.
fn identity_key(name: &str) -> String {
    format!("identities.{name}")
}

/// The usual time of each clock that was not given follows its longest.
fn follow(clocks: &mut Clocks, given: impl Fn(&str) -> bool) {
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
}

impl Loaded {
    /// Where a setting came from.
    pub fn origin(&self, key: &SettingKey) -> Origin {
        self.origin_of(key.name)
    }

    fn origin_of(&self, name: &str) -> Origin {
        self.origins.get(name).cloned().unwrap_or(Origin::Default)
    }

    /// A text about these settings, with where each came from.
    pub fn with_places(&self, text: &str, names: &[&str]) -> String {
        let places = names.iter().map(|name| format!("{name}: {}", self.origin_of(name)));
        match names.is_empty() {
            true => text.to_owned(),
            false => format!("{text} ({})", places.collect::<Vec<_>>().join(", ")),
        }
    }

    fn check_production(&self, in_doubt: impl Fn(&str) -> bool, faults: &mut SettingFaults) {
        for name in ["insecure", "core_dumps"] {
            let Some(key) = keys::find(name) else { continue };
            if key.show(&Draft::of(&self.config)).as_deref() == Some("true") {
                let rule = "is refused by the production profile";
                faults.add(SettingFault::new(name, self.origin(key), rule));
            }
        }
        let ServerConfig { client_ca, client_certificates, .. } = &self.config;
        let is_missing =
            client_ca.is_none() && *client_certificates == ClientCertificates::Required;
        if is_missing && !["client_ca", "client_certificates"].into_iter().any(in_doubt) {
            let rule = "must be given in the production profile, or client_certificates = \
                        \"optional\" be written down: what a stranger can do before a call has a \
                        token, only certificates prevent";
            faults.add(SettingFault::new("client_ca", Origin::Default, rule));
        }
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
        for ((name, at), proofs) in &self.identities {
            text.push_str(&format!("{} = {proofs}  # {at}\n", identity_key(name)));
        }
        for (key, value, origin) in &self.tenants {
            text.push_str(&format!("{key} = {value}  # {origin}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests;

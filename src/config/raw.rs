//! What was given: for each setting the strongest value, with its place. Nothing is checked here but
//! that every key of the file is known.

pub(super) mod other_pools;
pub mod tenants;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::doubts::Doubts;
use crate::config::elsewhere::elsewhere;
use crate::config::exposure::is_exposed;
use crate::config::identities;
use crate::config::keys::{self, Section, SettingKey};
use crate::config::profile::Profile;
use crate::core::access::Access;
use crate::settings::{file, Origin, SettingFault, SettingFaults, SettingValue, Table};
use tenants::RawTenant;

/// The variable that names the file.
pub const CONFIG_VARIABLE: &str = "CPM_CONFIG";
/// The variable that names the profile.
pub const PROFILE_VARIABLE: &str = "CPM_PROFILE";

/// Where settings come from.
pub struct SettingSources<'a> {
    /// The flags that were given: the names of their keys, and their values.
    pub flags: Vec<(&'static str, String)>,
    /// `--profile`.
    pub profile: Option<String>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// What was given.
#[derive(Default)]
pub struct RawSettings {
    /// The profile, and where that was said.
    pub profile: Option<(Profile, Origin)>,
    /// The values, by the names of their keys.
    pub values: BTreeMap<&'static str, SettingValue>,
    /// Who may call: only the file says so.
    pub access: Access,
    /// The names of the identities, and where each is written.
    pub identities: Vec<(String, Origin)>,
    /// The configured tenants, in the order of their names.
    pub tenants: Vec<RawTenant>,
    /// The file, and whether others than its owner can read it.
    pub file: Option<(PathBuf, bool)>,
    /// What is wrong with it.
    pub faults: SettingFaults,
    /// What may therefore be meant otherwise.
    pub doubts: Doubts,
}

impl RawSettings {
    /// Gathers what is given. Strongest first: flag, `CPM_` variable, variables of other pools,
    /// file, profile. A key that is not known, or a variable that is not UTF-8, is one of its faults.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn gather(sources: &SettingSources<'_>) -> Result<RawSettings, SettingFaults> {
        let mut faults = SettingFaults::default();
        let path = sources.file.clone();
        let path = path.or_else(|| (sources.variable)(CONFIG_VARIABLE).map(PathBuf::from));
        let document = match &path {
            Some(path) => Some(file::read(path)?),
            None => None,
        };
        let others_read = document.as_ref().is_some_and(|document| is_exposed(&document.found));
        let mut root = document.map(|document| document.root);
        let profile = faults.keep(profile(sources, root.as_mut())).flatten();
        let file = path.map(|path| (path, others_read));
        let mut raw = RawSettings { profile, file, ..RawSettings::default() };
        let mut sections = BTreeMap::new();
        if let Some(mut root) = root {
            for section in [Section::Service, Section::Defaults] {
                let table = faults.keep(root.take_table(section.name())).flatten();
                sections.extend(table.map(|table| (section.name(), table)));
            }
            raw.take_access(&mut root, &mut faults);
            if let Some(table) = faults.keep(root.take_table("tenants")).flatten() {
                raw.tenants = tenants::take(table, sources.variable, &mut faults);
            }
            let before = faults.0.len();
            root.finish_with(&mut faults, elsewhere);
            raw.doubts.of_identities |= faults.0.len() > before;
        }
        other_pools::add(&mut raw.tenants, sources.variable, &mut faults);
        for key in keys::keys() {
            // Also if a stronger one is there, so that the table is left empty.
            let table = sections.get_mut(key.table.name());
            let before = faults.0.len();
            let filed = table.and_then(|table| faults.keep(table.take(key.name))).flatten();
            let value = faults.keep(sources.value(key)).flatten().or(filed);
            if faults.0.len() > before {
                raw.doubts.add(key.name);
            }
            let profiled = || raw.profile.as_ref().and_then(|(it, _)| it.value(key.name));
            let value = value.or_else(profiled);
            raw.values.extend(value.map(|value| (key.name, value)));
        }
        sections.into_values().for_each(|table| table.finish_with(&mut faults, elsewhere));
        raw.doubts.of_all_not_given = !faults.0.is_empty();
        raw.faults = faults;
        Ok(raw)
    }

    fn take_access(&mut self, root: &mut Table, faults: &mut SettingFaults) {
        let before = faults.0.len();
        if let Some(tables) = faults.keep(root.take_table("identities")).flatten() {
            (self.access, self.identities) = identities::read(tables, faults);
        }
        self.doubts.of_identities |= faults.0.len() > before;
    }

    /// Whether somebody has given a value for this key; a profile is nobody.
    pub fn is_given(&self, name: &str) -> bool {
        let value = self.values.get(name);
        value.is_some_and(|value| !matches!(value.origin, Origin::Profile(_)))
    }
}

impl SettingSources<'_> {
    /// What a flag or a variable says of a key.
    fn value(&self, key: &SettingKey) -> Result<Option<SettingValue>, SettingFault> {
        if let Some((_, text)) = self.flags.iter().find(|(name, _)| *name == key.name) {
            return Ok(Some(SettingValue::text_of(key.name, text, Origin::Flag(key.flag()))));
        }
        let own = key.variable();
        for name in std::iter::once(own.as_str()).chain(key.also.iter().copied()) {
            if let Some(value) = self.text(key.name, name)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn text(&self, key: &str, variable: &str) -> Result<Option<SettingValue>, SettingFault> {
        let origin = Origin::Variable(variable.to_owned());
        match (self.variable)(variable).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(SettingValue::text_of(key, &text, origin))),
            Some(Err(_)) => Err(SettingFault::new(key, origin, "must be UTF-8")),
        }
    }
}

fn profile(
    sources: &SettingSources<'_>,
    root: Option<&mut Table>,
) -> Result<Option<(Profile, Origin)>, SettingFault> {
    let filed = root.map(|root| root.take("profile")).transpose()?.flatten();
    let flag =
        |text: &String| SettingValue::text_of("profile", text, Origin::Flag("--profile".into()));
    let given = match sources.profile.as_ref().map(flag) {
        Some(flag) => Some(flag),
        None => sources.text("profile", PROFILE_VARIABLE)?.or(filed),
    };
    let Some(given) = given else { return Ok(None) };
    Ok(Some((given.choice(&Profile::WORDS)?, given.origin)))
}

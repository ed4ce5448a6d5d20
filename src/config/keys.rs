//! The table of all settings. Flags, variables, the keys of the file, the documents and what is
//! shown of them are made from it, so that none of these can lack one.

mod addresses;
mod checks;
mod clocks;
mod entry;
mod kind;
mod limits;
mod logs;
mod pool;
mod service;
mod words;

use crate::config::draft::Draft;
use crate::settings::{SettingFault, SettingValue};

pub use kind::{secs, Custom, SettingKind, FOREVER_SECS};
pub use words::plain;

/// One setting.
pub struct SettingKey {
    /// Its name in the file. The flag is `--name` with dashes, the variable `CPM_NAME`.
    pub name: &'static str,
    /// Its table in the file.
    pub table: Section,
    /// Variables of other pools that mean the same; weaker than our own.
    pub also: &'static [&'static str],
    /// What it is, for people: sentences in Markdown, the first of which says it by itself.
    pub help: &'static str,
    /// Its default in words, where that depends on others.
    pub default: Option<&'static str>,
    /// A reload changes it while the service runs; otherwise only a restart does.
    pub live: bool,
    /// How it is read, and where it is kept.
    pub kind: SettingKind,
}

/// A table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// `[service]`.
    Service,
    /// `[defaults]`, and the same key in the table of a tenant.
    Defaults,
}

impl Section {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Section::Service => "service",
            Section::Defaults => "defaults",
        }
    }
}

/// All settings, in the order in which they are shown.
pub fn keys() -> impl Iterator<Item = &'static SettingKey> + Clone {
    [entry::KEYS, service::KEYS, checks::KEYS, logs::KEYS, pool::KEYS, limits::KEYS, clocks::KEYS]
        .into_iter()
        .flatten()
}

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static SettingKey> {
    keys().find(|key| key.name == name)
}

impl SettingKey {
    /// The name with its table: `service.port`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.table.name(), self.name)
    }

    /// The flag, with its dashes.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// The variable.
    pub fn variable(&self) -> String {
        format!("CPM_{}", self.name.to_ascii_uppercase())
    }

    /// Whether it is on or off, so that its flag has no value.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, SettingKind::Switch(_))
    }

    /// What it is, in one sentence without its full stop.
    pub fn summary(&self) -> String {
        let whole = plain(self.help);
        let first = whole.split(". ").next().unwrap_or_default();
        first.trim_end_matches('.').to_owned()
    }

    /// Reads a value into the draft.
    ///
    /// # Errors
    /// What is allowed.
    pub fn set(&self, draft: &mut Draft, value: &SettingValue) -> Result<(), SettingFault> {
        self.kind.set(draft, value)
    }

    /// Its value, as it would be given; `None`: it has none.
    pub fn show(&self, draft: &Draft) -> Option<String> {
        self.kind.show(&mut draft.clone())
    }

    /// The same as a value of the file.
    pub fn toml(&self, draft: &Draft) -> Option<String> {
        self.show(draft).map(|text| self.kind.toml(&text))
    }

    /// The default, as it would be given.
    pub fn default_text(&self) -> Option<String> {
        self.show(&Draft::default())
    }
}

//! What is wrong with settings.

use std::fmt;

use super::Origin;

/// More faults than these are counted, not shown.
pub(super) const SHOWN_MAX: usize = 20;
/// A key is shown up to this many characters: a file may hold one of a megabyte.
const KEY_MAX: usize = 100;

/// One thing that is wrong: `pool.size (clients.toml:3) must be from 1 to 1000, and is 0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFault {
    /// The key, with the tables it lies in: `pool.size`. Empty if the file as a whole is wrong.
    pub key: String,
    /// Where its value came from.
    pub origin: Origin,
    /// The rule that is broken, and the value where it can be no secret; it continues a sentence
    /// that begins with the key.
    pub rule: String,
}

impl SettingFault {
    /// A fault of this key.
    pub fn new(key: &str, origin: Origin, rule: impl Into<String>) -> SettingFault {
        let mut key = key.to_owned();
        if let Some((end, _)) = key.char_indices().nth(KEY_MAX) {
            key.truncate(end);
            key.push('…');
        }
        SettingFault { key, origin, rule: rule.into() }
    }
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.as_str()) {
            (Origin::Default, "") => f.write_str(&self.rule),
            (origin, "") => write!(f, "{origin}: {}", self.rule),
            (Origin::Default, key) => write!(f, "{key} {}", self.rule),
            (origin, key) => write!(f, "{key} ({origin}) {}", self.rule),
        }
    }
}

/// Everything that is wrong, in the order it was found. Shown with a fault a line, 20 of them at
/// most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingFaults(pub Vec<SettingFault>);

impl SettingFaults {
    /// Adds a fault.
    pub fn add(&mut self, fault: SettingFault) {
        self.0.push(fault);
    }

    /// Returns the value; a fault is added and becomes `None`.
    pub fn keep<T>(&mut self, result: Result<T, SettingFault>) -> Option<T> {
        result.map_err(|fault| self.add(fault)).ok()
    }

    /// Ends the collection.
    ///
    /// # Errors
    /// The faults, if there is any.
    pub fn ended(self) -> Result<(), SettingFaults> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(self),
        }
    }
}

impl From<SettingFault> for SettingFaults {
    fn from(fault: SettingFault) -> SettingFaults {
        SettingFaults(vec![fault])
    }
}

impl fmt::Display for SettingFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> =
            self.0.iter().take(SHOWN_MAX).map(SettingFault::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for SettingFaults {}

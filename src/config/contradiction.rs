//! Settings that are good by themselves and do not go together.

use std::fmt;

use crate::config::keys;
use crate::settings::Origin;

/// A rule that several settings break together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// What breaks the rule, if that is a part of the service: `identities.shop`. The rule continues
    /// the sentence.
    pub subject: String,
    /// The rule, as a sentence, with the values.
    pub rule: String,
    /// The keys that it is about.
    pub keys: &'static [&'static str],
}

impl Contradiction {
    /// A rule about these keys of the service.
    pub fn new(rule: impl Into<String>, keys: &'static [&'static str]) -> Contradiction {
        Contradiction { subject: String::new(), rule: rule.into(), keys }
    }

    /// The rule, with where the value of each key came from.
    pub fn with_origins(&self, origin: impl Fn(&str) -> Origin) -> String {
        let places = self.keys.iter().map(|key| format!("{key}: {}", origin(key)));
        format!("{} ({})", self.rule, places.collect::<Vec<_>>().join(", "))
    }

    /// All of them as one text.
    pub fn all(broken: &[Contradiction]) -> Result<(), String> {
        let told: Vec<String> = broken.iter().map(Contradiction::to_string).collect();
        match told.is_empty() {
            true => Ok(()),
            false => Err(told.join("; ")),
        }
    }
}

/// With the flags, where nobody knows what the values came from.
impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{} ", self.subject)?;
        }
        f.write_str(&self.rule)?;
        let flags = self.keys.iter().filter_map(|name| keys::find(name)).map(|key| key.flag());
        let flags: Vec<String> = flags.collect();
        match flags.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", flags.join(", ")),
        }
    }
}

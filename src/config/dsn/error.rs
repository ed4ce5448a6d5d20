//! Why a connection string was refused.

use std::fmt;

/// Why a connection string was refused. It never holds a value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DsnError {
    /// The key at fault; none for a syntax error or a key that may be a stray value.
    pub key: Option<String>,
    /// The rule that was broken.
    pub rule: String,
}

impl DsnError {
    pub(super) fn text(rule: &str) -> Self {
        DsnError { key: None, rule: rule.to_owned() }
    }

    /// `key` is one of the constants of this module, so it gives nothing away.
    pub(super) fn at(key: &'static str, rule: impl Into<String>) -> Self {
        DsnError { key: Some(key.to_owned()), rule: rule.into() }
    }
}

impl fmt::Display for DsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.rule),
            None => f.write_str(&self.rule),
        }
    }
}

impl std::error::Error for DsnError {}

pub(super) const NUL_RULE: &str = "must not contain a NUL character";

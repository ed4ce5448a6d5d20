//! What cannot be said of settings while something else is wrong with them.
//!
//! All that is wrong is told at once, but only what stays wrong once the rest is mended. A value that
//! cannot be read may be any; a key that is not known may mean any that was not given.

use std::collections::BTreeSet;

use crate::config::contradiction::Contradiction;

/// Which settings may be meant otherwise.
#[derive(Clone, Debug, Default)]
pub struct Doubts {
    wrong: BTreeSet<&'static str>,
    /// Those that were not given.
    pub of_all_not_given: bool,
    /// Who the identities are.
    pub of_identities: bool,
}

impl Doubts {
    /// The value of this key is wrong.
    pub fn add(&mut self, name: &'static str) {
        self.wrong.insert(name);
    }

    /// Whether this key may be meant otherwise.
    pub fn are_of(&self, name: &str, is_given: bool) -> bool {
        self.wrong.contains(name) || self.of_all_not_given && !is_given
    }

    /// Whether this may be none.
    pub fn excuse(&self, broken: &Contradiction, is_given: impl Fn(&str) -> bool) -> bool {
        let of_access = broken.keys.contains(&"http_auth") && self.of_identities;
        of_access || broken.keys.iter().any(|name| self.are_of(name, is_given(name)))
    }
}

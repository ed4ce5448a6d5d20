//! Where a value came from.

use std::fmt;
use std::sync::Arc;

/// Where a value came from; shown as an operator would look for it: `--port`, `CPM_PORT`,
/// `config.toml:3`, `profile test`, `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag, with its dashes.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A file.
    File {
        /// Its path, as it was given.
        path: Arc<str>,
        /// The line, from 1 on; 0 is the file as a whole.
        line: usize,
    },
    /// The profile of this name.
    Profile(&'static str),
    /// Nobody gave it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) | Origin::Variable(name) => f.write_str(name),
            Origin::File { path, line: 0 } => f.write_str(path),
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::Profile(name) => write!(f, "profile {name}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

//! Keeps what operators change over a restart, in a file, if they have asked for that.
//!
//! Only the names of what was changed are remembered here. What is written is read off the tenants
//! when it is written, so it is what is in force, whatever order things were changed in.

mod marks;
mod snapshot;
mod writer;

use std::sync::{Arc, OnceLock};

use crate::lock::Leaf;
use crate::settings::file::own::OwnFile;
use marks::Marks;
pub use marks::Touch;
use writer::Turns;

/// Keeps what operators change.
#[derive(Default)]
pub struct Keeping {
    /// Nothing is kept without it.
    file: OnceLock<Arc<OwnFile>>,
    marks: Leaf<Marks>,
    /// Which lines are logged, if an operator has said so.
    log_level: Leaf<Option<String>>,
    turns: Leaf<Turns>,
}

/// Whether a change is kept; the text says why not.
pub type KeptOutcome = Result<(), String>;

impl Keeping {
    /// From now on changes are kept in this file.
    pub fn begin(&self, file: OwnFile) {
        // Only the start sets it.
        let _ = self.file.set(Arc::new(file));
    }

    /// An operator has set which lines are logged; `None`: the configuration has.
    pub fn log_level(&self, level: Option<&str>) {
        let before = std::mem::replace(&mut *self.log_level.lock(), level.map(str::to_owned));
        drop(before);
    }

    /// Whether changes are kept.
    fn is_on(&self) -> bool {
        self.file.get().is_some()
    }
}

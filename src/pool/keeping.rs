//! What is to be kept over a restart of what operators change, if they have asked for that, and
//! who waits for the write.
//!
//! Only the names of what was changed are remembered here. What is written is read off the tenants
//! when it is written (`state_writer`), so it is what is in force, whatever order things were
//! changed in.

mod marks;

use std::sync::{Arc, OnceLock};

use crate::lock::Leaf;
use crate::settings::file::own::OwnFile;
pub(super) use marks::Mark;
use marks::Marks;
pub use marks::Touch;

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

/// Called with the outcome of a write.
pub(super) type WhenKept = Box<dyn FnOnce(KeptOutcome) + Send>;

/// Who waits for a write.
#[derive(Default)]
struct Turns {
    is_writing: bool,
    /// Those whose changes the next write has. Many share one.
    waiting: Vec<WhenKept>,
}

impl Keeping {
    /// From now on changes are kept in this file.
    pub fn begin(&self, file: OwnFile) {
        // Only the start sets it.
        let _ = self.file.set(Arc::new(file));
    }

    /// An operator has set which lines are logged; `None`: the configuration has. True: an operator
    /// had before.
    pub fn log_level(&self, level: Option<&str>) -> bool {
        let before = std::mem::replace(&mut *self.log_level.lock(), level.map(str::to_owned));
        before.is_some()
    }

    /// Which lines are logged, if an operator has said so.
    pub(super) fn kept_log_level(&self) -> Option<String> {
        self.log_level.lock().clone()
    }

    /// True if changes are kept.
    pub(super) fn is_on(&self) -> bool {
        self.file.get().is_some()
    }

    /// The file, if changes are kept.
    pub(super) fn file(&self) -> Option<&Arc<OwnFile>> {
        self.file.get()
    }

    /// Lets one more wait for the next write. True: nobody writes, so the caller is to.
    pub(super) fn wait(&self, told: WhenKept) -> bool {
        let mut turns = self.turns.lock();
        turns.waiting.push(told);
        !std::mem::replace(&mut turns.is_writing, true)
    }

    /// Those whose changes the next write has. None: the writer has ended.
    pub(super) fn next_turn(&self) -> Vec<WhenKept> {
        let mut turns = self.turns.lock();
        let waiting = std::mem::take(&mut turns.waiting);
        turns.is_writing = !waiting.is_empty();
        waiting
    }

    /// The writer ends without a write. Returns those who wait for it.
    pub(super) fn end_turns(&self) -> Vec<WhenKept> {
        let mut turns = self.turns.lock();
        turns.is_writing = false;
        std::mem::take(&mut turns.waiting)
    }
}

//! Notices and warnings.

use std::sync::{Arc, Mutex, PoisonError};

/// The most notices kept for one answer.
const NOTICES_MAX: usize = 100;

/// A notice or warning of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// WARNING, NOTICE, …
    pub severity: String,
    /// Five characters.
    pub sqlstate: String,
    /// The text.
    pub message: String,
}

/// The notices of one backend since the last [`Notices::take`]. A leaf lock.
#[derive(Debug, Clone, Default)]
pub struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    /// True if it holds any.
    pub fn any(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// True if further notices are dropped.
    pub fn is_full(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() >= NOTICES_MAX
    }

    /// Keeps a notice, unless it is full.
    pub fn push(&self, notice: Notice) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < NOTICES_MAX {
            kept.push(notice);
        }
    }

    /// How many it holds.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Drops those behind the first `count`.
    pub fn drop_behind(&self, count: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).truncate(count);
    }

    /// Takes what was kept.
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

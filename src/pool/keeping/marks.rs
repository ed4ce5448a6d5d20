//! Which tenants operators have changed.

use std::collections::BTreeMap;

use super::Keeping;
use crate::core::ids::TenantId;

/// What an operator has changed of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// Whether it is paused.
    Pause,
    /// Its settings, or whether it is there.
    Settings,
}

/// The tenants that were changed.
#[derive(Default)]
pub(super) struct Marks {
    tenants: BTreeMap<TenantId, Mark>,
    made: u64,
}

/// That one was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Mark {
    pub(in crate::pool) touch: Touch,
    /// Each has another number.
    number: u64,
}

impl Marks {
    fn add(&mut self, id: &TenantId, touch: Touch) {
        self.made += 1;
        let mark = Mark { touch, number: self.made };
        let known = self.tenants.entry(id.clone()).or_insert(mark);
        *known = Mark { touch: known.touch.max(touch), number: self.made };
    }
}

impl Keeping {
    /// An operator has changed a tenant.
    pub fn touched(&self, id: &TenantId, touch: Touch) {
        if self.file().is_some() {
            self.marks.lock().add(id, touch);
        }
    }

    /// The configuration says something else of these from now on; to be called before that is in
    /// force. It does not end a pause.
    pub fn overruled<'a>(&self, ids: impl Iterator<Item = &'a TenantId>) {
        for id in ids {
            if let Some(mark) = self.marks.lock().tenants.get_mut(id) {
                mark.touch = Touch::Pause;
            }
        }
    }

    /// All that were changed.
    pub(in crate::pool) fn marks(&self) -> BTreeMap<TenantId, Mark> {
        self.marks.lock().tenants.clone()
    }

    /// Forgets one of which nothing is left, unless it was changed again.
    pub(in crate::pool) fn forget(&self, id: &TenantId, mark: Mark) {
        let mut marks = self.marks.lock();
        let removed = match marks.tenants.get(id) {
            Some(known) if *known == mark => marks.tenants.remove_entry(id),
            _ => None,
        };
        drop(marks);
        drop(removed);
    }
}

#[cfg(test)]
mod tests;

//! Statements that were sent and not answered yet.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::backend::pg::prepared::Prepared;

/// Statements that were sent and not answered yet. One ReadyForQuery follows all of them.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) steps: VecDeque<Step>,
}

/// One statement that was sent.
pub(super) struct Step {
    pub(super) sql: String,
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) limit: Option<u64>,
    /// It had been prepared before this call.
    pub(super) cached: bool,
}

impl Ahead {
    /// True if an answer is still to be read.
    pub(super) fn is_awaited(&self) -> bool {
        !self.steps.is_empty()
    }
}

impl Step {
    /// A command of the service.
    pub(super) fn command(sql: &str) -> Step {
        Step { sql: sql.to_owned(), prepared: None, limit: None, cached: false }
    }
}

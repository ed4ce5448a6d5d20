//! An atomic call, sent before a thread waits for its answers.

use crate::backend::pg::ahead::KnownStatement;
use crate::backend::pg::body::PgBackend;
use crate::backend::statement::{Coming, Statement};
use crate::clock;
use crate::core::transaction::TransactionState;

/// Larger calls may not fit into the socket at once, and into one record of TLS.
const TOGETHER_MAX: usize = 16 << 10;

impl PgBackend {
    /// Sends an atomic call whose statements are all prepared and known to be quick, up to a
    /// COMMIT that is held back. Does not block: what the socket does not take is sent before the
    /// first answer is read. False: nothing was sent.
    pub(super) fn send_together(&mut self, coming: Coming<'_>) -> bool {
        let size: usize = coming.statements.iter().map(Statement::memory).sum();
        let idle = self.conversation.facts.transaction == TransactionState::None;
        if !coming.together || !idle || size > TOGETHER_MAX || !self.is_at_rest() {
            return false;
        }
        let Some(known) = self.all_known(coming.statements) else { return false };
        if !self.may_go_together(&coming, &known) || !self.conversation.is_silent() {
            return false;
        }
        let Some(steps) = self.write_atomic(&coming, known, true) else { return false };
        self.conversation.begin_to_send();
        self.ahead.sent(steps, true, clock::now());
        true
    }

    /// True if nothing is awaited, and texts mean what they usually do.
    pub(super) fn is_at_rest(&self) -> bool {
        let foreign = self.conversation.facts.foreign_encoding;
        !foreign && !self.ahead.is_awaited() && !self.is_being_reset()
    }

    /// The prepared statements of a call that needs no other, and changes no meaning of texts.
    fn all_known(&mut self, statements: &[Statement]) -> Option<Vec<KnownStatement>> {
        let (now, settings) = (clock::now(), self.conversation.facts.settings);
        let mut known = Vec::with_capacity(statements.len());
        for Statement { sql, command, .. } in statements {
            if !command.leaves_none_open() || command.may_change_meanings {
                return None;
            }
            known.push((self.statements.get(sql, settings, now)?, true));
        }
        Some(known)
    }
}

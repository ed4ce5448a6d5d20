//! The parts of an open backend, and the consequences of an error for it.

use std::sync::Arc;

use crate::backend::cancel::Canceller;
use crate::backend::conversation::Conversation;
use crate::backend::pg::awaited::Ahead;
use crate::backend::pg::prepared::{Closing, Prepared};
use crate::backend::pg::resets::Resets;
use crate::backend::pg::statements::Statements;
use crate::backend::pg::types::Types;
use crate::backend::session::{Done, RunError, Sent};
use crate::backend::sqlstate;
use crate::backend::statement::Statement;
use crate::backend::stream::watch::Watch;
use crate::backend::target_session::SessionTarget;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::error::{Excess, PgFault};
use crate::logging;

/// A backend of PostgreSQL.
pub struct PgBackend {
    pub(super) conversation: Conversation,
    pub(super) watch: Arc<Watch>,
    pub(super) pid: i32,
    pub(super) tenant: TenantId,
    pub(super) canceller: Canceller,
    pub(super) target: SessionTarget,
    pub(super) statements: Statements<Arc<Prepared>>,
    /// Statements that PostgreSQL may deallocate.
    pub(super) closing: Closing,
    /// Count of prepared statements, from which their names are made.
    pub(super) numbered: u64,
    pub(super) types: Arc<Types>,
    pub(super) resets: Resets,
    /// Statements that were sent and not answered yet.
    pub(super) ahead: Ahead,
    /// The session is given back after the next statement.
    pub(super) ends: bool,
    /// It must not be reused after its current holder.
    pub(super) tainted: bool,
    /// The statement that was run last could have had an effect.
    pub(super) bound: bool,
    /// The statement that was run last was outdated, and failed before it ran.
    pub(super) outdated: bool,
}

/// The parts of a backend besides its connection.
pub struct BackendParts {
    /// The tenant, for the log.
    pub tenant: TenantId,
    /// Cancels its statement.
    pub canceller: Canceller,
    /// The role that its server must have.
    pub target: SessionTarget,
    /// The most prepared statements that it caches.
    pub statement_cache: usize,
    /// The types of the tenant's parameters and columns.
    pub types: Arc<Types>,
}

impl PgBackend {
    /// A freshly opened backend.
    pub fn new(conversation: Conversation, pid: i32, parts: BackendParts) -> PgBackend {
        let BackendParts { tenant, canceller, target, statement_cache, types } = parts;
        PgBackend {
            watch: Arc::clone(conversation.watch()),
            conversation,
            pid,
            tenant,
            canceller,
            target,
            statements: Statements::new(statement_cache),
            closing: Closing::default(),
            numbered: 0,
            types,
            resets: Resets::default(),
            ahead: Ahead::default(),
            ends: false,
            tainted: false,
            bound: false,
            outdated: false,
        }
    }

    /// Aborts the connection, and returns the error.
    pub(super) fn lost(&mut self, sent: Sent) -> RunError {
        self.tainted = true;
        self.ahead = Ahead::default();
        self.watch.abort_now();
        let fault = self.conversation.last_words().map(Box::new);
        let excess = self.conversation.excess();
        if let Some(excess) = excess {
            let (pid, error) = (self.pid, excess.to_string());
            if let Some(repeated) = logging::admits_state("backend_excess", &self.tenant, "") {
                let (tenant, error) = (&self.tenant, Quoted(&error));
                log::warn!(
                    "event=backend_excess tenant={tenant} pid={pid} error={error}{repeated}"
                );
            }
        }
        RunError::Lost { fault, sent, excess }
    }

    /// Aborts the connection because of what PostgreSQL sent, and returns the error.
    pub(super) fn garbled(&mut self, excess: Excess, sent: Sent) -> RunError {
        self.conversation.refuse(excess);
        self.lost(sent)
    }

    /// The error of a statement; the session is usable.
    pub(super) fn faulted(&mut self, fault: Box<PgFault>) -> RunError {
        self.tainted |= sqlstate::is_poison(&fault.sqlstate);
        // It must not be reused after its current holder.
        self.tainted |= self.target.is_suspected_by(&fault.sqlstate);
        RunError::Fault(fault)
    }

    /// Forgets all prepared statements, which PostgreSQL no longer has.
    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
        self.resets.forget();
        self.closing.take();
    }

    /// Runs a user's command, and updates the caches by what it may have changed.
    pub(super) fn run_user_command(
        &mut self,
        Statement { sql, command, .. }: &Statement,
        run: impl FnOnce(&mut PgBackend) -> Result<Done, RunError>,
    ) -> Result<Done, RunError> {
        if sql.contains('\0') {
            return Err(RunError::Unsupported("sql must not contain a NUL character"));
        }
        if self.conversation.facts.foreign_encoding && !command.leaves_encoding() {
            return Err(RunError::Unsupported(
                "the session's client_encoding must be UTF8; RESET client_encoding first",
            ));
        }
        self.catch_up(sql)?;
        let result = run(self);
        self.ends = false;
        let in_transaction = self.conversation.facts.transaction.is_open();
        self.statements.ran(command, in_transaction);
        if command.may_replace_ours() {
            self.resets.forget();
        }
        if let Ok(done) = &result {
            if matches!(done.command_tag.as_str(), "DISCARD ALL" | "DEALLOCATE ALL") {
                self.forget_statements();
            }
        }
        self.conversation.shrink();
        result
    }
}

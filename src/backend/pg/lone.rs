//! The only statement of a call, or its last, sent before a thread waits for its answer.

use std::sync::Arc;

use crate::backend::pg::awaited::AwaitedStatement;
use crate::backend::pg::body::PgBackend;
use crate::backend::pg::prepared::Prepared;
use crate::backend::pg::run::{is_command, limit_of};
use crate::backend::session::{Done, Rows, RunError, Sent};
use crate::backend::statement::{Coming, Statement};
use crate::clock;
use crate::core::transaction::TransactionState;

const COMMIT: &str = "COMMIT";

/// A larger statement may not fit into the socket at once.
const LONE_MAX: usize = 8 << 10;

impl PgBackend {
    /// Sends the only statement of a call, with the reset behind it if the session is given
    /// back after it. Does not block: what the socket does not take is sent before the answer
    /// is read. False: the statement is not prepared, or not one that may go ahead of the checks
    /// that `run` makes; nothing was sent.
    pub(super) fn send_lone(&mut self, coming: Coming<'_>) -> bool {
        let [statement] = coming.statements else { return false };
        let Statement { sql, parameters, command } = statement;
        let able = command.leaves_none_open() && !command.may_change_meanings;
        if !able || is_command(statement) || statement.memory() > LONE_MAX {
            return false;
        }
        let facts = &self.conversation.facts;
        let (settings, idle) = (facts.settings, facts.transaction == TransactionState::None);
        if !self.is_at_rest() || !self.conversation.is_silent() {
            return false;
        }
        let Some(prepared) = self.statements.get(sql, settings, clock::now()) else {
            return false;
        };
        let limit = limit_of(statement, coming.max_rows);
        let ends = (coming.ends && idle).then(|| self.place_behind(command));
        // The error is reported when the statement is run.
        if self.write_alone(&prepared, parameters, limit, (ends, false)).is_err() {
            self.conversation.out.clear();
            return false;
        }
        self.begins(AwaitedStatement::of(sql.clone(), prepared, limit));
        true
    }

    /// Sends the COMMIT of an atomic call whose statements have been answered, with the reset
    /// behind it if the session is given back after it. Does not block. False: nothing was sent.
    pub(super) fn send_commit(&mut self, ends: bool) -> bool {
        let open = self.conversation.facts.transaction == TransactionState::Open;
        if !open || self.tainted || !self.is_at_rest() || self.conversation.is_sending() {
            return false;
        }
        let prepared = Arc::new(Prepared::command(&self.closing));
        let ends = ends.then(|| self.place_behind_commit());
        let parsed = self.conversation.out.parse("", COMMIT).is_ok();
        if !parsed || self.write_alone(&prepared, &[], None, (ends, false)).is_err() {
            self.conversation.out.clear();
            return false;
        }
        self.begins(AwaitedStatement {
            cached: false,
            ..AwaitedStatement::of(COMMIT.to_owned(), prepared, None)
        });
        true
    }

    fn begins(&mut self, step: AwaitedStatement) {
        self.bound = false;
        self.conversation.bounds.start_statement();
        self.conversation.begin_to_send();
        self.ahead.began(step);
    }

    /// The answer to a statement that was sent by [`send_lone`](Self::send_lone) or
    /// [`send_commit`](Self::send_commit).
    pub(super) fn answer_lone(
        &mut self,
        statement: &Statement,
        step: &AwaitedStatement,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        let idle = self.conversation.facts.transaction == TransactionState::None;
        let place = self.reset_place();
        let Some(prepared) = step.prepared.as_ref().filter(|_| self.conversation.send().is_ok())
        else {
            return Err(self.lost(Sent::Whole));
        };
        let mut done = self.finish_statement(prepared, step.limit, rows);
        if prepared.is_command {
            return done;
        }
        if self.may_run_alone(Some(place), &done, rows) {
            // No other statement has run in this call.
            done = self.run_alone(prepared, statement, 0, rows);
        }
        self.or_anew(done, statement, idle, rows)
    }
}

//! Pipelining: the statements of an atomic call in one write, and the reset together with
//! the last statement of a session.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::backend::pg::awaited::Step;
use crate::backend::pg::body::PgBackend;
use crate::backend::pg::prepared::Prepared;
use crate::backend::pg::run::limit_of;
use crate::backend::session::{Coming, Done, Rows, RunError, Sent};
use crate::clock;
use crate::core::transaction::TransactionState;

/// The most bytes of a call that are sent ahead: during the write, the answers of the first
/// statements are not processed.
const AHEAD_MAX: usize = 256 << 10;

impl PgBackend {
    /// Sends as much of a call as is allowed before its first answer.
    ///
    /// An atomic call is sent whole if its statements do not change the meaning of texts.
    /// Its COMMIT is held back if one of them returns rows: their size is known only once
    /// they have arrived, and a result that is too large must still mean that nothing was
    /// applied.
    pub(super) fn send_ahead(&mut self, coming: Coming<'_>) {
        if self.catch_up("").is_err() {
            return;
        }
        let plain = |sql: &str| {
            let nature = self.statements.nature(sql);
            nature.leaves_none_open
                && !nature.may_change_meanings
                && self.statements.keeps(sql, nature)
        };
        let statements = coming.statements;
        let idle = self.conversation.facts.transaction == TransactionState::None;
        let foreign = self.conversation.facts.foreign_encoding;
        let nul = |sql: &str| sql.contains('\0');
        let all_plain = statements.iter().all(|one| plain(&one.sql) && !nul(&one.sql));
        let size: usize = statements.iter().map(|statement| statement.memory()).sum();
        if !idle
            || foreign
            || !all_plain
            || size > AHEAD_MAX
            || statements.len() < 2 && !coming.atomic
        {
            return;
        }
        let Some(known) = self.prepare_together(&coming) else { return };
        if !coming.atomic {
            return;
        }
        let mut steps = VecDeque::from([Step::command("BEGIN")]);
        let written = self.write_command("BEGIN");
        let written = written.and_then(|()| {
            statements.iter().zip(known).try_for_each(|(statement, (prepared, cached))| {
                let limit = limit_of(&statement.sql, coming.max_rows);
                self.write_statement(&prepared, &statement.parameters, limit)?;
                // Flush makes PostgreSQL send each answer at once: a statement's timeout
                // starts when the one before it has ended.
                self.conversation.out.flush();
                let (sql, prepared) = (statement.sql.clone(), Some(prepared));
                steps.push_back(Step { sql, prepared, limit, cached });
                Ok(())
            })
        });
        let returns_rows = |step: &Step| {
            step.prepared.as_ref().is_some_and(|prepared| !prepared.columns.is_empty())
        };
        let commits = !steps.iter().any(returns_rows);
        let written = written.and_then(|()| match commits {
            true => self.write_command("COMMIT"),
            false => Ok(()),
        });
        // The error is reported when the statement is run.
        if written.is_err() {
            return self.conversation.out.clear();
        }
        if commits {
            steps.push_back(Step::command("COMMIT"));
        }
        self.conversation.out.sync();
        if commits && coming.ends {
            self.write_reset(false);
        }
        self.ahead.steps = steps;
        self.conversation.bounds.start_statement();
        // The first of them reports the state of the stream.
        let _ = self.conversation.send();
    }

    /// The prepared statements of a call; missing ones are prepared in one write. `None`:
    /// not all of them could be prepared.
    fn prepare_together(&mut self, coming: &Coming<'_>) -> Option<Vec<(Arc<Prepared>, bool)>> {
        let (now, settings) = (clock::now(), self.conversation.facts.settings);
        let mut missing: Vec<&str> = Vec::new();
        let mut known = Vec::new();
        for statement in coming.statements {
            let kept = self.statements.get(&statement.sql, settings, now);
            if kept.is_none() && !missing.contains(&statement.sql.as_str()) {
                missing.push(&statement.sql);
            }
            known.push(kept);
        }
        if missing.len() > self.statements.capacity() {
            return None;
        }
        let news = if coming.atomic { 1 } else { 2 };
        if missing.len() >= news {
            self.prepare_all(&missing).ok()?;
        }
        let settings = self.conversation.facts.settings;
        let all = coming.statements.iter().zip(known).map(|(statement, kept)| match kept {
            Some(kept) => Some((kept, true)),
            None => Some((self.statements.get(&statement.sql, settings, now)?, false)),
        });
        all.collect()
    }

    /// Writes a command of the service. Parsing it each time costs PostgreSQL almost
    /// nothing.
    fn write_command(&mut self, sql: &str) -> Result<(), RunError> {
        let out = &mut self.conversation.out;
        let written = out.parse("", sql).and_then(|()| out.bind("", &[], &[]));
        let written = written.and_then(|()| out.execute(0));
        out.flush();
        written.map_err(|_| RunError::Unsupported("too long"))
    }

    /// Reads and discards the answers that are no longer needed.
    pub(super) fn leave_ahead(&mut self) -> Result<(), RunError> {
        if self.ahead.is_awaited() {
            self.ahead.steps.clear();
            if self.conversation.skip().is_err() {
                return Err(self.lost(Sent::Whole));
            }
        }
        Ok(())
    }

    /// Reads what was sent ahead, unless it is this statement's answer.
    pub(super) fn catch_up(&mut self, sql: &str) -> Result<(), RunError> {
        if self.ahead.steps.front().is_some_and(|step| step.sql != sql) {
            self.leave_ahead()?;
        }
        if !self.ahead.is_awaited() && self.is_being_reset() {
            // The session is used further, although it was to be given back.
            self.tainted |= !self.make_new();
        }
        Ok(())
    }

    /// The answer to a statement that was sent ahead; `None` if none was.
    pub(super) fn answer_ahead(&mut self, rows: &mut dyn Rows) -> Option<Result<Done, RunError>> {
        let step = self.ahead.steps.pop_front()?;
        self.bound = false;
        self.conversation.bounds.start_statement();
        Some(self.read_step(&step, rows))
    }

    fn read_step(&mut self, step: &Step, rows: &mut dyn Rows) -> Result<Done, RunError> {
        let reply = self.until_end(step.prepared.as_deref(), rows)?;
        if reply.is_err() {
            // PostgreSQL skips everything after it, up to the Sync.
            self.ahead.steps.clear();
            self.statements.forget(&step.sql);
        }
        let end = match reply {
            Ok(end) if self.ahead.is_awaited() => end,
            reply => self.settle(reply)?,
        };
        let done = self.done(end, step.limit)?;
        if self.ahead.is_awaited() {
            // PostgreSQL reports its transaction state only at the end of all of them.
            self.conversation.is_in(match done.command_tag.as_str() {
                "COMMIT" | "ROLLBACK" => TransactionState::None,
                _ => TransactionState::Open,
            });
        }
        Ok(Done { cached: step.cached, ..done })
    }
}

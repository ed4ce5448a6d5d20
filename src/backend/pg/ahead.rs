//! Pipelining: the statements of an atomic call in one write, and the reset together with
//! the last statement of a session.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::backend::pg::awaited::{AwaitedStatement, SentAs};
use crate::backend::pg::body::PgBackend;
use crate::backend::pg::prepared::Prepared;
use crate::backend::pg::resets::ResetBehind;
use crate::backend::pg::run::{limit_of, undecodable};
use crate::backend::session::{Done, Rows, RunError, Sent};
use crate::backend::statement::{Coming, Statement};
use crate::clock;
use crate::core::transaction::TransactionState;
use crate::core::value::RESULT_BYTES;

/// The most bytes of a call that are sent ahead: during the write, the answers of the first
/// statements are not processed.
const AHEAD_MAX: usize = 256 << 10;

/// The most bytes of results whose size is known before. So few are read whatever happens.
const SMALL_MAX: usize = 8 << 10;

/// A prepared statement, and whether it was there before the call.
pub(super) type KnownStatement = (Arc<Prepared>, bool);

/// True if their results are never too large, whatever they return: their COMMIT may be sent with
/// them.
fn commits(coming: &Coming<'_>, known: &[KnownStatement]) -> bool {
    // Each result takes some, also without rows.
    let heads = coming.statements.len().saturating_mul(RESULT_BYTES);
    let Some(rest) = coming.max_bytes.checked_sub(heads) else { return false };
    let mut left = rest.min(SMALL_MAX);
    coming.statements.iter().zip(known).all(|(statement, (prepared, _))| {
        let most = match prepared.returns_rows {
            false => Some(0),
            true => limit_of(statement, coming.max_rows).and_then(|rows| prepared.most_bytes(rows)),
        };
        let rest = most.and_then(|most| left.checked_sub(most));
        left = rest.unwrap_or(0);
        rest.is_some()
    })
}

impl PgBackend {
    /// Sends as much of a call as is allowed before its first answer.
    ///
    /// An atomic call is sent whole if its statements do not change the meaning of texts.
    /// Its COMMIT is held back if what they return may be too large: that is known only once
    /// it has arrived, and must still mean that nothing was applied. It cannot be if none returns
    /// rows, or so many at most, of types of a few bytes, that all of them fit.
    pub(super) fn send_ahead(&mut self, coming: Coming<'_>) {
        if self.catch_up("").is_err() {
            return;
        }
        let idle = self.conversation.facts.transaction == TransactionState::None;
        let foreign = self.conversation.facts.foreign_encoding;
        let size: usize = coming.statements.iter().map(Statement::memory).sum();
        let alone = coming.statements.len() < 2 && !coming.atomic;
        if !idle || foreign || size > AHEAD_MAX || alone {
            return;
        }
        let Some(known) = self.prepare_together(&coming) else { return };
        if !coming.atomic {
            return;
        }
        let together = coming.together && self.may_go_together(&coming, &known);
        let Some(steps) = self.write_atomic(&coming, known, together) else { return };
        // The first of them reports the state of the stream.
        let _ = self.conversation.send();
        self.ahead.sent(steps, together, clock::now());
    }

    pub(super) fn may_go_together(&self, coming: &Coming<'_>, known: &[KnownStatement]) -> bool {
        let count = known.len() + 1 + usize::from(commits(coming, known));
        self.ahead.may_go_together(count, coming.timeout)
    }

    /// Writes an atomic call with its Sync, or the reset. `None`: it cannot be written; the error
    /// is reported when the statement is run.
    pub(super) fn write_atomic(
        &mut self,
        coming: &Coming<'_>,
        known: Vec<KnownStatement>,
        together: bool,
    ) -> Option<VecDeque<AwaitedStatement>> {
        let commits = commits(coming, &known);
        let mut steps = VecDeque::with_capacity(known.len() + 2);
        if self.write_ahead(coming, known, (commits, together), &mut steps).is_err() {
            self.conversation.out.clear();
            return None;
        }
        // With a Sync of its own, the reset would run in the transaction that a statement which
        // fails leaves open.
        match commits && coming.ends && self.resets.prepared {
            true => self.write_reset(false, ResetBehind::Commit),
            false => self.conversation.out.sync(),
        }
        self.conversation.bounds.start_statement();
        Some(steps)
    }

    /// Writes an atomic call, without the Sync.
    fn write_ahead(
        &mut self,
        coming: &Coming<'_>,
        known: Vec<KnownStatement>,
        (commits, together): (bool, bool),
        steps: &mut VecDeque<AwaitedStatement>,
    ) -> Result<(), RunError> {
        // It waits for nothing: its answer may come with that of the first statement, and the
        // time limit of that one begins with it.
        self.write_command("BEGIN")?;
        steps.push_back(AwaitedStatement::command("BEGIN"));
        for (statement, (prepared, cached)) in coming.statements.iter().zip(known) {
            if steps.len() > 1 && !together {
                self.conversation.out.flush();
            }
            let limit = limit_of(statement, coming.max_rows);
            self.write_statement(&prepared, &statement.parameters, limit)?;
            let (sql, prepared) = (statement.sql.clone(), Some(prepared));
            let statements = None;
            steps.push_back(AwaitedStatement { statements, sql, prepared, limit, cached });
        }
        if commits {
            if !together {
                self.conversation.out.flush();
            }
            self.write_command("COMMIT")?;
            steps.push_back(AwaitedStatement::command("COMMIT"));
        }
        Ok(())
    }

    /// The prepared statements of a call, and whether each was there before; missing ones are
    /// prepared in one write. `None`: not all of them could be prepared, or one may change
    /// the meaning of texts.
    fn prepare_together(&mut self, coming: &Coming<'_>) -> Option<Vec<KnownStatement>> {
        let (now, settings) = (clock::now(), self.conversation.facts.settings);
        let mut missing: Vec<&Statement> = Vec::new();
        let mut known = Vec::with_capacity(coming.statements.len());
        for statement in coming.statements {
            let Statement { sql, command, .. } = statement;
            if !command.leaves_none_open() || command.may_change_meanings {
                return None;
            }
            let kept = self.statements.get(sql, settings, now);
            if kept.is_none() {
                if !self.statements.keeps(statement) || sql.contains('\0') {
                    return None;
                }
                if !missing.iter().any(|other| other.sql == *sql) {
                    missing.push(statement);
                }
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
        written.map_err(|_| RunError::Unsupported("too long"))
    }

    /// Reads and discards the answers that are no longer needed.
    pub(super) fn leave_ahead(&mut self) -> Result<(), RunError> {
        if self.ahead.is_awaited() {
            self.ahead.steps.clear();
            let unsent = self.conversation.is_sending();
            if unsent && self.conversation.send().is_err() || self.conversation.skip().is_err() {
                return Err(self.lost(Sent::Whole));
            }
            if self.reset_place() != ResetBehind::Sync {
                self.reset_was_skipped();
            }
        }
        Ok(())
    }

    /// Discards the answers to all that was sent ahead, at the end of the session's use.
    pub(super) fn leave_all_ahead(&mut self) -> Result<(), RunError> {
        self.abandon_pipeline()?;
        self.leave_ahead()
    }

    /// Reads what was sent ahead, unless it is this statement's answer.
    pub(super) fn catch_up(&mut self, sql: &str) -> Result<(), RunError> {
        if self.ahead.is_pipeline() {
            self.abandon_pipeline()?;
        } else if self.ahead.steps.front().is_some_and(|step| step.sql != sql) {
            self.leave_ahead()?;
        }
        if !self.ahead.is_awaited() && self.is_being_reset() {
            // The session is used further, although it was to be given back.
            self.tainted |= !self.make_new();
        }
        Ok(())
    }

    /// The answer to this statement, if it was sent ahead and is the next.
    ///
    /// Such a statement was looked at before it was sent: it changes no settings, names or
    /// types, nor what PostgreSQL has prepared.
    pub(super) fn answer_ahead(
        &mut self,
        statement: &Statement,
        rows: &mut dyn Rows,
    ) -> Option<Result<Done, RunError>> {
        let command = &statement.command;
        let step = self.ahead.next(statement)?;
        (self.bound, self.outdated) = (false, false);
        self.conversation.bounds.start_statement();
        let done = match self.ahead.sent_as {
            SentAs::Lone => self.answer_lone(statement, &step, rows),
            SentAs::Pipeline => self.answer_pipelined(statement, &step, rows),
            SentAs::Atomic => self.answer_step(&step, rows),
        };
        // It was sent while texts were in UTF-8; what a pipeline returns was looked at.
        let foreign = self.conversation.facts.foreign_encoding && !command.leaves_encoding();
        let done = match step.prepared.as_ref().and_then(|prepared| prepared.columns.first()) {
            Some(column) if foreign && done.is_ok() => Err(undecodable(column)),
            _ => done,
        };
        self.ends = false;
        self.statements.ran(command, self.conversation.facts.transaction.is_open());
        self.conversation.shrink();
        Some(done)
    }

    fn answer_step(
        &mut self,
        step: &AwaitedStatement,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        // Perhaps not all has been sent yet.
        if self.conversation.is_sending() && self.conversation.send().is_err() {
            return Err(self.lost(Sent::Whole));
        }
        let reply = self.until_end(step.prepared.as_deref(), rows)?;
        if let Err(fault) = &reply {
            // PostgreSQL skips everything after it, up to the Sync.
            self.ahead.is_cut(&fault.sqlstate);
            if !self.notes_outdated(fault) {
                self.statements.forget(&step.sql);
            }
        }
        let end = match reply {
            Ok(end) if self.ahead.is_awaited() => end,
            reply => {
                let end = self.settle(reply)?;
                self.ahead.succeeded(clock::now());
                end
            }
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

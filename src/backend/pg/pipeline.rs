//! Requests of one session in one write, each a transaction of its own.
//!
//! A cancel names a connection and not a statement: one that comes late hits whatever runs
//! then. With a Sync behind each request, PostgreSQL would go on with those behind the one that
//! was hit, in another order than they were sent in. So one Sync follows all of them, and each
//! stands between BEGIN and COMMIT. If one fails, PostgreSQL skips those behind it, and they are
//! sent again at their turn. One that was hit by a cancel for another is undone as a whole, and run
//! again.
//!
//! A Flush behind each makes PostgreSQL send its answer at once, so that no answer waits for the
//! statements behind it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::backend::pg::awaited::AwaitedStatement;
use crate::backend::pg::body::PgBackend;
use crate::backend::pg::prepared::Prepared;
use crate::backend::pg::question::simple;
use crate::backend::pg::reply::{End, NoRows, StatementReply};
use crate::backend::pg::resets::BEGIN;
use crate::backend::pg::run::{is_command, limit_of, undecodable};
use crate::backend::session::{Done, Rows, RunError, Sent};
use crate::backend::statement::{Coming, Follower, Statement};
use crate::clock;
use crate::core::transaction::TransactionState;
use crate::core::value::Value;
use crate::error::PgFault;

/// Most requests in one write, and most bytes of it.
const REQUESTS: usize = 16;
const BYTES: usize = 32 << 10;
/// A request is sent behind another only if its answer was no longer the last time: the answers
/// of all have room in the socket's buffers.
const ANSWER_BYTES: usize = 2 << 10;

impl PgBackend {
    /// Sends the only statement of a request, and those of the requests behind it. Does not
    /// block. False: there is only one that can be sent so, or none; nothing was sent.
    pub(super) fn send_pipeline(&mut self, coming: Coming<'_>) -> bool {
        let facts = &self.conversation.facts;
        let idle = facts.transaction == TransactionState::None && !facts.foreign_encoding;
        let ready = !self.ahead.is_awaited() && !self.is_being_reset();
        if !idle || !ready || coming.ends || coming.followers.is_empty() || self.tainted {
            return false;
        }
        let Some(steps) = self.write_pipeline(coming).filter(|steps| steps.len() > 1) else {
            self.conversation.out.clear();
            return false;
        };
        self.bound = false;
        self.conversation.bounds.start_statement();
        self.conversation.begin_to_send();
        self.ahead.pipelined(steps);
        true
    }

    /// `None`: the first cannot be sent so.
    fn write_pipeline(&mut self, coming: Coming<'_>) -> Option<VecDeque<AwaitedStatement>> {
        let [statement] = coming.statements else { return None };
        let first = self.known(statement)?;
        if !self.conversation.is_silent() {
            return None;
        }
        self.write_first_begin().ok()?;
        let limit = limit_of(statement, coming.max_rows);
        self.write_statement(&first, &statement.parameters, limit).ok()?;
        // It is at its turn, and known by the call that it belongs to.
        let mut steps = VecDeque::with_capacity(1 + coming.followers.len());
        steps.push_back(AwaitedStatement::of(statement.sql.clone(), first, limit));
        for follower in coming.followers.iter().take(REQUESTS - 1) {
            let before = self.conversation.out.length();
            let Some(step) = self.write_follower(follower) else {
                self.conversation.out.truncate(before);
                break;
            };
            steps.push_back(step);
        }
        self.write_commit().ok()?;
        self.conversation.out.sync();
        Some(steps)
    }

    /// The prepared statement of a request that may be sent behind others, or before them.
    fn known(&mut self, statement: &Statement) -> Option<Arc<Prepared>> {
        let Statement { sql, command, .. } = statement;
        let able = command.leaves_none_open() && !command.may_change_meanings;
        if !able || is_command(statement) || statement.memory() > BYTES {
            return None;
        }
        self.statements.get(sql, self.conversation.facts.settings, clock::now())
    }

    fn write_follower(&mut self, follower: &Follower) -> Option<AwaitedStatement> {
        let [statement] = &*follower.statements else { return None };
        let prepared = self.known(statement)?;
        let plain = statement.parameters.iter().all(is_same_everywhere);
        if !plain || prepared.answered() > ANSWER_BYTES {
            return None;
        }
        self.write_commit().ok()?;
        self.conversation.out.flush();
        self.write_begin().ok()?;
        let limit = limit_of(statement, follower.max_rows);
        self.write_statement(&prepared, &statement.parameters, limit).ok()?;
        let statements = Some(Arc::clone(&follower.statements));
        let fits = self.conversation.out.length() <= BYTES;
        fits.then(|| AwaitedStatement {
            statements,
            ..AwaitedStatement::of(String::new(), prepared, limit)
        })
    }

    /// BEGIN is prepared anew, whatever became of it. The unnamed statement is COMMIT afterwards:
    /// no DEALLOCATE in a function drops that.
    fn write_first_begin(&mut self) -> io::Result<()> {
        let out = &mut self.conversation.out;
        out.close(BEGIN)?;
        out.parse(BEGIN, "BEGIN")?;
        out.parse("", "COMMIT")?;
        self.write_begin()
    }

    /// Runs the statement that is BEGIN.
    pub(super) fn write_begin(&mut self) -> io::Result<()> {
        let out = &mut self.conversation.out;
        out.bind(BEGIN, &[], &[])?;
        out.execute(0)
    }

    /// Runs the unnamed statement, which is COMMIT.
    pub(super) fn write_commit(&mut self) -> io::Result<()> {
        let out = &mut self.conversation.out;
        out.bind("", &[], &[])?;
        out.execute(0)
    }

    /// The answer to a statement that was sent by [`send_pipeline`](Self::send_pipeline).
    pub(super) fn answer_pipelined(
        &mut self,
        statement: &Statement,
        step: &AwaitedStatement,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        // What the socket has not taken yet.
        if self.conversation.is_sending() && self.conversation.send().is_err() {
            return Err(self.lost(Sent::Whole));
        }
        let done = match self.read_pipelined(step, rows)? {
            Ok(end) => self.done_pipelined(end, step),
            Err(fault) => {
                let alone = self.end_pipeline(&fault)?;
                if alone && rows.is_wanted() {
                    // Notices of the run that was undone.
                    self.conversation.notices.take();
                    return self.run_prepared(statement, rows);
                }
                Err(self.faulted(fault))
            }
        };
        self.or_anew(done, statement, true, rows)
    }

    fn done_pipelined(&mut self, end: End, step: &AwaitedStatement) -> Result<Done, RunError> {
        let columns = step.prepared.as_ref().map_or(&[][..], |prepared| &prepared.columns);
        match columns.first() {
            Some(first) if self.conversation.facts.foreign_encoding => Err(undecodable(first)),
            _ => self.done(end, step.limit),
        }
    }

    fn read_pipelined(
        &mut self,
        step: &AwaitedStatement,
        rows: &mut dyn Rows,
    ) -> Result<StatementReply, RunError> {
        if let Err(fault) = self.until_end(None, &mut NoRows)? {
            self.ahead.has_not_begun();
            return Ok(Err(fault));
        }
        self.bound = false;
        let reply = self.until_end(step.prepared.as_deref(), rows)?;
        let Ok(end) = reply else { return Ok(reply) };
        if let Err(fault) = self.until_end(None, &mut NoRows)? {
            return Ok(Err(fault));
        }
        if self.ahead.is_awaited() {
            // PostgreSQL reports its transaction state only at the end of all of them.
            self.conversation.is_in(TransactionState::None);
            return Ok(Ok(end));
        }
        self.settle(Ok(end)).map(Ok)
    }

    /// Ends a pipeline in which a statement has failed: those behind it are not run. True: the
    /// statement may have failed for the sake of the pipeline alone, and was undone.
    fn end_pipeline(&mut self, fault: &PgFault) -> Result<bool, RunError> {
        let alone = self.ahead.fails(&fault.sqlstate);
        if self.conversation.skip().is_err() {
            return Err(self.lost(Sent::Whole));
        }
        self.roll_back_own()?;
        Ok(alone)
    }

    /// Rolls back a transaction that this backend has begun itself.
    pub(super) fn roll_back_own(&mut self) -> Result<(), RunError> {
        // A late cancel may hit the first; it cannot hit a second.
        for _ in 0..2 {
            if !self.conversation.facts.transaction.is_open() {
                return Ok(());
            }
            if let Err(None) = simple(&mut self.conversation, "ROLLBACK", |_| ()) {
                break;
            }
        }
        match self.conversation.facts.transaction.is_open() || self.conversation.is_gone() {
            true => Err(self.lost(Sent::Whole)),
            false => Ok(()),
        }
    }

    /// Ends a pipeline whose answers nobody waits for, however long its statements take.
    pub(super) fn abandon_pipeline(&mut self) -> Result<(), RunError> {
        if self.ahead.is_pipeline() {
            // One that arrives between two statements is lost, and the rest runs on; whoever
            // waits for that has a limit. One that was not seen to arrive may hit what comes next.
            if self.canceller.send().is_err() {
                return Err(self.lost(Sent::Whole));
            }
            self.leave_ahead()?;
            self.roll_back_own()?;
        }
        Ok(())
    }
}

/// True if PostgreSQL reads it as it is meant, whatever client_encoding a statement before it has
/// set: once that is known, this one has been sent.
fn is_same_everywhere(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Bytes(_) => true,
        Value::Text(text) => text.is_ascii(),
        Value::Array(array) => array.elements.iter().all(is_same_everywhere),
        Value::Raw { .. } => false,
    }
}

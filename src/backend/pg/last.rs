//! The last statement of a session's use, together with the reset.
//!
//! One Sync follows both, so PostgreSQL answers them in one piece. The statement stands between
//! BEGIN and COMMIT: its deferred triggers run before its settings are reset, and what it listens
//! to is there when the reset looks for it. If it fails, PostgreSQL skips the reset.

use std::io;
use std::sync::Arc;

use crate::backend::pg::body::PgBackend;
use crate::backend::pg::prepared::Prepared;
use crate::backend::pg::reply::{End, NoRows, StatementReply};
use crate::backend::pg::resets::{ResetBehind, ResetStep, SentReset};
use crate::backend::session::{Done, Rows, RunError, Sent};
use crate::backend::sqlstate;
use crate::backend::statement::Statement;
use crate::core::sql::command::SqlCommand;
use crate::core::transaction::TransactionState;
use crate::core::value::Value;

impl PgBackend {
    /// Where the reset behind the last statement stands, outside a transaction. A statement that
    /// may change settings has a Sync of its own, with which PostgreSQL reports them.
    pub(super) fn place_behind(&self, command: &SqlCommand) -> ResetBehind {
        match self.resets.prepared && !command.may_change_meanings {
            true => ResetBehind::Transaction,
            false => ResetBehind::Sync,
        }
    }

    /// Where the reset behind a COMMIT stands.
    pub(super) fn place_behind_commit(&self) -> ResetBehind {
        match self.resets.prepared {
            true => ResetBehind::Commit,
            false => ResetBehind::Sync,
        }
    }

    /// Where the reset stands that is sent with this statement; `None`: it is not. One whose rows
    /// are with their reader already could not run once more.
    pub(super) fn place_of_reset(
        &self,
        Statement { sql, command, .. }: &Statement,
        rows: &dyn Rows,
    ) -> Option<ResetBehind> {
        let idle = self.conversation.facts.transaction == TransactionState::None;
        if !self.ends {
            None
        } else if sql == "COMMIT" {
            Some(self.place_behind_commit())
        } else {
            (idle && command.leaves_none_open()).then(|| match rows.may_begin_anew() {
                true => self.place_behind(command),
                false => ResetBehind::Sync,
            })
        }
    }

    /// Writes a statement with its Sync. If it is the last one, the reset is written with it, there;
    /// with `touched`, it may change the meaning of texts.
    pub(super) fn write_alone(
        &mut self,
        prepared: &Prepared,
        parameters: &[Value],
        limit: Option<u64>,
        (last, touched): (Option<ResetBehind>, bool),
    ) -> Result<(), RunError> {
        let too_long = |_| RunError::Unsupported("too long");
        if let Some(place) = last {
            self.write_before_last(place).map_err(too_long)?;
        }
        self.write_statement(prepared, parameters, limit)?;
        match last {
            Some(place) => self.write_behind_last(place, touched).map_err(too_long)?,
            None => self.conversation.out.sync(),
        }
        Ok(())
    }

    /// Writes what stands before the last statement.
    fn write_before_last(&mut self, place: ResetBehind) -> io::Result<()> {
        if place != ResetBehind::Transaction {
            return Ok(());
        }
        self.write_begin()
    }

    /// Writes what stands behind the last statement: the reset is the end of it. The statement
    /// may be the unnamed one, which is COMMIT then: no DEALLOCATE in a function drops that.
    fn write_behind_last(&mut self, place: ResetBehind, touched: bool) -> io::Result<()> {
        match place {
            ResetBehind::Sync => self.conversation.out.sync(),
            ResetBehind::Commit => {}
            ResetBehind::Transaction => {
                self.conversation.out.parse("", "COMMIT")?;
                self.write_commit()?;
            }
        }
        self.write_reset(touched, place);
        Ok(())
    }

    /// Where the reset stands whose answer is to be read.
    pub(super) fn reset_place(&self) -> ResetBehind {
        self.resets.sent.as_ref().map_or(ResetBehind::Sync, |sent| sent.place)
    }

    /// Reads the answer to a statement between BEGIN and COMMIT, without the Sync.
    pub(super) fn until_commit(
        &mut self,
        prepared: &Prepared,
        rows: &mut dyn Rows,
    ) -> Result<StatementReply, RunError> {
        match self.until_end(None, &mut NoRows)? {
            Err(fault) => {
                if self.is_absent(&fault) {
                    // A function has dropped it, and perhaps others.
                    self.resets.forget();
                }
                return Ok(Err(fault));
            }
            // A function has put a statement of its own in its place.
            Ok(End::Complete(tag)) if tag != "BEGIN" => self.tainted = true,
            Ok(_) => {}
        }
        self.bound = false;
        let reply = self.until_end(Some(prepared), rows)?;
        let Ok(end) = reply else { return Ok(reply) };
        Ok(self.until_end(None, &mut NoRows)?.map(|_| end))
    }

    /// Ends a statement that has no Sync of its own: the answer to the reset is next. If it has
    /// failed, there is none, and no transaction is open.
    pub(super) fn settle_last(&mut self, reply: StatementReply) -> Result<End, RunError> {
        match reply {
            Ok(end) => {
                self.conversation.is_in(TransactionState::None);
                Ok(end)
            }
            Err(fault) => {
                self.reset_was_skipped();
                if self.conversation.skip().is_err() {
                    return Err(self.lost(Sent::Whole));
                }
                // Without an answer, the connection is gone; why the statement failed is known.
                let _ = self.roll_back_own();
                Err(self.faulted(fault))
            }
        }
    }

    /// True if a statement before this place has failed for it, and may succeed alone: it refuses
    /// to run in a transaction, or BEGIN was not there.
    pub(super) fn may_run_alone(
        &self,
        place: Option<ResetBehind>,
        done: &Result<Done, RunError>,
        rows: &dyn Rows,
    ) -> bool {
        let Err(RunError::Fault(fault)) = done else { return false };
        let refuses = fault.sqlstate == sqlstate::IN_TRANSACTION && rows.is_wanted();
        place == Some(ResetBehind::Transaction) && (refuses || !self.resets.prepared)
    }

    /// Runs a statement once more, with a Sync of its own; `noticed`: so many notices came before
    /// the first time.
    pub(super) fn run_alone(
        &mut self,
        prepared: &Arc<Prepared>,
        statement: &Statement,
        noticed: usize,
        rows: &mut dyn Rows,
    ) -> Result<Done, RunError> {
        self.ends = false;
        self.conversation.notices.drop_behind(noticed);
        if !prepared.name().is_empty() {
            return self.read(prepared, statement, rows);
        }
        // The ROLLBACK has dropped it.
        let prepared = self.prepare(&statement.sql, false)?;
        self.read(&prepared, statement, rows)
    }

    /// The reset that was sent has no answer of its own.
    pub(super) fn reset_was_skipped(&mut self) {
        let Some(SentReset { steps, closed, .. }) = self.resets.sent.take() else { return };
        self.closing.put_back(closed);
        if steps.contains(&ResetStep::Plans) {
            // There is still a reason to discard them, and what is prepared until then.
            self.resets.settings = None;
            self.statements.was_not_reset();
        }
    }
}

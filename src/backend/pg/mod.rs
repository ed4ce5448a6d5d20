//! One open backend of PostgreSQL.

mod ahead;
mod awaited;
mod body;
mod copy;
mod found;
mod last;
mod listen;
mod lone;
mod outdated;
mod pipeline;
mod prepare;
mod prepared;
pub mod question;
mod reply;
mod reset;
mod resets;
mod run;
mod statements;
mod together;
pub mod types;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::arrival::Arrival;
use crate::backend::cancel::Canceller;
use crate::backend::conversation::{Gone, FAREWELL};
use crate::backend::copy::{Sink, Source};
use crate::backend::listen::Heard;
use crate::backend::notice::Notice;
use crate::backend::session::{Backend, Done, Rows, RunError, Sent};
use crate::backend::statement::{Coming, Statement};
use crate::backend::stream::watch::Watch;
use crate::core::channels::Change;
use crate::core::sql::copy_direction::Direction;
use crate::threads::socket_waits::SharedSocket;

pub use body::{BackendParts, PgBackend};

impl Backend for PgBackend {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    fn canceller(&self) -> Option<Canceller> {
        Some(self.canceller.clone())
    }

    fn is_closed(&mut self) -> bool {
        self.conversation.is_gone()
    }

    fn is_quiet(&mut self) -> bool {
        self.conversation.bounds.start_question();
        self.conversation.is_quiet(true)
    }

    fn is_silent(&mut self) -> bool {
        self.conversation.is_silent()
    }

    fn is_there(&mut self) -> bool {
        if self.ahead.is_awaited() {
            return !self.is_closed();
        }
        // Most often nothing has come, which is seen without OpenSSL and its buffers.
        if self.conversation.is_silent() {
            return true;
        }
        self.conversation.bounds.start_statement();
        self.conversation.is_quiet(false)
    }

    fn expect(&mut self, coming: Coming<'_>) {
        self.ends = false;
        self.send_ahead(coming);
    }

    fn begin(&mut self, coming: Coming<'_>) -> bool {
        if coming.atomic {
            return self.send_together(coming);
        }
        self.has_sent(coming.statements) || self.send_pipeline(coming) || self.send_lone(coming)
    }

    fn begin_commit(&mut self, ends: bool) -> bool {
        self.send_commit(ends)
    }

    fn has_sent(&self, statements: &[Statement]) -> bool {
        self.ahead.is_next(statements)
    }

    fn in_flight(&self) -> usize {
        if self.ahead.is_pipeline() {
            self.ahead.steps.len()
        } else {
            0
        }
    }

    fn was_cancelled(&mut self) {
        self.ahead.was_cancelled();
    }

    fn socket(&self) -> Option<SharedSocket> {
        // What is left to send needs somebody who waits, and a short value of some types is a
        // text of a hundred kilobytes.
        // The answers of a pipeline have one end.
        let pipelined = self.ahead.is_pipeline();
        let waits = !self.conversation.is_sending() && !self.ahead.may_expand() && !pipelined;
        waits.then(|| self.conversation.shared_socket())
    }

    fn arrival(&mut self) -> Arrival {
        self.conversation.arrival()
    }

    fn expect_end(&mut self) {
        self.ends = true;
    }

    fn is_ahead(&self) -> bool {
        self.ahead.is_awaited()
    }

    fn is_together(&self) -> bool {
        self.ahead.is_together()
    }

    fn was_outdated(&self) -> bool {
        self.outdated
    }

    fn has_committed_ahead(&self) -> bool {
        self.ahead.steps.back().is_some_and(|last| last.prepared.is_none() && last.sql == "COMMIT")
    }

    fn run(&mut self, statement: &Statement, rows: &mut dyn Rows) -> Result<Done, RunError> {
        if let Some(done) = self.answer_ahead(statement, rows) {
            return done;
        }
        match statement.command.direction {
            Some(Direction::In) => {
                return Err(RunError::Unsupported("COPY FROM STDIN runs through CopyIn only"))
            }
            Some(Direction::Out) => {
                return Err(RunError::Unsupported("COPY TO STDOUT runs through CopyOut only"))
            }
            Some(Direction::Server) | None => {}
        }
        self.run_user_command(statement, |backend| backend.run_prepared(statement, rows))
    }

    fn copy_in(
        &mut self,
        statement: &Statement,
        source: &mut dyn Source,
    ) -> Result<Done, RunError> {
        let run = |backend: &mut PgBackend| backend.run_copy_in(&statement.sql, source);
        self.run_user_command(statement, run)
    }

    fn copy_out(&mut self, statement: &Statement, sink: &mut dyn Sink) -> Result<Done, RunError> {
        let run = |backend: &mut PgBackend| backend.run_copy_out(&statement.sql, sink);
        self.run_user_command(statement, run)
    }

    fn listen(&mut self, change: &Change) -> Result<(), RunError> {
        self.conversation.hear(true);
        self.change_channels(change)
    }

    fn hear(&mut self, limit: Duration) -> Result<Heard, RunError> {
        self.conversation.bounds.start_question();
        self.conversation.hear_one(limit).map_err(|Gone| self.lost(Sent::Nothing))
    }

    fn is_doubtful(&self) -> bool {
        self.target.is_doubtful()
    }

    fn check(&mut self) -> bool {
        let Some((question, suspicions)) = self.target.check() else {
            return question::sync(&mut self.conversation).is_ok();
        };
        match question::ask(&mut self.conversation, question) {
            Ok(is_so) => self.target.is_met(suspicions, is_so),
            Err(_) => false,
        }
    }

    fn reset(&mut self) -> bool {
        self.ends = false;
        if self.tainted || self.is_closed() || self.leave_all_ahead().is_err() {
            return false;
        }
        self.conversation.hear(false);
        let clean = self.make_new();
        self.conversation.rest();
        clean
    }

    fn end(&mut self) {
        self.conversation.end(FAREWELL);
    }

    fn awaits_reset(&self) -> bool {
        self.resets.sent.is_some()
    }

    fn begin_reset(&mut self) -> bool {
        self.sends_reset()
    }

    fn reset_at_once(&mut self) -> bool {
        let ready = !self.tainted && !self.is_closed() && !self.ahead.is_awaited();
        if !ready || !self.was_reset() {
            return false;
        }
        self.ends = false;
        self.conversation.hear(false);
        let clean = self.make_new();
        self.conversation.rest();
        clean
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.conversation.notices.take()
    }
}

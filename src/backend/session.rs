//! The trait between the pool and a backend: run statements, report their outcome, reset.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::arrival::Arrival;
use crate::backend::cancel::Canceller;
use crate::backend::copy::{Sink, Source};
use crate::backend::listen::Heard;
use crate::backend::notice::{Notice, Notices};
use crate::backend::statement::{Coming, Statement};
use crate::backend::stream::watch::Watch;
use crate::core::channels::Change;
use crate::core::value::Column;
use crate::error::{Excess, PgFault};
use crate::pgwire::row::RawRow;
use crate::pgwire::values::Shape;
use crate::threads::socket_waits::SharedSocket;

/// Takes the rows of one statement as they arrive.
pub trait Rows {
    /// The columns, before any row. What came before is of a run that was undone.
    fn head(&mut self, columns: &[Column]);
    /// One row, with the shape of each value.
    fn row(&mut self, shapes: &[Shape], row: &RawRow<'_>);
    /// Replaces a row of so many bytes, which no answer could hold.
    fn too_long(&mut self, bytes: usize);
    /// How many rows are of any use; `None` = all of them.
    fn limit(&self) -> Option<u64> {
        None
    }
    /// False: whoever reads them has left, or the statement's time is up.
    fn is_wanted(&self) -> bool {
        true
    }
    /// False: what they were given cannot be taken back, as `head` does.
    fn may_begin_anew(&self) -> bool {
        true
    }
    /// Takes the notices that arrived since the last row.
    fn notices(&mut self, _fresh: &Notices) {}
}

/// The outcome of a statement that succeeded.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Rows touched, out of the command tag.
    pub rows_affected: u64,
    /// PostgreSQL's command tag; empty for an empty statement.
    pub command_tag: String,
    /// It had been prepared before.
    pub cached: bool,
}

/// Why a statement gave no result.
#[derive(Debug)]
pub enum RunError {
    /// PostgreSQL refused or failed it; the session is usable.
    Fault(Box<PgFault>),
    /// The look-up of the statement's types failed; nothing ran, and the session is usable.
    Lookup(Box<PgFault>),
    /// The connection is gone.
    Lost {
        /// PostgreSQL's last words.
        fault: Option<Box<PgFault>>,
        /// How much of the statement PostgreSQL may have got.
        sent: Sent,
        /// The limit that PostgreSQL exceeded, if that is why.
        excess: Option<Excess>,
    },
    /// A parameter does not fit; nothing ran.
    Parameter {
        /// From 1, as in `$1`; 0 if the number of parameters is wrong.
        index: usize,
        /// The rule.
        rule: String,
    },
    /// A value could not be understood.
    Undecodable {
        /// The column.
        column: String,
        /// Why.
        why: String,
        /// The statement ran to its end all the same; otherwise it was
        /// cancelled, which undoes it.
        completed: bool,
    },
    /// The result passed `max_bytes`.
    TooLarge {
        /// The statement ran to its end all the same; otherwise it was
        /// cancelled, which undoes it.
        completed: bool,
    },
    /// The statement completed, but a cancel had arrived, and the rest of its result was
    /// dropped; the operation knows why.
    Dropped,
    /// Not possible this way; nothing ran.
    Unsupported(&'static str),
    /// Cancelled before it was sent, or ended by PostgreSQL because of a cancel; the
    /// operation knows why.
    Interrupted,
}

/// How much of a statement PostgreSQL may have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing that makes it run.
    Nothing,
    /// Too little for it to take effect: the data of a COPY without its end.
    Part,
    /// All of it.
    Whole,
}

/// A live backend. One of the two traits that tests may fake.
pub trait Backend: Send {
    /// Process id in PostgreSQL.
    fn pid(&self) -> i32;
    /// The state of its stream, and the handle that aborts it.
    fn watch(&self) -> &Arc<Watch>;
    /// Cancels its statement.
    fn canceller(&self) -> Option<Canceller>;
    /// True once the connection is known to be gone.
    fn is_closed(&mut self) -> bool;
    /// Checks an idle connection without a round trip. False: it is gone, or an unsolicited
    /// message arrived.
    fn is_quiet(&mut self) -> bool {
        !self.is_closed()
    }
    /// True if nothing at all has come from an idle connection: it needs no look at what has.
    /// Does not block, unlike [`is_quiet`](Self::is_quiet), which reads what there is.
    fn is_silent(&mut self) -> bool {
        false
    }
    /// Checks a leased connection without a round trip; it may be receiving notifications.
    /// False: it is gone.
    fn is_there(&mut self) -> bool {
        !self.is_closed()
    }
    /// Announces the statements of a call, so that several may be sent in one write. The
    /// results of `run` stay the same.
    fn expect(&mut self, _: Coming<'_>) {}
    /// Sends the only statement of a call, or an atomic call, if that needs no wait: PostgreSQL
    /// works on it while a thread is being woken that may wait, or none has to. Of an atomic call
    /// that returns rows the COMMIT is held back. Does not block. The result of `run` stays the
    /// same. False: nothing was sent.
    fn begin(&mut self, _: Coming<'_>) -> bool {
        false
    }
    /// Sends the COMMIT that was held back, which `run` is called with next, and behind it the
    /// reset if the session `ends` with it. Does not block. False: nothing was sent.
    fn begin_commit(&mut self, _ends: bool) -> bool {
        false
    }
    /// True if these statements were sent with those before them, and are the next that `run`
    /// is called with.
    fn has_sent(&self, _: &[Statement]) -> bool {
        false
    }
    /// How many statements were sent, each of a request of its own, that `run` has not returned
    /// yet.
    fn in_flight(&self) -> usize {
        0
    }
    /// A cancel was sent while the last statement ran. It may have come too late for it, and hit
    /// one that was sent behind it: that one is run again.
    fn was_cancelled(&mut self) {}
    /// Its socket, if answers can be awaited there.
    fn socket(&self) -> Option<SharedSocket> {
        None
    }
    /// Reads what has come of the next answer to what was [begun](Self::begin), or of a reset.
    /// Does not block.
    fn arrival(&mut self) -> Arrival {
        Arrival::Other
    }
    /// Announces that the session is given back after the next statement.
    fn expect_end(&mut self) {}
    /// True if statements were sent whose results `run` has not returned yet.
    fn is_ahead(&self) -> bool {
        false
    }
    /// True if the statement that was run last failed before it ran: what was prepared for it is
    /// not there any more, or has a result of other columns. It is prepared anew the next time.
    fn was_outdated(&self) -> bool {
        false
    }
    /// True if these were sent together, so that PostgreSQL does not answer each at once.
    fn is_together(&self) -> bool {
        false
    }
    /// True if one of these is the COMMIT: the work may take effect without a further
    /// message.
    fn has_committed_ahead(&self) -> bool {
        false
    }
    /// Runs one statement and passes its rows to `rows` as they arrive. After an error the
    /// watch holds the actual transaction state.
    ///
    /// # Errors
    /// See [`RunError`].
    fn run(&mut self, statement: &Statement, rows: &mut dyn Rows) -> Result<Done, RunError>;
    /// Runs COPY FROM STDIN with the data of `source`, until it has completed or failed.
    ///
    /// # Errors
    /// See [`RunError`]; `Interrupted` if the source aborted and PostgreSQL said
    /// nothing else.
    fn copy_in(&mut self, statement: &Statement, source: &mut dyn Source)
        -> Result<Done, RunError>;
    /// Runs COPY TO STDOUT and passes its data to `sink` as it arrives.
    ///
    /// # Errors
    /// See [`RunError`].
    fn copy_out(&mut self, statement: &Statement, sink: &mut dyn Sink) -> Result<Done, RunError>;
    /// Starts and stops listening to channels.
    ///
    /// # Errors
    /// See [`RunError`]; then nothing has changed, or the connection is gone.
    fn listen(&mut self, change: &Change) -> Result<(), RunError>;
    /// Waits for a notification, for `limit` at most.
    ///
    /// # Errors
    /// If the connection is gone.
    fn hear(&mut self, limit: Duration) -> Result<Heard, RunError>;
    /// True if it must be checked before it is used again, however short it was idle.
    fn is_doubtful(&self) -> bool {
        false
    }
    /// Makes a round trip that changes nothing. False: it is gone, or its server no longer
    /// has the role that the DSN requires.
    fn check(&mut self) -> bool;
    /// Rolls back and restores the session to its state after login. False: it must be
    /// closed.
    fn reset(&mut self) -> bool;
    /// Ends the session in order, and waits for a moment until PostgreSQL has closed its side:
    /// from then on it does not count there any more.
    fn end(&mut self) {}
    /// True if a reset was sent, and its answer not read yet.
    fn awaits_reset(&self) -> bool {
        false
    }
    /// Sends a reset if that was not done, and if it needs no wait. Does not block. False:
    /// `reset` has to do all of it.
    fn begin_reset(&mut self) -> bool {
        false
    }
    /// [`reset`](Self::reset), if its answer has come and nothing else is to be done. Does not
    /// block. False: `reset` has to do the rest.
    fn reset_at_once(&mut self) -> bool {
        false
    }
    /// The notices since the last call.
    fn take_notices(&mut self) -> Vec<Notice>;
}

//! Resets a session to its state after login.

use std::io;

use crate::backend::pg::body::PgBackend;
use crate::backend::pg::found::{Found, Seen};
use crate::backend::pg::question::simple;
use crate::backend::pg::resets::{ResetBehind, ResetStep, SentReset, BEGIN, DEALLOCATE, SETTINGS};
use crate::backend::sqlstate;
use crate::core::transaction::TransactionState;
use crate::error::{Excess, PgFault};
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::Message;
use crate::pgwire::row::RawRow;
use crate::pgwire::values::Encoded;
use crate::random;

/// The answers to the steps.
#[derive(Default)]
struct Answers {
    seen: Option<Seen>,
    /// The settings that plans depend on, after the reset.
    settings: Option<String>,
    failed: Option<Box<PgFault>>,
}

impl PgBackend {
    /// Rolls back and restores the session to its state after login. False: it must be
    /// closed.
    pub(super) fn make_new(&mut self) -> bool {
        let Some(found) = self.resets.found.take().or_else(|| self.find()) else { return false };
        let clean = self.finish(found);
        self.resets.reported = self.conversation.facts.settings;
        let facts = &self.conversation.facts;
        // One that still speaks another encoding would refuse all that comes.
        clean && facts.transaction == TransactionState::None && !facts.foreign_encoding
    }

    /// Sends the steps, unless they were, and if that needs no wait. Does not block. False: it
    /// does, or the session is not idle.
    pub(super) fn sends_reset(&mut self) -> bool {
        let idle = self.conversation.facts.transaction == TransactionState::None;
        let closed = self.tainted || self.conversation.is_gone();
        if closed || !idle || self.ahead.is_awaited() || self.resets.found.is_some() {
            return false;
        }
        if self.resets.sent.is_some() {
            return true;
        }
        if !self.conversation.is_silent() {
            return false;
        }
        self.write_reset(false, ResetBehind::Sync);
        self.conversation.bounds.start_question();
        self.conversation.begin_to_send();
        self.resets.sent.is_some()
    }

    /// True if the answer to a reset that was sent has come, and [`make_new`](Self::make_new)
    /// has nothing more to do.
    pub(super) fn was_reset(&mut self) -> bool {
        if self.resets.sent.is_none() || !self.conversation.has_answer() {
            return false;
        }
        self.resets.found = self.find();
        // What it has answered is no reset.
        self.tainted |= self.resets.found.is_none();
        let had_temporary = self.resets.has_temporary;
        self.resets.found.as_ref().is_some_and(|found| found.is_clean(had_temporary))
    }

    /// What the steps have shown; they are sent if they were not. `None`: the session must be
    /// closed.
    fn find(&mut self) -> Option<Found> {
        let reported = self.conversation.facts.settings;
        let answers = match self.resets.sent.take() {
            Some(SentReset { steps, .. }) => {
                let late = reported != self.resets.reported && !steps.contains(&ResetStep::Plans);
                // What the socket has not taken yet.
                self.conversation.send().ok()?;
                match self.read_steps(&steps) {
                    // A late cancel of the previous statement hit the reset.
                    Some(Answers { failed: Some(fault), .. })
                        if fault.sqlstate == sqlstate::QUERY_CANCELED =>
                    {
                        if steps.contains(&ResetStep::Plans) {
                            // There is still a reason to discard them.
                            self.resets.settings = None;
                        }
                        self.take_steps()
                    }
                    answers => answers.map(|answers| (answers, late)),
                }
            }
            None => self.take_steps(),
        };
        let Some((Answers { seen: Some(seen), settings, failed: None }, late)) = answers else {
            return None;
        };
        let fresh = settings.is_some();
        if fresh {
            self.resets.settings = settings;
        }
        let differs = late || !fresh && self.resets.settings.as_ref() != Some(&seen.settings);
        Some(Found { seen, differs })
    }

    /// Sends the steps and reads their answers. `None`: the connection is gone.
    fn take_steps(&mut self) -> Option<(Answers, bool)> {
        let rolls_back = self.conversation.facts.transaction.is_open();
        // ROLLBACK outside a transaction would put a warning into the server's log.
        if rolls_back {
            self.conversation.out.query("ROLLBACK").ok()?;
        }
        self.write_reset(false, ResetBehind::Sync);
        let SentReset { steps, .. } = self.resets.sent.take()?;
        self.conversation.bounds.start_question();
        self.conversation.send().ok()?;
        if rolls_back {
            self.passes()?;
        }
        self.read_steps(&steps).map(|answers| (answers, false))
    }

    /// Writes the steps and a Sync; `touched` if the statement before them may change the meaning
    /// of texts.
    ///
    /// Cached plans of functions contain constants that were parsed under a former lease's
    /// TimeZone. Discarding them makes PostgreSQL replan every cached statement, so it is
    /// done only if something may have changed that plans depend on.
    pub(super) fn write_reset(&mut self, touched: bool, place: ResetBehind) {
        let touched = self.statements.session_reset() || touched;
        let reported = self.conversation.facts.settings != self.resets.reported;
        let fresh = self.resets.settings.is_none();
        let prepares = !self.resets.prepared;
        let is_taken = |step: &ResetStep| match step {
            // Steps that are still to be prepared are all included.
            ResetStep::Plans => prepares || touched || reported || fresh,
            ResetStep::Temporary => prepares || self.resets.has_temporary,
            ResetStep::Settings => fresh,
            ResetStep::Look | ResetStep::ResetAll | ResetStep::Sequences => true,
        };
        let steps: Vec<ResetStep> = ResetStep::ALL.into_iter().filter(is_taken).collect();
        let closed = self.closing.take();
        let before = self.conversation.out.length();
        let written = self.close_all(&closed).and_then(|()| self.write_steps(&steps, prepares));
        if written.is_ok() {
            self.conversation.out.sync();
            self.resets.prepared = true;
            self.resets.sent = Some(SentReset { steps, closed, place });
            return;
        }
        // Cannot be: none of the texts is too long.
        self.tainted = true;
        self.conversation.out.truncate(before);
        if place != ResetBehind::Sync {
            self.conversation.out.sync();
        }
    }

    fn close_all(&mut self, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| self.conversation.out.close(name))
    }

    fn write_steps(&mut self, steps: &[ResetStep], prepares: bool) -> io::Result<()> {
        let out = &mut self.conversation.out;
        if prepares {
            out.close(BEGIN)?;
            out.parse(BEGIN, "BEGIN")?;
        }
        // A fresh seed, so that random() of one lease reveals nothing about the next.
        let seed = [Encoded::Text(random::seed().to_string().into())];
        for step in steps {
            let (name, sql) = step.statement();
            if prepares || *step == ResetStep::Settings {
                out.close(name)?;
                out.parse(name, sql)?;
            }
            let parameters = if *step == ResetStep::Look { &seed[..] } else { &[] };
            out.bind(name, parameters, &[true])?;
            out.execute(0)?;
        }
        Ok(())
    }

    /// True if the reset was sent with the last statement and its answer not read yet.
    pub(super) fn is_being_reset(&self) -> bool {
        self.resets.sent.is_some() || self.resets.found.is_some()
    }

    /// Reads up to the next ReadyForQuery. `None`: there was an error.
    fn passes(&mut self) -> Option<()> {
        loop {
            match self.conversation.receive().ok()? {
                Message::Ready(_) => return Some(()),
                Message::Complete(_) => {}
                _ => return None,
            }
        }
    }

    /// `None`: the connection is gone.
    fn read_steps(&mut self, steps: &[ResetStep]) -> Option<Answers> {
        self.conversation.bounds.start_question();
        let mut answers = Answers::default();
        let mut steps = steps.iter();
        let mut step = steps.next();
        loop {
            let excess = match self.conversation.receive().ok()? {
                Message::Closed | Message::Parsed | Message::Bound => continue,
                Message::Row(body) if step == Some(&ResetStep::Look) => match Seen::read(body) {
                    Some(seen) => {
                        answers.seen = Some(seen);
                        continue;
                    }
                    None => Excess::Garbage(b'D'),
                },
                Message::Row(body) if step == Some(&ResetStep::Settings) => {
                    match last_value(body) {
                        Some(settings) => {
                            answers.settings = Some(settings);
                            continue;
                        }
                        None => Excess::Garbage(b'D'),
                    }
                }
                Message::Complete(tag) if step.is_some_and(|step| step.tag() == tag) => {
                    step = steps.next();
                    continue;
                }
                Message::Error(fields) => {
                    answers.failed = Some(Box::new(fault_in(fields)));
                    continue;
                }
                Message::Ready(_) if step.is_none() || answers.failed.is_some() => {
                    return Some(answers)
                }
                Message::Ready(_) => Excess::OutOfTurn("before a reset has ended"),
                _ => Excess::OutOfTurn("in a reset"),
            };
            self.conversation.refuse(excess);
            return None;
        }
    }

    /// Runs the commands that the answers of the steps have shown to be needed.
    fn finish(&mut self, Found { seen, differs }: Found) -> bool {
        let mut sql = String::new();
        if seen.has_prepared {
            let asked = simple(&mut self.conversation, DEALLOCATE, |values| {
                if let [Some(value)] = values {
                    sql.push_str(&String::from_utf8_lossy(value));
                }
            });
            if asked.is_err() {
                return false;
            }
        }
        if seen.listens {
            sql.push_str("UNLISTEN *; ");
        }
        if seen.has_cursors {
            sql.push_str("CLOSE ALL; ");
        }
        if seen.has_temporary && !std::mem::replace(&mut self.resets.has_temporary, true) {
            sql.push_str("DISCARD TEMP; ");
        }
        if differs {
            sql.push_str("DISCARD PLANS; ");
            sql.push_str(SETTINGS);
        }
        if sql.is_empty() {
            return true;
        }
        let mut settings = None;
        let done = simple(&mut self.conversation, &sql, |values| {
            if let [Some(value), ..] = values {
                settings = Some(String::from_utf8_lossy(value).into_owned());
            }
        });
        if differs {
            self.resets.settings = settings;
        }
        done.is_ok()
    }
}

/// The last value of a row, as text.
fn last_value(body: &[u8]) -> Option<String> {
    let columns = u16::from_be_bytes(*body.first_chunk()?);
    let row = RawRow::read(body, usize::from(columns))?;
    let value = row.values().last()??;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests;

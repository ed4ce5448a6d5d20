//! COPY from and to a client.

use crate::backend::copy::{Piece, Sink, Source};
use crate::backend::pg::body::PgBackend;
use crate::backend::session::{Done, RunError, Sent};
use crate::error::{Excess, PgFault};
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::{rows_of, Message};

/// The size of the parts in which data is sent, so that it is in memory only once.
const PART_BYTES: usize = 32 << 10;

/// PostgreSQL's answer so far.
#[derive(Default)]
struct CopyAnswer {
    tag: Option<String>,
    failed: Option<Box<PgFault>>,
}

/// How the data of a COPY ended.
enum Fed {
    /// It is complete.
    Whole,
    /// The source aborted it.
    Broken,
    /// PostgreSQL ended the COPY.
    Refused,
}

impl PgBackend {
    pub(super) fn run_copy_in(
        &mut self,
        sql: &str,
        source: &mut dyn Source,
    ) -> Result<Done, RunError> {
        self.start_copy(sql, true)?;
        let mut answer = CopyAnswer::default();
        // PostgreSQL drops a Sync that arrives during the data, so it is sent last.
        if !self.takes_data(&mut answer)? {
            self.conversation.out.sync();
            return self.copied(answer, Sent::Whole);
        }
        let (fed, sent) = match self.feed(source, &mut answer)? {
            Fed::Whole => {
                self.conversation.out.data_end();
                (Ok(()), Sent::Whole)
            }
            Fed::Broken => {
                (self.conversation.out.data_fails("the client has broken off"), Sent::Part)
            }
            Fed::Refused => (Ok(()), Sent::Part),
        };
        if fed.is_err() {
            return Err(self.lost(sent));
        }
        self.conversation.out.sync();
        self.copied(answer, sent)
    }

    /// Prepares a COPY and sends it.
    fn start_copy(&mut self, sql: &str, waits: bool) -> Result<(), RunError> {
        let prepared = self.prepare(sql, false)?;
        self.bound = false;
        let talk = &mut self.conversation;
        talk.bounds.start_statement();
        let written = talk.out.bind(prepared.name(), &[], &[]);
        if written.and_then(|()| talk.out.execute(0)).is_err() {
            return Err(self.lost(Sent::Nothing));
        }
        match waits {
            true => talk.out.flush(),
            false => talk.out.sync(),
        }
        talk.send().map_err(|_| self.lost(Sent::Whole))
    }

    /// Waits until PostgreSQL accepts data. False: it will accept none.
    fn takes_data(&mut self, answer: &mut CopyAnswer) -> Result<bool, RunError> {
        loop {
            match self.conversation.receive() {
                Err(_) => return Err(self.lost(Sent::Part)),
                Ok(Message::Bound) => self.bound = true,
                Ok(Message::CopyIn) => return Ok(true),
                Ok(Message::Error(fields)) => {
                    answer.failed = Some(Box::new(fault_in(fields)));
                    return Ok(false);
                }
                Ok(Message::Complete(tag)) => {
                    answer.tag = Some(String::from_utf8_lossy(tag).into_owned());
                    return Ok(false);
                }
                Ok(_) => {
                    let excess = Excess::OutOfTurn("where data is to be taken");
                    return Err(self.garbled(excess, Sent::Part));
                }
            }
        }
    }

    /// Sends the data.
    fn feed(&mut self, source: &mut dyn Source, answer: &mut CopyAnswer) -> Result<Fed, RunError> {
        loop {
            let piece = source.next();
            // PostgreSQL reports an error before the end of the data.
            match self.conversation.next_if_here() {
                Err(_) => return Err(self.lost(Sent::Part)),
                Ok(None) => {}
                Ok(Some(Message::Error(fields))) => {
                    answer.failed = Some(Box::new(fault_in(fields)));
                    return Ok(Fed::Refused);
                }
                Ok(Some(_)) => {
                    let excess = Excess::OutOfTurn("while data is taken");
                    return Err(self.garbled(excess, Sent::Part));
                }
            }
            let data = match piece {
                Piece::Data(data) => data,
                Piece::Finish => return Ok(Fed::Whole),
                Piece::Abort => return Ok(Fed::Broken),
            };
            for part in data.chunks(PART_BYTES) {
                let sent = self.conversation.out.data(part).is_ok();
                if !sent || self.conversation.send().is_err() {
                    return Err(self.lost(Sent::Part));
                }
            }
        }
    }

    pub(super) fn run_copy_out(
        &mut self,
        sql: &str,
        sink: &mut dyn Sink,
    ) -> Result<Done, RunError> {
        self.start_copy(sql, false)?;
        let notices = self.conversation.notices.clone();
        let mut answer = CopyAnswer::default();
        loop {
            match self.conversation.receive() {
                Err(_) => return Err(self.lost(Sent::Whole)),
                Ok(Message::Data(data)) => {
                    sink.notices(&notices);
                    sink.data(data);
                }
                Ok(Message::Bound) => self.bound = true,
                Ok(Message::CopyOut | Message::DataEnd) => {}
                Ok(Message::Complete(tag)) => {
                    answer.tag = Some(String::from_utf8_lossy(tag).into_owned());
                }
                Ok(Message::Error(fields)) => answer.failed = Some(Box::new(fault_in(fields))),
                Ok(Message::Ready(_)) => break,
                Ok(_) => {
                    let excess = Excess::OutOfTurn("while data is sent");
                    return Err(self.garbled(excess, Sent::Whole));
                }
            }
        }
        sink.notices(&notices);
        self.ended(answer)
    }

    /// Sends the Sync after a COPY, and reads the answer.
    fn copied(&mut self, mut answer: CopyAnswer, sent: Sent) -> Result<Done, RunError> {
        if self.conversation.send().is_err() {
            return Err(self.lost(sent));
        }
        loop {
            match self.conversation.receive() {
                Err(_) => return Err(self.lost(sent)),
                Ok(Message::Complete(tag)) => {
                    answer.tag = Some(String::from_utf8_lossy(tag).into_owned());
                }
                Ok(Message::Error(fields)) => answer.failed = Some(Box::new(fault_in(fields))),
                Ok(Message::Ready(_)) => return self.ended(answer),
                Ok(_) => {
                    let excess = Excess::OutOfTurn("at the end of a COPY");
                    return Err(self.garbled(excess, sent));
                }
            }
        }
    }

    /// The last message decides: a deferred constraint may still fail.
    fn ended(&mut self, answer: CopyAnswer) -> Result<Done, RunError> {
        match (answer.failed, answer.tag) {
            (Some(fault), _) => Err(self.faulted(fault)),
            (None, Some(command_tag)) => {
                Ok(Done { rows_affected: rows_of(&command_tag), command_tag, cached: false })
            }
            (None, None) => {
                let excess = Excess::OutOfTurn("ready before a COPY has ended");
                Err(self.garbled(excess, Sent::Whole))
            }
        }
    }
}

//! Receiving: answers, and the messages that may arrive between them at any time.

use std::io;
use std::time::Duration;

use super::{Conversation, Gone};
use crate::backend::listen::Notification;
use crate::backend::notice::{Notice, Notices};
use crate::backend::stream::socket::NoData;
use crate::error::{Excess, PgFault};
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::{Fields, Message};

/// How long reading pauses where a statement sends many notices.
///
/// PostgreSQL sends each notice on its own, so it waits too once its socket is full. On two
/// cores, beside 20 statements that raise notices without end, another tenant's lease,
/// statement and release took 40 times as long as alone without the pause, and 1.3 times
/// with it.
const PAUSE: Duration = Duration::from_millis(1);

impl Conversation {
    /// Waits for a message that is part of an answer.
    #[inline]
    fn ready(&mut self) -> Result<(), Gone> {
        while !self.arrived()? {
            self.fill()?;
        }
        Ok(())
    }

    /// True if a message is ready that is part of an answer. Notices, notifications and
    /// settings may arrive at any time; they are recorded here.
    #[inline]
    pub(super) fn arrived(&mut self) -> Result<bool, Gone> {
        loop {
            match self.reader.is_ready(&mut self.bounds) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(excess) => return Err(self.refuse(excess)),
            }
            if self.bounds.is_flooded() {
                self.watch.is_flooded();
            }
            if !matches!(self.reader.kind(), b'N' | b'A' | b'S') {
                return Ok(true);
            }
            let taken = match self.reader.take() {
                Ok(Message::Setting(setting)) => {
                    self.facts.note(&Message::Setting(setting));
                    self.bounds.setting(setting)
                }
                Ok(Message::Notice(fields)) => {
                    note(&self.notices, fields);
                    if self.bounds.is_pause_due() {
                        self.stream.socket().pause(PAUSE);
                    }
                    Ok(())
                }
                Ok(Message::Notification(body)) if self.hears => match notification(body) {
                    Some(notification) => {
                        self.notifications.push_back(notification);
                        Ok(())
                    }
                    None => Err(Excess::Garbage(b'A')),
                },
                Ok(_) => Ok(()),
                Err(excess) => Err(excess),
            };
            taken.map_err(|excess| self.refuse(excess))?;
        }
    }

    /// Reads from the stream, waiting for it.
    #[inline]
    fn fill(&mut self) -> Result<(), Gone> {
        match self.stream.read(self.reader.room()) {
            Err(error) if error.get_ref().is_some_and(|error| error.is::<NoData>()) => {
                return Err(self.refuse(Excess::NoData));
            }
            Ok(0) | Err(_) => return Err(self.break_off()),
            Ok(read) => self.reader.filled(read),
        }
        self.count()
    }

    /// Charges the buffered part of an unfinished message to its budgets.
    #[inline]
    pub(super) fn count(&mut self) -> Result<(), Gone> {
        let counted = match self.reader.unfinished() {
            Some((kind, size, came)) => self.bounds.unfinished(kind, size, came),
            None => {
                self.bounds.finished();
                Ok(())
            }
        };
        counted.map_err(|excess| self.refuse(excess))
    }

    /// Waits for the next message of an answer.
    ///
    /// # Errors
    /// The stream is gone, or was aborted because of what arrived.
    #[inline]
    pub fn receive(&mut self) -> Result<Message<'_>, Gone> {
        self.ready()?;
        self.take()
    }

    /// Takes the message that is ready.
    #[inline]
    pub(super) fn take(&mut self) -> Result<Message<'_>, Gone> {
        match self.reader.take() {
            Ok(message) => {
                match &message {
                    Message::Row(_) | Message::Data(_) | Message::LongRow(_) => {}
                    Message::Ready(state) => {
                        self.facts.note(&message);
                        self.watch.is_ready(*state);
                        self.bounds.ready();
                    }
                    other => self.facts.note(other),
                }
                Ok(message)
            }
            Err(excess) => {
                self.excess = self.excess.or(Some(excess));
                self.gone = true;
                self.stream.socket().break_off();
                Err(Gone)
            }
        }
    }

    /// The next message of an answer, if it has arrived.
    ///
    /// # Errors
    /// As for `receive`.
    pub fn next_if_here(&mut self) -> Result<Option<Message<'_>>, Gone> {
        if !self.arrived()? {
            match self.read_ahead() {
                Ok(true) => self.count()?,
                Ok(false) => return Ok(None),
                Err(_) => return Err(self.break_off()),
            }
            if !self.arrived()? {
                return Ok(None);
            }
        }
        self.take().map(Some)
    }

    /// Reads up to the next ReadyForQuery and discards everything before it.
    ///
    /// # Errors
    /// As for `receive`.
    pub fn skip(&mut self) -> Result<(), Gone> {
        while !matches!(self.receive()?, Message::Ready(_)) {}
        Ok(())
    }

    /// Reads what has arrived. True if there was anything.
    pub(super) fn read_ahead(&mut self) -> io::Result<bool> {
        match self.stream.try_read(self.reader.room()) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.reader.filled(read);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Keeps a notice, if there is room.
pub(super) fn note(notices: &Notices, fields: &[u8]) {
    if notices.is_full() {
        return;
    }
    let PgFault { severity, sqlstate, message, .. } = fault_in(fields);
    notices.push(Notice { severity, sqlstate, message });
}

/// `None`: the body is malformed.
fn notification(body: &[u8]) -> Option<Notification> {
    let mut fields = Fields::of(body);
    let pid = fields.u32()?.cast_signed();
    let channel = fields.text()?.into_owned();
    let payload = fields.text()?.into_owned();
    Some(Notification { channel, payload, pid })
}

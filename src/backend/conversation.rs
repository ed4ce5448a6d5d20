//! One conversation with PostgreSQL: what is sent, and what comes back.

mod idle;
mod login;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::backend::listen::Notification;
use crate::backend::notice::{Notice, Notices};
use crate::backend::stream::watch::Watch;
use crate::backend::stream::wire::Stream;
use crate::core::transaction::TransactionState;
use crate::error::{Excess, PgFault};
use crate::pgwire::bounds::Bounds;
use crate::pgwire::facts::Facts;
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::{Fields, Message};
use crate::pgwire::read::Reader;
use crate::pgwire::write::Writer;

/// While PostgreSQL takes nothing, so much of its answers is read ahead: it may be waiting
/// for that before it takes more. No call that is sent in one write has answers of so many
/// bytes that are of any use.
const AHEAD: usize = 16 << 20;

/// So many reads are for what PostgreSQL has said before it took nothing more.
const GASPS: usize = 16;

/// The stream is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A stream, what goes out and what has come.
pub struct Conversation {
    stream: Stream,
    watch: Arc<Watch>,
    reader: Reader,
    /// What goes out with the next [`Conversation::send`].
    pub out: Writer,
    /// What PostgreSQL has said of the session.
    pub facts: Facts,
    /// How much it may send.
    pub bounds: Bounds,
    /// Notices since they were taken last.
    pub notices: Notices,
    notifications: VecDeque<Notification>,
    /// Notifications are kept: somebody takes them.
    hears: bool,
    /// Why the stream was broken off, if it was for what PostgreSQL sent.
    excess: Option<Excess>,
    gone: bool,
}

impl Conversation {
    /// A conversation over a stream that is not logged in.
    pub fn new(stream: Stream, watch: Arc<Watch>) -> Conversation {
        let mut bounds = Bounds::default();
        bounds.held = watch.share().hold_nothing();
        Conversation {
            stream,
            watch,
            reader: Reader::default(),
            out: Writer::default(),
            facts: Facts::default(),
            bounds,
            notices: Notices::default(),
            notifications: VecDeque::new(),
            hears: false,
            excess: None,
            gone: false,
        }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// What it is watched by.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Why the stream was broken off, if that was for what PostgreSQL sent.
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// What PostgreSQL has said before it closed.
    pub fn last_words(&self) -> Option<PgFault> {
        self.facts.last_words.clone()
    }

    /// Whether notifications are kept.
    pub fn hear(&mut self, hears: bool) {
        self.hears = hears;
        self.bounds.hears = hears;
        if !hears {
            self.notifications = VecDeque::new();
            self.bounds.took_notifications();
        }
    }

    /// Sends what is in `out`. While PostgreSQL takes nothing, its answers are read, so
    /// that both sides never wait for each other.
    ///
    /// # Errors
    /// The stream is gone; what PostgreSQL said before that is in the facts.
    pub fn send(&mut self) -> Result<(), Gone> {
        let out = std::mem::take(&mut self.out);
        let sent = self.write(out.bytes());
        self.out = out;
        self.out.clear();
        sent.map_err(|_| {
            self.last_gasp();
            self.break_off()
        })
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.read_ahead()? {
                        self.stream.socket().poll(true, None, None)?;
                    }
                    self.hold_ahead().map_err(|Gone| io::ErrorKind::ConnectionAborted)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What has come while something goes out: what nobody waits for is taken note of, and
    /// the rest counts.
    fn hold_ahead(&mut self) -> Result<(), Gone> {
        self.arrived()?;
        let size = self.reader.capacity();
        let held = match size > AHEAD {
            true => Err(Excess::Ahead(AHEAD)),
            false => self.bounds.hold(size),
        };
        held.map_err(|excess| self.refuse(excess))
    }

    /// True if something had come.
    fn read_ahead(&mut self) -> io::Result<bool> {
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

    /// PostgreSQL takes nothing more, but may have said why. That is short.
    fn last_gasp(&mut self) {
        for _ in 0..GASPS {
            if !matches!(self.read_ahead(), Ok(true)) {
                return;
            }
            while let Ok(true) = self.reader.is_ready(&mut self.bounds) {
                let Ok(message) = self.reader.take() else { return };
                self.facts.note(&message);
            }
        }
    }

    /// The stream is of no use any more.
    fn break_off(&mut self) -> Gone {
        if let Some(words) = &self.facts.last_words {
            self.watch.has_said(words.clone());
        }
        self.gone = true;
        self.stream.socket().break_off();
        Gone
    }

    /// True if the stream is of no use any more.
    pub fn is_gone(&self) -> bool {
        self.gone || self.watch.is_aborted()
    }

    /// PostgreSQL has sent what it may not.
    pub fn refuse(&mut self, excess: Excess) -> Gone {
        self.excess = self.excess.or(Some(excess));
        self.break_off()
    }

    /// Waits until a message is ready that somebody waits for.
    fn ready(&mut self) -> Result<(), Gone> {
        while !self.arrived()? {
            self.fill()?;
        }
        Ok(())
    }

    /// True if a message is ready that somebody waits for. Notices, notifications and
    /// settings may come at any time, and are taken note of here.
    fn arrived(&mut self) -> Result<bool, Gone> {
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

    /// Reads what comes next.
    fn fill(&mut self) -> Result<(), Gone> {
        match self.stream.read(self.reader.room()) {
            Ok(0) | Err(_) => return Err(self.break_off()),
            Ok(read) => self.reader.filled(read),
        }
        self.count()
    }

    /// What of an unfinished message is in memory counts.
    fn count(&mut self) -> Result<(), Gone> {
        let counted = match self.reader.unfinished() {
            Some((kind, size, came)) => self.bounds.unfinished(kind, size, came),
            None => {
                self.bounds.finished();
                Ok(())
            }
        };
        counted.map_err(|excess| self.refuse(excess))
    }

    /// The next message that is an answer.
    ///
    /// # Errors
    /// The stream is gone, or was broken off for what came.
    pub fn receive(&mut self) -> Result<Message<'_>, Gone> {
        self.ready()?;
        self.take()
    }

    /// Takes the message that is ready.
    fn take(&mut self) -> Result<Message<'_>, Gone> {
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

    /// The next message that is an answer, if it has come.
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

    /// Reads to the next ReadyForQuery, whatever comes before it.
    ///
    /// # Errors
    /// As for `receive`.
    pub fn skip(&mut self) -> Result<(), Gone> {
        while !matches!(self.receive()?, Message::Ready(_)) {}
        Ok(())
    }

    /// The session is in this state, whatever PostgreSQL has still to say of it.
    pub fn is_in(&mut self, transaction: TransactionState) {
        self.facts.transaction = transaction;
        self.watch.is_ready(transaction);
    }

    /// The session rests: memory is given back.
    pub fn rest(&mut self) {
        self.reader.rest();
        self.out.rest();
    }

    /// What was long is over.
    pub fn shrink(&mut self) {
        self.reader.shrink();
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // PostgreSQL logs every client that leaves without a goodbye. Whoever is not logged
        // in says nothing more.
        if self.facts.ready && !self.is_gone() {
            self.out.clear();
            self.out.terminate();
            let _ = self.stream.try_write(self.out.bytes());
        }
        self.watch.detach();
    }
}

/// Keeps a notice, if there is room.
fn note(notices: &Notices, fields: &[u8]) {
    if notices.is_full() {
        return;
    }
    let PgFault { severity, sqlstate, message, .. } = fault_in(fields);
    notices.push(Notice { severity, sqlstate, message });
}

/// `None`: it is none.
fn notification(body: &[u8]) -> Option<Notification> {
    let mut fields = Fields::of(body);
    let pid = fields.u32()?.cast_signed();
    let channel = fields.text()?.into_owned();
    let payload = fields.text()?.into_owned();
    Some(Notification { channel, payload, pid })
}

//! The exchange of messages over one connection to PostgreSQL.

mod awaiting;
mod ending;
mod idle;
mod login;
#[cfg(test)]
mod pair;
mod receiving;
mod sending;

pub use ending::FAREWELL;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::backend::listen::Notification;
use crate::backend::notice::Notices;
use crate::backend::stream::watch::Watch;
use crate::backend::stream::wire::Stream;
use crate::core::transaction::TransactionState;
use crate::error::{Excess, PgFault};
use crate::pgwire::bounds::Bounds;
use crate::pgwire::facts::Facts;
use crate::pgwire::read::Reader;
use crate::pgwire::write::Writer;
use crate::threads::socket_waits::SharedSocket;

/// The stream is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A stream with its write buffer and its reader.
pub struct Conversation {
    stream: Stream,
    watch: Arc<Watch>,
    reader: Reader,
    /// The messages that the next [`Conversation::send`] writes.
    pub out: Writer,
    /// What PostgreSQL has reported about the session.
    pub facts: Facts,
    /// Limits on what PostgreSQL may send.
    pub bounds: Bounds,
    /// Notices since the last [`Notices::take`].
    pub notices: Notices,
    notifications: VecDeque<Notification>,
    /// Notifications are kept, for a listener.
    hears: bool,
    /// Why the stream was aborted, if PostgreSQL exceeded a limit or broke the protocol.
    excess: Option<Excess>,
    gone: bool,
    /// How often a short answer was looked for in vain.
    looks: u32,
}

impl Conversation {
    /// A conversation over a stream that is not logged in yet.
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
            looks: 0,
        }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The socket, for whoever waits for it on another thread.
    pub fn shared_socket(&self) -> SharedSocket {
        self.stream.shared_socket()
    }

    /// The handle through which other threads watch and abort it.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Why the stream was aborted, if PostgreSQL exceeded a limit or broke the protocol.
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// The FATAL or PANIC error that PostgreSQL sent before it closed.
    pub fn last_words(&self) -> Option<PgFault> {
        self.facts.last_words.clone()
    }

    /// Sets whether notifications are kept.
    pub fn hear(&mut self, hears: bool) {
        self.hears = hears;
        self.bounds.hears = hears;
        if !hears {
            self.notifications = VecDeque::new();
            self.bounds.took_notifications();
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

    /// Aborts the stream because PostgreSQL exceeded a limit or broke the protocol.
    pub fn refuse(&mut self, excess: Excess) -> Gone {
        self.excess = self.excess.or(Some(excess));
        self.break_off()
    }

    /// Sets the transaction state ahead of the next ReadyForQuery.
    pub fn is_in(&mut self, transaction: TransactionState) {
        self.facts.transaction = transaction;
        self.watch.is_ready(transaction);
    }

    /// Releases the buffers of a session that is idle.
    pub fn rest(&mut self) {
        self.reader.rest();
        self.out.rest();
    }

    /// Releases buffers that grew for a long message.
    pub fn shrink(&mut self) {
        self.reader.shrink();
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.says_goodbye();
        self.watch.detach();
    }
}

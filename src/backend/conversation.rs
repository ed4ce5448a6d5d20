//! One conversation with PostgreSQL: what is sent, and what comes back.

mod idle;
mod login;
mod receiving;
mod sending;

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

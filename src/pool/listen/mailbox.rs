//! What listeners receive, and what of it waits for them.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::listen::Notification;
use crate::core::budget::Held;
use crate::error::RequestError;

/// Where a listener's messages go. Nothing of it blocks.
pub trait Mailbox: Send + Sync {
    /// From now on everything is heard.
    fn started(&self);
    /// Something may have been missed since then; from now on everything is heard
    /// again.
    fn gap(&self, since: Instant);
    /// A notification as it is sent, which is the same for all listeners.
    fn encoded(&self, notification: &Notification) -> Vec<u8>;
    /// One has come. False: the reader is so far behind that no more is kept.
    fn notification(&self, letter: Letter) -> bool;
    /// Bytes that wait for the reader, those that it shares with others as well.
    fn backlog(&self) -> usize;
    /// Since when the reader has taken nothing of what waits; `None`: nothing waits.
    fn waits_since(&self) -> Option<Instant>;
    /// It is over, once the reader has what waits.
    fn fail(&self, error: RequestError);
    /// It is over at once: what waits is dropped.
    fn give_up(&self, error: RequestError);
}

/// A notification on its way to one listener. All copies share its bytes; they, and
/// this copy's place in its mailbox, count as long as they are there.
pub struct Letter {
    content: Arc<LetterContent>,
    _place: Held,
}

struct LetterContent {
    bytes: Vec<u8>,
    _held: Held,
}

/// What a letter costs besides its bytes, and each copy.
const CONTENT_BYTES: usize = 64;
const PLACE_BYTES: usize = 64;

/// The copies of one letter that are still to be given out.
pub(super) struct Copies {
    content: Arc<LetterContent>,
    places: Held,
}

/// Bytes that a letter of this content takes, for so many listeners.
pub(super) fn cost(bytes: &Vec<u8>, listeners: usize) -> usize {
    bytes.capacity() + CONTENT_BYTES + listeners * PLACE_BYTES
}

impl Copies {
    /// Copies of a letter for which this is held.
    pub(super) fn of(bytes: Vec<u8>, mut held: Held) -> Copies {
        let content = held.split(bytes.capacity() + CONTENT_BYTES);
        Copies { content: Arc::new(LetterContent { bytes, _held: content }), places: held }
    }

    /// One more of them.
    pub(super) fn next(&mut self) -> Letter {
        Letter { content: Arc::clone(&self.content), _place: self.places.split(PLACE_BYTES) }
    }
}

impl Letter {
    /// What is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.content.bytes
    }
}

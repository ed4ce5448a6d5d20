//! A bounded queue of encoded messages from a worker to gRPC's thread.
//!
//! The worker adds rows to a batch. A batch that is large enough becomes a message; one that
//! has waited long enough is flushed as it is, so that the rows of a slow statement are not
//! held back by those that follow.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::clock;
use crate::core::budget::Held;
use crate::lock::Leaf;
use crate::pool::listen::Letter;
use crate::pool::memory::Room;
use crate::pool::work::outlet::Stalled;

/// While so many messages wait for the reader, the worker waits.
const READY: usize = 2;
/// What a message costs besides its bytes.
const MESSAGE_BYTES: usize = 64;

/// The worker's end, and the reader's. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::rpc) struct Pipe(Arc<PipeShared>);

#[derive(Default)]
struct PipeShared {
    state: Leaf<PipeState>,
    room: Condvar,
}

#[derive(Default)]
struct PipeState {
    /// Where messages count. `None` before the session is granted, and for messages that are
    /// counted elsewhere.
    room: Option<Room>,
    ready: VecDeque<PipeMessage>,
    /// The cost of `ready`, in bytes.
    ready_bytes: usize,
    /// Since when nothing of `ready` has been taken.
    waits_since: Option<Instant>,
    /// Rows that are not encoded as a message yet.
    batch: Batch,
    /// The batch has waited long enough: the reader flushes it.
    flush_due: bool,
    /// The worker has ended the result.
    ended: bool,
    /// The reader has left: what is added is dropped.
    closed: bool,
    reader: Option<Waker>,
    /// The reader must be woken once the lock is free: waking may call into gRPC.
    news: bool,
}

/// What became of the bytes that were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum Added {
    /// They begin a batch, whose flush is to be scheduled.
    First,
    /// They joined a batch, or completed one.
    More,
    /// The reader has left, and they were dropped.
    Dropped,
}

enum PipeMessage {
    Own(Vec<u8>, Held),
    Shared(Letter),
}

impl PipeMessage {
    fn cost(&self) -> usize {
        MESSAGE_BYTES
            + match self {
                PipeMessage::Own(bytes, _) => bytes.len(),
                PipeMessage::Shared(letter) => letter.bytes().len(),
            }
    }

    /// What is sent, and its memory.
    fn into_parts(self) -> (Vec<u8>, Held) {
        match self {
            PipeMessage::Own(bytes, held) => (bytes, held),
            PipeMessage::Shared(letter) => (letter.bytes().to_vec(), Held::default()),
        }
    }
}

/// Rows that will be one message.
#[derive(Default)]
pub(in crate::rpc) struct Batch {
    pub(in crate::rpc) bytes: Vec<u8>,
    pub(in crate::rpc) rows: u32,
}

impl Pipe {
    /// Takes one step, and wakes the reader afterwards if there is news for it.
    fn step<R>(&self, step: impl FnOnce(&mut PipeState) -> R) -> R {
        let mut state = self.0.state.lock();
        let result = step(&mut state);
        let reader = if std::mem::take(&mut state.news) { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        result
    }

    /// Messages count in `room` from now on.
    pub(in crate::rpc) fn open(&self, room: Room) {
        self.0.state.lock().room = Some(room);
    }

    /// Adds to the batch by `add`, and makes a message of it by `encode_batch` if it has
    /// reached `enough` bytes.
    pub(in crate::rpc) fn add(
        &self,
        add: impl FnOnce(&mut Batch),
        enough: usize,
        encode_batch: impl FnOnce(Batch) -> Vec<u8>,
    ) -> Added {
        self.step(|state| {
            if state.closed {
                return Added::Dropped;
            }
            let first = state.batch.rows == 0;
            add(&mut state.batch);
            if state.batch.bytes.len() >= enough {
                state.flush(encode_batch);
                return Added::More;
            }
            if first {
                Added::First
            } else {
                Added::More
            }
        })
    }

    /// Adds a message of its own, after what is in the batch.
    pub(in crate::rpc) fn push(
        &self,
        message: Vec<u8>,
        encode_batch: impl FnOnce(Batch) -> Vec<u8>,
    ) {
        self.step(|state| {
            if !state.closed {
                state.flush(encode_batch);
                state.send_own(message);
            }
        });
    }

    /// Adds a message that other readers share.
    pub(in crate::rpc) fn post(&self, letter: Letter) {
        self.step(|state| {
            if !state.closed {
                state.send(PipeMessage::Shared(letter));
            }
        });
    }

    /// The reader is to flush the batch as soon as it has room.
    pub(in crate::rpc) fn flush_soon(&self) {
        self.step(|state| {
            state.flush_due = true;
            state.news = true;
        });
    }

    /// True if the worker should wait.
    pub(in crate::rpc) fn is_full(&self) -> bool {
        let state = self.0.state.lock();
        state.ready.len() >= READY && !state.closed
    }

    /// True if what is added is dropped.
    pub(in crate::rpc) fn is_closed(&self) -> bool {
        self.0.state.lock().closed
    }

    /// The cost of the messages that wait for the reader, in bytes.
    pub(in crate::rpc) fn backlog(&self) -> usize {
        self.0.state.lock().ready_bytes
    }

    /// Since when the reader has taken nothing of what waits; `None`: nothing waits.
    pub(in crate::rpc) fn waits_since(&self) -> Option<Instant> {
        self.0.state.lock().waits_since
    }

    /// Waits until there is room, or the reader has left.
    ///
    /// # Errors
    /// If the reader takes nothing for `limit`.
    pub(in crate::rpc) fn wait(&self, limit: Duration) -> Result<(), Stalled> {
        let until = clock::now() + limit;
        let mut state = self.0.state.lock();
        while state.ready.len() >= READY && !state.closed {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Err(Stalled);
            }
            state = state.wait(&self.0.room, left);
        }
        Ok(())
    }

    /// Drops what waits, and from now on what is added.
    pub(in crate::rpc) fn close(&self) {
        let dropped = self.step(|state| {
            state.closed = true;
            state.news = true;
            state.ready_bytes = 0;
            state.waits_since = None;
            (std::mem::take(&mut state.ready), std::mem::take(&mut state.batch))
        });
        self.0.room.notify_all();
        drop(dropped);
    }

    /// Ends the result, after what is in the batch.
    pub(in crate::rpc) fn end(&self, encode_batch: impl FnOnce(Batch) -> Vec<u8>) {
        self.step(|state| {
            state.flush(encode_batch);
            state.ended = true;
            state.news = true;
        });
    }

    /// The next message, and its memory until it is sent; `None` after the last.
    pub(in crate::rpc) fn poll_next(
        &self,
        cx: &mut Context<'_>,
        encode_batch: impl FnOnce(Batch) -> Vec<u8>,
    ) -> Poll<Option<(Vec<u8>, Held)>> {
        let mut state = self.0.state.lock();
        if state.flush_due && state.ready.is_empty() {
            state.flush(encode_batch);
            // This is the reader, so it need not be woken.
            state.news = false;
        }
        let next = state.ready.pop_front();
        match next {
            Some(message) => {
                state.ready_bytes -= message.cost();
                state.waits_since = (!state.ready.is_empty()).then(clock::now);
                drop(state);
                self.0.room.notify_all();
                Poll::Ready(Some(message.into_parts()))
            }
            None if state.ended || state.closed => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl PipeState {
    fn flush(&mut self, encode_batch: impl FnOnce(Batch) -> Vec<u8>) {
        self.flush_due = false;
        if self.batch.rows > 0 {
            let batch = std::mem::take(&mut self.batch);
            self.send_own(encode_batch(batch));
        }
    }

    /// Counts the message even beyond the limit, because it exists already: a caller that does
    /// not read its answers has its next request refused.
    fn send_own(&mut self, bytes: Vec<u8>) {
        let room = self.room.as_ref();
        let held = room.map(|room| room.take_over(bytes.capacity() + MESSAGE_BYTES));
        self.send(PipeMessage::Own(bytes, held.unwrap_or_default()));
    }

    fn send(&mut self, message: PipeMessage) {
        self.ready_bytes += message.cost();
        self.waits_since.get_or_insert_with(clock::now);
        self.ready.push_back(message);
        self.news = true;
    }
}

#[cfg(test)]
mod tests;

//! Requests of a Session stream that wait for those before them.
//!
//! A client may send requests ahead. Up to [`QUEUED`] of them wait here; further ones stay with
//! the client. PostgreSQL gets a request only when the previous one is answered, because a
//! cancel names a connection and not a statement: it could hit the next request if PostgreSQL
//! had that in its buffer. For the same reason the `cancel` of a waiting request takes effect
//! here, at its turn.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::budget::Held;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::memory::Room;
use crate::pool::work::task::Request;

/// Requests that may wait; while so many do, no more are read.
const QUEUED: usize = 64;
/// Bytes of requests that may wait; while so many do, no more are read.
const QUEUED_BYTES: usize = 4 << 20;
/// The memory of a request that breaks a rule: only the error is kept.
const REFUSED_BYTES: usize = 1 << 10;

/// A request that waits for those before it.
pub(super) struct Queued {
    pub(super) id: u64,
    bytes: usize,
    /// Its counted memory; 0 if there was no room for it.
    pub(super) held: Held,
    pub(super) request: Result<Request, RequestError>,
    pub(super) caller: Arc<Caller>,
}

/// The requests that wait, in their order.
#[derive(Default)]
pub(super) struct RequestQueue {
    requests: VecDeque<Queued>,
    bytes: usize,
}

impl RequestQueue {
    /// True if one more may be read. A request that is not counted, for want of memory, must run
    /// first.
    pub(super) fn has_room(&self) -> bool {
        let counted = self.requests.back().is_none_or(|last| last.held.bytes() > 0);
        counted && self.requests.len() < QUEUED && self.bytes < QUEUED_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Adds a request, whose memory counts in `room`.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(super) fn push(
        &mut self,
        id: u64,
        request: Result<Request, RequestError>,
        caller: Arc<Caller>,
        room: &Room,
    ) -> Result<(), RequestError> {
        let bytes = request.as_ref().map_or(REFUSED_BYTES, Request::memory);
        let held = room.take(bytes)?;
        self.bytes += bytes;
        self.requests.push_back(Queued { id, bytes, held, request, caller });
        Ok(())
    }

    /// Takes the oldest request.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let next = self.requests.pop_front()?;
        self.bytes -= next.bytes;
        Some(next)
    }

    /// The callers of those with this id.
    pub(super) fn callers(&self, id: u64) -> impl Iterator<Item = &Arc<Caller>> {
        let requests = self.requests.iter().filter(move |queued| queued.id == id);
        requests.map(|queued| &queued.caller)
    }
}

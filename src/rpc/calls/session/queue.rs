//! Requests of a Session stream that wait for those before them.
//!
//! A client may send requests ahead. Up to [`QUEUED`] of them wait here; further ones stay with
//! the client. With the one that begins, those behind it are sent to PostgreSQL where that can be
//! done. All the same each has its turn here, where its time limit begins, its answer is read,
//! and a `cancel` that came before takes effect.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::backend::statement::Follower;
use crate::core::budget::Held;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::memory::Room;
use crate::pool::work::task::{Behind, Request};

/// Requests that may wait; while so many do, no more are read.
const QUEUED: usize = 64;
/// Bytes of requests that may wait; while so many do, no more are read.
const QUEUED_BYTES: usize = 4 << 20;
/// Requests that are offered to be sent with the one before them.
const FOLLOWERS: usize = 15;
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
    /// Those behind it, once it is taken.
    pub(super) behind: Behind,
}

impl Queued {
    /// True for one statement that is not atomic.
    fn is_single(&self) -> bool {
        let single = |request: &Request| !request.atomic && request.statements.len() == 1;
        self.request.as_ref().is_ok_and(single)
    }
}

/// The requests that wait, in their order.
#[derive(Default)]
pub(super) struct RequestQueue {
    requests: VecDeque<Queued>,
    bytes: usize,
    /// How many of them PostgreSQL has already.
    sent: Arc<AtomicUsize>,
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
        let behind = Behind::default();
        self.requests.push_back(Queued { id, bytes, held, request, caller, behind });
        Ok(())
    }

    /// Takes the oldest request.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let mut next = self.requests.pop_front()?;
        self.bytes -= next.bytes;
        let fresh = !self.is_sent() && next.is_single();
        let followers = if fresh { self.followers() } else { Vec::new() };
        next.behind = Behind { followers, sent: Arc::clone(&self.sent) };
        Some(next)
    }

    /// True if PostgreSQL has the next request already.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > 0
    }

    /// Those that may be sent with the request before them.
    fn followers(&self) -> Vec<Follower> {
        let follower = |queued: &Queued| {
            let request = queued.request.as_ref().ok()?;
            (queued.is_single() && !queued.caller.is_gone()).then(|| Follower {
                statements: Arc::clone(&request.statements),
                max_rows: request.max_rows,
            })
        };
        self.requests.iter().take(FOLLOWERS).map_while(follower).collect()
    }

    /// The callers of those with this id.
    pub(super) fn callers(&self, id: u64) -> impl Iterator<Item = &Arc<Caller>> {
        let requests = self.requests.iter().filter(move |queued| queued.id == id);
        requests.map(|queued| &queued.caller)
    }
}

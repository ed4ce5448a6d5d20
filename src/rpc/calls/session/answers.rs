//! Responses of a Session stream that wait until they can be sent.
//!
//! Statements go on while a response is being sent, so that what has come meanwhile is sent in
//! one write.

use std::collections::VecDeque;

use crate::core::budget::Held;
use crate::proto::sql::session_response::Kind;
use crate::proto::sql::SessionClosed;
use crate::rpc::calls::entry::CallEnd;

/// So many may wait; while so many do, no statement begins.
const WAITING: usize = 16;
/// So many bytes of them, and of the one that is being sent: a client that does not read has a
/// statement's result here beside them, and no more.
const WAITING_BYTES: usize = 64 << 10;

/// A response, and its counted memory until it is sent.
pub(super) struct Response {
    pub(super) kind: Kind,
    pub(super) held: Held,
}

impl From<Kind> for Response {
    /// One that is too small to be counted.
    fn from(kind: Kind) -> Response {
        Response { kind, held: Held::default() }
    }
}

/// What is being sent.
#[derive(Clone, Copy)]
pub(super) enum BeingSent {
    Nothing,
    /// A response that holds so much memory.
    Bytes(usize),
}

impl BeingSent {
    fn bytes(self) -> usize {
        match self {
            BeingSent::Nothing => 0,
            BeingSent::Bytes(bytes) => bytes,
        }
    }
}

/// The next step of the stream.
pub(super) enum StreamStep {
    /// Send this response. True: another follows at once.
    Send(Response, bool),
    /// Let gRPC's thread send what there is, while this one runs the next statement.
    PassOn,
    /// Send this response and end the stream with OK.
    Finish(SessionClosed),
    /// End the stream early.
    End(CallEnd),
}

/// Those that wait, in their order.
#[derive(Default)]
pub(super) struct Responses {
    waiting: VecDeque<Response>,
    bytes: usize,
}

impl Responses {
    /// True if one more may come to wait, beside what is being sent.
    pub(super) fn has_room(&self, sending: BeingSent) -> bool {
        self.waiting.len() < WAITING && self.bytes + sending.bytes() < WAITING_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, response: Response) {
        self.bytes += response.held.bytes();
        self.waiting.push_back(response);
    }

    /// The oldest, and whether another waits behind it.
    pub(super) fn pop(&mut self) -> Option<(Response, bool)> {
        let next = self.waiting.pop_front()?;
        self.bytes -= next.held.bytes();
        Some((next, !self.waiting.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::{Budget, Share};
    use crate::proto::sql::SessionExecuted;

    fn of(bytes: usize) -> Response {
        let held = Share::of([Budget::new("test", 1 << 30)]).take(bytes).expect("there is room");
        Response { kind: Kind::Executed(SessionExecuted::default()), held }
    }

    #[test]
    fn so_many_and_so_many_bytes_wait_with_what_is_being_sent() {
        let mut responses = Responses::default();
        for _ in 0..WAITING {
            assert!(responses.has_room(BeingSent::Nothing));
            responses.push(of(0));
        }
        assert!(!responses.has_room(BeingSent::Nothing));
        assert!(
            matches!(responses.pop(), Some((_, true))) && responses.has_room(BeingSent::Nothing)
        );
        assert!(!responses.has_room(BeingSent::Bytes(WAITING_BYTES)));
        let mut responses = Responses::default();
        responses.push(of(WAITING_BYTES - 1));
        assert!(responses.has_room(BeingSent::Nothing) && !responses.has_room(BeingSent::Bytes(1)));
        assert!(
            matches!(responses.pop(), Some((_, false))) && responses.has_room(BeingSent::Bytes(1))
        );
        assert!(responses.pop().is_none());
    }
}

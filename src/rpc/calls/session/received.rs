//! The messages of a client on a Session stream.

use std::task::{Context, Poll};

use crate::config::Limits;
use crate::error::RequestError;
use crate::pool::work::task::Request;
use crate::proto::sql::session_request::Kind;
use crate::proto::sql::SessionRequest;
use crate::rpc::calls::entry::CallEnd;
use crate::rpc::convert;

/// Where the client's messages come from.
pub(super) trait Incoming {
    /// The next message; `None` after the last.
    fn poll_next(&mut self, cx: &mut Context<'_>)
        -> Poll<Option<Result<ReceivedRequest, CallEnd>>>;
}

/// A received message.
pub(super) enum ReceivedRequest {
    /// Statements, with their id.
    Execute(u64, Result<Request, RequestError>),
    /// Any other kind, or none.
    Other(Option<Kind>),
}

impl ReceivedRequest {
    pub(super) fn of(request: SessionRequest, limits: &Limits) -> ReceivedRequest {
        match request.kind {
            Some(Kind::Execute(execute)) => ReceivedRequest::Execute(
                execute.id,
                convert::requests::session_execute(execute, limits),
            ),
            other => ReceivedRequest::Other(other),
        }
    }
}

//! The request of a Session stream that a worker runs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use futures_util::Future;

use crate::core::budget::Held;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::requests::responder::PendingAnswer;
use crate::pool::service::Service;
use crate::pool::work::task::Executed;
use crate::proto::sql::session_executed::Outcome;
use crate::proto::sql::session_response::Kind;
use crate::proto::sql::SessionExecuted;
use crate::rpc::calls::session::answers::Response;
use crate::rpc::convert;
use crate::rpc::convert::status::as_message;

/// Not seen: a worker and a responder answer even when they are dropped.
pub(super) const LOST: RequestError = RequestError::Internal("an answer was lost");

/// A request that a worker runs.
pub(super) struct RunningRequest {
    pub(super) id: u64,
    pub(super) caller: Arc<Caller>,
    pub(super) answer: PendingAnswer<Executed>,
}

impl RunningRequest {
    /// Ready with its response.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, service: &Service) -> Poll<Response> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(response(service, self.id, answer.unwrap_or(Err(LOST))))
    }
}

/// The response to a request.
pub(super) fn response(
    service: &Service,
    id: u64,
    answer: Result<Executed, RequestError>,
) -> Response {
    let (outcome, held) = match answer {
        Ok(mut executed) => {
            let held = std::mem::take(&mut executed.held);
            (Outcome::Response(convert::results::executed(executed)), held)
        }
        Err(error) => {
            service.context().tools.metrics.request_failed(error.as_str());
            (Outcome::Error(as_message(&error)), Held::default())
        }
    };
    let executed = SessionExecuted { id, outcome: Some(outcome), ..SessionExecuted::default() };
    Response { kind: Kind::Executed(executed), held }
}

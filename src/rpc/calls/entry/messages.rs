//! The messages that a client sends in one call.

use std::future::Future;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use grpcio::{RequestStream, RpcStatus, RpcStatusCode};

use super::call_end::CallEnd;
use super::decoder::{Decoder, Decoding};
use super::leaving::Leaving;
use super::time_limit::TimeLimit;
use crate::error::RequestError;
use crate::proto::{Raw, Shaped};

/// Larger messages are refused, as gRPC would: it also looks at them only when it has all of them,
/// but keeps 1.5 KiB a call for that, however long the call waits.
const MESSAGE_BYTES: usize = 4 << 20;
/// What gRPC puts before each message.
const PREFIX_BYTES: usize = 5;

/// The status of a call that has sent a message of so many bytes: gRPC's own.
pub(super) fn too_large(bytes: usize) -> RpcStatus {
    let message = format!("Received message larger than max ({bytes} vs. {MESSAGE_BYTES})");
    RpcStatus::with_message(RpcStatusCode::RESOURCE_EXHAUSTED, message)
}

/// The messages of one call, in order. The first one, and the end of the stream in a call with
/// one request, must arrive in time, because a partial message takes memory of gRPC that all
/// clients share.
pub(in crate::rpc) struct RequestMessages<Q> {
    requests: Option<RequestStream<Raw<Q>>>,
    /// The stream, once the one request of a call has been read.
    leaving: Option<Leaving<Q>>,
    pub(super) decoder: Decoder,
    /// Of the request; once that has arrived, of the answer.
    time_limit: TimeLimit,
    limit: Duration,
    only: Option<Raw<Q>>,
    /// The first message of a stream has arrived.
    begun: bool,
    /// The one request of a call has been read.
    ended: bool,
}

impl<Q: Shaped> RequestMessages<Q> {
    pub(super) fn new(requests: RequestStream<Raw<Q>>, decoder: Decoder) -> RequestMessages<Q> {
        let limit = decoder.context.live().limits.request_timeout;
        let mut time_limit = TimeLimit::new(&decoder.context.tools.alarms);
        time_limit.start(limit);
        RequestMessages {
            requests: Some(requests),
            leaving: None,
            decoder,
            time_limit,
            limit,
            only: None,
            begun: false,
            ended: false,
        }
    }

    /// For another wait, once the request has arrived or the call has ended.
    pub(super) fn time_limit(&mut self) -> &mut TimeLimit {
        &mut self.time_limit
    }

    /// The result of `work` for the next message of a stream; `None` after the last. The message
    /// that is being decoded is kept in `working`.
    pub(in crate::rpc) fn poll_next<T: Send + 'static>(
        &mut self,
        cx: &mut Context<'_>,
        working: &mut Option<Decoding<T>>,
        work: impl FnOnce(Q) -> Result<T, RequestError> + Send + 'static,
    ) -> Poll<Option<Result<T, CallEnd>>> {
        let current = match working {
            Some(current) => current,
            None => {
                let Some(raw) = ready!(self.poll_raw(cx)).transpose()? else {
                    return Poll::Ready(None);
                };
                self.time_limit.clear();
                let begun = std::mem::replace(&mut self.begun, true);
                working.insert(self.decoder.work(raw, begun, work))
            }
        };
        let worked = ready!(Pin::new(current).poll(cx));
        *working = None;
        Poll::Ready(Some(worked.map_err(CallEnd::from)))
    }

    /// The message of a call with one request.
    pub(super) fn poll_only(&mut self, cx: &mut Context<'_>) -> Poll<Result<Raw<Q>, CallEnd>> {
        let rule = loop {
            match ready!(self.poll_raw(cx)).transpose()? {
                Some(raw) if self.only.is_none() => self.only = Some(raw),
                Some(_) => break "the call takes one request, and more than one came",
                None => match self.only.take() {
                    Some(raw) => {
                        self.time_limit.clear();
                        self.ended = true;
                        return Poll::Ready(Ok(raw));
                    }
                    None => break "the call takes one request, and none came",
                },
            }
        };
        Poll::Ready(Err(RequestError::invalid("request", rule).into()))
    }

    /// Ready once the caller has left, if the one request of the call has been read. Before,
    /// reading fails.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(requests) = self.requests.take_if(|_| self.ended) {
            self.leaving = Some(Leaving::of(requests, &self.decoder));
        }
        self.leaving.as_ref().map_or(Poll::Pending, |leaving| leaving.poll(cx))
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Raw<Q>, CallEnd>>> {
        let Some(requests) = self.requests.as_mut() else { return Poll::Ready(None) };
        match Pin::new(requests).poll_next(cx) {
            Poll::Ready(Some(Ok(raw))) if raw.reader.len() > MESSAGE_BYTES => {
                Poll::Ready(Some(Err(CallEnd::TooLarge(raw.reader.len()))))
            }
            Poll::Ready(Some(Ok(raw))) => {
                self.decoder.caller.peer().took(raw.reader.len() + PREFIX_BYTES);
                Poll::Ready(Some(Ok(raw)))
            }
            Poll::Ready(next) => Poll::Ready(next.map(|raw| raw.map_err(|_| CallEnd::Left))),
            Poll::Pending => {
                ready!(self.time_limit.poll_expired(cx));
                Poll::Ready(Some(Err(RequestError::RequestTimeout { limit: self.limit }.into())))
            }
        }
    }
}

//! The one way into the service, for calls of every shape.
//!
//! Every method is bound as a stream of undecoded requests, because all methods look the same
//! on the wire. So requests are awaited here, with a time limit, and decoded, and a caller that
//! leaves is noticed here. grpcio itself waits without a limit, and does not report to a unary
//! call that its caller has left.
//!
//! A call is one future on gRPC's thread, which must not block. A large request is decoded by
//! a worker.

mod authentication;
mod call_end;
mod call_metrics;
mod decoder;
mod inspect;
mod leaving;
mod messages;
mod sinks;
mod time_limit;

use std::future::{poll_fn, ready, Future};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, OptionFuture};
use futures_util::{FutureExt, Sink, SinkExt};
use grpcio::{DuplexSink, RequestStream, RpcContext, RpcStatus, RpcStatusCode, WriteFlags};

use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::requests::responder::PendingAnswer;
use crate::pool::service::Service;
use crate::proto::{Raw, Shaped};
use crate::rpc::convert::status::status;
use crate::threads;
use authentication::{authenticate, note_denied, Authenticated};
pub(in crate::rpc) use call_end::CallEnd;
use call_metrics::CallMetrics;
use decoder::Decoder;
pub(in crate::rpc) use decoder::Decoding;
use messages::too_large;
pub(in crate::rpc) use messages::RequestMessages;
pub(in crate::rpc) use sinks::AnswerSink;
use time_limit::TimeLimit;

/// One call: its caller, its messages, and where the answer is sent.
///
/// What ends it takes it by reference: a future has room for a value once more wherever it is
/// moved, and most calls wait.
pub(in crate::rpc) struct Call<Q, S> {
    /// `None` once the call is being ended.
    sink: Option<S>,
    /// Dropping them cancels the call, so they are kept until the sink is done.
    pub(in crate::rpc) messages: RequestMessages<Q>,
    pub(in crate::rpc) caller: Arc<Caller>,
    /// The time limit for a message that the caller does not read.
    untaken: TimeLimit,
    /// The call ends if its answer is not read for this long.
    stall: Duration,
    metrics: CallMetrics,
}

impl<Q: Shaped, S: AnswerSink> Call<Q, S> {
    /// Serves a call by the future that `served` makes of it. A panic there costs this
    /// call only. A call that has shown a wrong token, or is one too many of its identity, is
    /// ended at once, before anything of it is read.
    pub(in crate::rpc) fn serve<F>(
        service: &Service,
        ctx: &RpcContext<'_>,
        requests: RequestStream<Raw<Q>>,
        sink: S,
        served: impl FnOnce(Call<Q, S>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let caller = authenticate(service.context(), ctx);
        Call::serve_caller(service, ctx, caller, (requests, sink), served);
    }

    /// Serves a call as [`serve`](Self::serve), for any caller.
    pub(in crate::rpc) fn serve_anybody<F>(
        service: &Service,
        ctx: &RpcContext<'_>,
        requests: RequestStream<Raw<Q>>,
        sink: S,
        served: impl FnOnce(Call<Q, S>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let caller = Ok(Authenticated::default());
        Call::serve_caller(service, ctx, caller, (requests, sink), served);
    }

    fn serve_caller<F>(
        service: &Service,
        ctx: &RpcContext<'_>,
        caller: Result<Authenticated, RequestError>,
        (requests, sink): (RequestStream<Raw<Q>>, S),
        served: impl FnOnce(Call<Q, S>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (known, refused) = match caller {
            Ok(known) => (known, None),
            Err(refused) => (Authenticated::default(), Some(refused)),
        };
        let Authenticated { authentication, let_in, proof } = known;
        let (context, caller) =
            (service.context(), service.caller(&ctx.peer(), authentication, proof));
        caller.peer().called(let_in);
        let decoder = Decoder { context: Arc::clone(context), caller: Arc::clone(&caller) };
        let mut call = Call {
            sink: Some(sink),
            messages: RequestMessages::new(requests, decoder),
            caller,
            untaken: TimeLimit::new(&context.tools.alarms),
            stall: context.live().limits.stall_timeout,
            metrics: CallMetrics::new(&context.tools.metrics, ctx),
        };
        let served = match refused {
            None => Either::Left(served(call)),
            Some(refused) => Either::Right(async move { call.end(refused.into()).await }),
        };
        // A panic that reached gRPC's thread would end it for good.
        let served = AssertUnwindSafe(served).catch_unwind().map(|ended| {
            if ended.is_err() {
                log::error!("event=panic thread={}", threads::GRPC);
            }
        });
        ctx.spawn(served);
    }

    /// Receives the one request of a unary call and runs `work` with it, which must not block.
    pub(in crate::rpc) async fn request<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Q, &Arc<Caller>) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, CallEnd> {
        let only = poll_fn(|cx| match self.poll_left(cx) {
            Poll::Ready(()) => Poll::Ready(Err(CallEnd::Left)),
            Poll::Pending => self.messages.poll_only(cx),
        });
        let (only, caller) = (only.await?, Arc::clone(&self.caller));
        let work = move |request| work(request, &caller);
        let mut worked = self.messages.decoder.work(only, false, work);
        let worked = poll_fn(|cx| match Pin::new(&mut worked).poll(cx) {
            Poll::Ready(worked) => Poll::Ready(worked.map_err(CallEnd::from)),
            Poll::Pending => self.poll_left(cx).map(|()| Err(CallEnd::Left)),
        });
        worked.await
    }

    /// Waits for the answer, or for the caller to leave.
    pub(in crate::rpc) async fn wait<R>(
        &mut self,
        mut answer: PendingAnswer<R>,
    ) -> Result<R, CallEnd> {
        let came = poll_fn(|cx| match Pin::new(&mut answer).poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => self.poll_left(cx).map(|()| None),
        });
        match came.await {
            Some(answer) => {
                let answer = answer.unwrap_or(Err(RequestError::Internal("an answer was lost")));
                // A request whose caller has left is dropped, which fails it.
                answer.map_err(|error| match self.caller.is_gone() {
                    true => CallEnd::Left,
                    false => error.into(),
                })
            }
            None => Err(CallEnd::Left),
        }
    }

    /// Ready once the caller has left. The call must not be used then any more.
    pub(in crate::rpc) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sink) = &mut self.sink else { return Poll::Ready(()) };
        sink.poll_left(&mut self.messages, cx)
    }

    /// Sends the last message and ends the call with OK. Returns true if the caller has received
    /// it.
    pub(in crate::rpc) fn finish(
        &mut self,
        message: S::Message,
    ) -> impl Future<Output = bool> + Send + Unpin + use<'_, Q, S> {
        let sent = OptionFuture::from(self.sink.take().map(|sink| sink.finish(message)));
        let metrics = &mut self.metrics;
        self.messages.time_limit().within(self.stall, sent).map(|sent| {
            let sent = sent.flatten().unwrap_or(false);
            if sent {
                metrics.set_code(RpcStatusCode::OK);
            }
            sent
        })
    }

    /// Ends the call early, with the error's status if there is one.
    pub(in crate::rpc) fn end(
        &mut self,
        ended: CallEnd,
    ) -> impl Future<Output = ()> + Send + Unpin + use<'_, Q, S> {
        Either::Right(self.fail(match ended {
            CallEnd::Left => {
                self.caller.leave();
                return Either::Left(ready(()));
            }
            CallEnd::TooLarge(bytes) => {
                self.caller.leave();
                too_large(bytes)
            }
            CallEnd::Failed(error) => {
                self.metrics.failed(&error);
                if let RequestError::AccessDenied(denied) = &error {
                    note_denied(&self.messages.decoder.context, &self.caller, denied);
                }
                status(&error)
            }
        }))
    }

    /// Ends the call with this status.
    pub(in crate::rpc) fn fail(
        &mut self,
        status: RpcStatus,
    ) -> impl Future<Output = ()> + Send + Unpin + use<'_, Q, S> {
        self.metrics.set_code(status.code());
        let failed = OptionFuture::from(self.sink.take().map(|sink| sink.fail(status)));
        self.messages.time_limit().within(self.stall, failed).map(drop)
    }
}

/// The messages of a stream of answers.
impl<Q: Shaped, M: Send + 'static> Call<Q, DuplexSink<M>> {
    /// Ready once a message can be sent. Fails if the caller has left, or has taken nothing for
    /// `stalls` times the stall timeout; then the call must not be used any more.
    pub(in crate::rpc) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        stalls: u32,
    ) -> Poll<Result<(), CallEnd>> {
        let Some(sink) = &mut self.sink else { return Poll::Ready(Err(CallEnd::Left)) };
        match Pin::new(sink).poll_ready(cx) {
            Poll::Ready(ready) => {
                self.untaken.clear();
                Poll::Ready(ready.map_err(|_| CallEnd::Left))
            }
            Poll::Pending => {
                self.untaken.start(self.stall * stalls);
                self.untaken.poll_expired(cx).map(|()| Err(CallEnd::Left))
            }
        }
    }

    /// Sends a message, for which there must be room.
    pub(in crate::rpc) fn send(&mut self, message: M) -> Result<(), CallEnd> {
        self.send_before(message, false)
    }

    /// Sends a message, for which there must be room. `another`: one more follows at once, and
    /// both are to go out in one write.
    pub(in crate::rpc) fn send_before(&mut self, message: M, another: bool) -> Result<(), CallEnd> {
        let flags = WriteFlags::default().buffer_hint(another);
        let sink = self.sink.as_mut().ok_or(CallEnd::Left)?;
        Pin::new(sink).start_send((message, flags)).map_err(|_| CallEnd::Left)
    }

    /// Ends the call with OK, after its last message.
    pub(in crate::rpc) async fn close(&mut self) {
        let Some(mut sink) = self.sink.take() else { return };
        let closed = sink.close();
        if let Some(Ok(())) = self.messages.time_limit().within(self.stall, closed).await {
            self.metrics.set_code(RpcStatusCode::OK);
        }
    }
}

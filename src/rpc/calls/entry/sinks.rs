//! Where the answer of a call is sent, by the shape of the call.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;
use futures_util::{FutureExt, Sink, SinkExt};
use grpcio::{ClientStreamingSink, ClientStreamingSinkResult, DuplexSink, RpcStatus, WriteFlags};

use super::RequestMessages;
use crate::proto::Shaped;

/// Takes what the service answers. What it returns to wait for is small: a call has room for it
/// all the time, also while it waits in a queue.
pub(in crate::rpc) trait AnswerSink: Send + Sized + 'static {
    /// What it takes.
    type Message: Send + 'static;

    /// Ready once the caller has left. The call must not be used then any more.
    fn poll_left<Q: Shaped>(
        &mut self,
        messages: &mut RequestMessages<Q>,
        cx: &mut Context<'_>,
    ) -> Poll<()>;

    /// Sends the last message and ends the call with OK. True if the caller has received it.
    fn finish(self, message: Self::Message) -> impl Future<Output = bool> + Send + Unpin;

    /// Ends the call with this status.
    fn fail(self, status: RpcStatus) -> impl Future<Output = ()> + Send + Unpin;
}

/// Of a call with one answer. Headers, answer and status are one write, which is a fifth less
/// work than two, for both sides. In return gRPC does not report that the caller has left: it
/// is asked from time to time.
impl<M: Send + 'static> AnswerSink for ClientStreamingSink<M> {
    type Message = M;

    fn poll_left<Q: Shaped>(
        &mut self,
        messages: &mut RequestMessages<Q>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        messages.poll_left(cx)
    }

    fn finish(self, message: M) -> impl Future<Output = bool> + Send + Unpin {
        SingleEnd::of(self.success(message)).map(|sent| sent.is_ok())
    }

    fn fail(self, status: RpcStatus) -> impl Future<Output = ()> + Send + Unpin {
        // The caller may have left, and needs no error then.
        SingleEnd::of(ClientStreamingSink::fail(self, status)).map(drop)
    }
}

/// What ends a call with one answer.
///
/// Dropped before it has been sent, it ends the call, whose answer would stay in memory until
/// the caller leaves. gRPC ends a call that nobody holds any more; but grpcio keeps the waker of
/// who waits for this, and the waker holds the call.
struct SingleEnd {
    sending: ClientStreamingSinkResult,
    ended: bool,
}

impl SingleEnd {
    fn of(sending: ClientStreamingSinkResult) -> SingleEnd {
        SingleEnd { sending, ended: false }
    }
}

impl Future for SingleEnd {
    type Output = grpcio::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<grpcio::Result<()>> {
        let sent = Pin::new(&mut self.sending).poll(cx);
        self.ended = sent.is_ready();
        sent
    }
}

impl Drop for SingleEnd {
    fn drop(&mut self) {
        if !self.ended {
            // The waker that is kept is now this one, which holds nothing.
            let mut cx = Context::from_waker(noop_waker_ref());
            let _ = Pin::new(&mut self.sending).poll(&mut cx);
        }
    }
}

/// Of a call with a stream on either side.
impl<M: Send + 'static> AnswerSink for DuplexSink<M> {
    type Message = M;

    fn poll_left<Q: Shaped>(
        &mut self,
        _: &mut RequestMessages<Q>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // One that has failed once panics when it is polled again.
        match Pin::new(self).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn finish(mut self, message: M) -> impl Future<Output = bool> + Send + Unpin {
        let finished = async move {
            // They are two writes: of a stream grpcio sends the first message at once, whatever
            // hint it is given.
            let sent = self.send((message, WriteFlags::default())).await;
            sent.is_ok() && self.close().await.is_ok()
        };
        finished.boxed()
    }

    fn fail(self, status: RpcStatus) -> impl Future<Output = ()> + Send + Unpin {
        // The caller may have left, and needs no error then.
        DuplexSink::fail(self, status).map(drop)
    }
}

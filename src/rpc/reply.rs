//! One way to answer a call.
//!
//! Every unary method is bound as a server stream of one message, which is the
//! same on the wire: grpcio tells a unary sink nothing of a caller who leaves,
//! a streaming sink notices at once. So one future waits for the answer and for
//! the caller's leaving, whichever comes first.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::{Future, FutureExt, Sink, SinkExt};
use grpcio::{RpcContext, ServerStreamingSink, WriteFlags};

use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::grant::Undelivered;
use crate::pool::job::{Answer, Reply};
use crate::rpc::status::status;
use crate::threads;

/// Answers with what `work` promises. `work` runs on gRPC's thread and must not
/// block; a panic in it costs this call only.
pub(super) fn answer<R, M>(
    ctx: &RpcContext<'_>,
    sink: ServerStreamingSink<M>,
    caller: Arc<Caller>,
    work: impl FnOnce(&Arc<Caller>) -> Result<Answer<R>, Error>,
    convert: impl FnOnce(R) -> (M, Option<Undelivered>) + Send + 'static,
) where
    R: Send + 'static,
    M: Send + 'static,
{
    let promised = threads::survive(threads::GRPC, || work(&caller))
        .unwrap_or(Err(Error::Internal("a handler failed")));
    let promised = promised.unwrap_or_else(|error| {
        let (reply, answer) = Reply::new();
        reply.send(Err(error));
        answer
    });
    let delivery = deliver(sink, promised, caller, convert);
    spawn(ctx, delivery);
}

/// Runs a call's future to its end on gRPC's thread.
pub(super) fn spawn(ctx: &RpcContext<'_>, served: impl Future<Output = ()> + Send + 'static) {
    let served = AssertUnwindSafe(served).catch_unwind();
    ctx.spawn(async move {
        // A panic that reached gRPC's thread would end it for good.
        if served.await.is_err() {
            log::error!("event=panic thread={}", threads::GRPC);
        }
    });
}

/// Answers with what is known at once.
pub(super) fn answer_now<M: Send + 'static>(
    ctx: &RpcContext<'_>,
    sink: ServerStreamingSink<M>,
    work: impl FnOnce() -> Result<M, Error>,
) {
    let at_once = |_: &Arc<Caller>| {
        let (reply, answer) = Reply::new();
        reply.send(work());
        Ok(answer)
    };
    answer(ctx, sink, Caller::nobody(), at_once, |message| (message, None));
}

async fn deliver<R, M>(
    mut sink: ServerStreamingSink<M>,
    mut answer: Answer<R>,
    caller: Arc<Caller>,
    convert: impl FnOnce(R) -> (M, Option<Undelivered>),
) {
    let came = poll_fn(|cx| {
        if let Poll::Ready(answer) = Pin::new(&mut answer).poll(cx) {
            return Poll::Ready(Some(answer));
        }
        match Pin::new(&mut sink).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    });
    let came = came.await;
    let Some(came) = came else {
        // A sink that failed once must not be polled again: it is dropped here.
        drop(answer);
        caller.leave();
        return;
    };
    match came.unwrap_or(Err(Error::Internal("an answer was lost"))) {
        Ok(value) => {
            let (message, undelivered) = convert(value);
            // The hint puts message and status into one write.
            let flags = WriteFlags::default().buffer_hint(true);
            let sent = sink.send((message, flags)).await.is_ok() && sink.close().await.is_ok();
            match undelivered {
                Some(undelivered) if sent => undelivered.delivered(),
                other => drop(other),
            }
        }
        Err(error) => {
            // The caller may have left; then nobody needs the error.
            let _ = sink.fail(status(&error)).await;
        }
    }
}

#[cfg(test)]
mod tests;

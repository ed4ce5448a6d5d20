//! SqlService.Session: a stream that is a lease.
//!
//! One future for each stream, never blocking: it drives the machine, which reads requests,
//! has one run at a time, and says what is to be sent. It runs on gRPC's thread, and between two
//! statements on the thread that has the answer to the first. Whatever way the stream ends,
//! dropping the machine ends the lease.

mod answers;
mod driven;
mod machine;
mod queue;
mod received;
mod running;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{self, Poll};

use grpcio::{DuplexSink, RequestStream, RpcContext};

use crate::core::budget::Held;
use crate::pool::context::Context;
use crate::pool::service::Service;
use crate::proto::sql::session_response::Kind;
use crate::proto::sql::{SessionRequest, SessionResponse};
use crate::proto::Raw;
use crate::rpc::calls::entry::{Call, CallEnd, Decoding, RequestMessages};
use answers::{BeingSent, Response, StreamStep};
use driven::{Driven, Threads};
use machine::SessionMachine;
use received::{Incoming, ReceivedRequest};

/// Serves one Session stream.
pub(in crate::rpc) fn serve(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<SessionRequest>>,
    sink: DuplexSink<SessionResponse>,
) {
    Call::serve(service, ctx, requests, sink, |call| {
        let session = SessionMachine::new(service, Arc::clone(&call.caller));
        Driven::new(|threads| run(session, call, threads))
    });
}

/// The message that is being decoded, between one look and the next.
struct Arriving {
    context: Arc<Context>,
    decoding: Option<Decoding<ReceivedRequest>>,
}

impl Arriving {
    fn of<'a>(&'a mut self, messages: &'a mut RequestMessages<SessionRequest>) -> Decoded<'a> {
        Decoded { arriving: self, messages }
    }
}

/// The client's messages, decoded.
struct Decoded<'a> {
    arriving: &'a mut Arriving,
    messages: &'a mut RequestMessages<SessionRequest>,
}

impl Incoming for Decoded<'_> {
    fn poll_next(
        &mut self,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<ReceivedRequest, CallEnd>>> {
        let context = Arc::clone(&self.arriving.context);
        let decoded = move |request| Ok(ReceivedRequest::of(request, &context.live().limits));
        self.messages.poll_next(cx, &mut self.arriving.decoding, decoded)
    }
}

async fn run(
    mut session: SessionMachine,
    mut call: Call<SessionRequest, DuplexSink<SessionResponse>>,
    threads: Threads,
) {
    // The memory of the message that is being sent.
    let mut unsent = Held::default();
    let mut arriving = Arriving { context: Arc::clone(session.context()), decoding: None };
    loop {
        let step = poll_fn(|cx| {
            let sending = match call.poll_room(cx, 1) {
                Poll::Ready(Ok(())) => {
                    unsent = Held::default();
                    BeingSent::Nothing
                }
                Poll::Ready(Err(ended)) => return Poll::Ready(StreamStep::End(ended)),
                Poll::Pending => BeingSent::Bytes(unsent.bytes()),
            };
            session.poll_step(cx, &mut arriving.of(&mut call.messages), sending)
        });
        let message = |kind| SessionResponse { kind: Some(kind), ..SessionResponse::default() };
        let sent = match step.await {
            StreamStep::Send(Response { kind, held }, follows) => {
                unsent = held;
                call.send_before(message(kind), follows)
            }
            StreamStep::PassOn => {
                threads.pass_on().await;
                Ok(())
            }
            StreamStep::Finish(closed) => {
                drop(session);
                // The client may have left, and needs no response then.
                call.finish(message(Kind::Closed(closed))).await;
                return;
            }
            StreamStep::End(ended) => Err(ended),
        };
        if let Err(ended) = sent {
            drop(session);
            return call.end(ended).await;
        }
    }
}

//! SqlService.CopyIn: data for COPY FROM STDIN as it comes.
//!
//! One future for each call, on gRPC's thread, never blocking: it reads the
//! client's messages and hands them to a worker through a bounded channel. While
//! that is full it reads no more, so that a slow PostgreSQL slows the client down.

mod intake;

use std::future::{poll_fn, Future};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{FutureExt, Sink, SinkExt, Stream};
use grpcio::{DuplexSink, RequestStream, RpcContext, WriteFlags};

use crate::error::{CancelCause, Error};
use crate::pool::caller::Caller;
use crate::pool::execute::{Executed, Flow, Task};
use crate::pool::job::Answer;
use crate::pool::service::Service;
use crate::proto::sql::copy_in_request::Kind;
use crate::proto::sql::{CopyInRequest, CopyInResponse, CopyInStart};
use crate::rpc::convert;
use crate::rpc::status::status;
use crate::threads;
use intake::Intake;

/// Serves one call.
pub(super) fn serve(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<CopyInRequest>,
    sink: DuplexSink<CopyInResponse>,
) {
    let caller = service.caller(&ctx.peer());
    let copy = Copy { service: service.clone(), caller, reading: true, running: None, wrong: None };
    let served = AssertUnwindSafe(run(copy, requests, sink)).catch_unwind();
    ctx.spawn(async move {
        // A panic that reached gRPC's thread would end it for good.
        if served.await.is_err() {
            log::error!("event=panic thread={}", threads::GRPC);
        }
    });
}

/// One call.
struct Copy {
    service: Service,
    caller: Arc<Caller>,
    /// False once nothing more is expected from the client.
    reading: bool,
    running: Option<Running>,
    /// What the client did against the rules, or has no room for; told once the COPY
    /// has ended.
    wrong: Option<Error>,
}

/// The COPY, once it was started.
struct Running {
    intake: Intake,
    answer: Answer<Executed>,
}

async fn run(
    mut copy: Copy,
    // Dropping it cancels the call, so that it outlives the sink's last word.
    mut requests: RequestStream<CopyInRequest>,
    mut sink: DuplexSink<CopyInResponse>,
) {
    let ended = poll_fn(|cx| {
        // A sink tells of a client who has left; after that it must not be polled
        // again.
        if let Poll::Ready(Err(_)) = Pin::new(&mut sink).poll_ready(cx) {
            return Poll::Ready(None);
        }
        copy.poll_end(cx, &mut requests).map(Some)
    });
    let Some(ended) = ended.await else {
        return copy.caller.leave();
    };
    match ended {
        Err(error) => {
            // The client may have left; then nobody needs the error.
            let _ = sink.fail(status(&error)).await;
        }
        Ok(executed) => {
            let (rows_affected, command_tag, session) = convert::sql::ending(executed);
            let session = Some(session).into();
            let response =
                CopyInResponse { rows_affected, command_tag, session, ..CopyInResponse::default() };
            // The hint puts message and status into one write.
            let flags = WriteFlags::default().buffer_hint(true);
            if sink.send((response, flags)).await.is_ok() {
                // As above.
                let _ = sink.close().await;
            }
        }
    }
}

impl Copy {
    /// Ready with the answer.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        requests: &mut RequestStream<CopyInRequest>,
    ) -> Poll<Result<Executed, Error>> {
        loop {
            if let Some(running) = &mut self.running {
                // It need not wait for the end of the data to fail.
                if let Poll::Ready(ended) = Pin::new(&mut running.answer).poll(cx) {
                    let ended = ended.unwrap_or(Err(Error::Internal("an answer was lost")));
                    return Poll::Ready(match self.wrong.take() {
                        Some(error) if ended.is_err() => Err(error),
                        _ => ended,
                    });
                }
                if !self.reading || running.intake.poll_room(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            match Pin::new(&mut *requests).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => {
                    if let Err(error) = self.read(read) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }

    /// Takes a message, or the end of them.
    ///
    /// # Errors
    /// If that is the end of the call.
    fn read(&mut self, read: Option<grpcio::Result<CopyInRequest>>) -> Result<(), Error> {
        let said = match read {
            Some(Ok(request)) => request.kind,
            // The client has left, or sends what is no message: the sink will tell.
            Some(Err(_)) => {
                self.reading = false;
                self.caller.leave();
                return Ok(());
            }
            None => {
                return self.end(CancelCause::Unfinished, "the stream ended without start");
            }
        };
        let wrong = match (said, &self.running) {
            (Some(Kind::Start(start)), None) => return self.start(start),
            (Some(Kind::Data(data)), Some(running)) => {
                if let Err(error) = running.intake.push(data) {
                    self.wrong = Some(error);
                    return self.end(CancelCause::Unfinished, "");
                }
                return Ok(());
            }
            (Some(Kind::Finish(_)), Some(running)) => {
                self.reading = false;
                running.intake.finish();
                return Ok(());
            }
            (None, _) => "each message must have one of start, data and finish",
            (Some(_), None) => "the first message must be start",
            (Some(Kind::Start(_)), Some(_)) => "start must be the first message, and only that",
        };
        self.wrong = self.running.is_some().then(|| Error::invalid("kind", wrong));
        self.end(CancelCause::Unfinished, wrong)
    }

    /// No more data comes, and the COPY is not finished.
    fn end(&mut self, cause: CancelCause, rule: &'static str) -> Result<(), Error> {
        self.reading = false;
        match &self.running {
            Some(running) => {
                running.intake.abort(cause);
                Ok(())
            }
            None => Err(Error::invalid("kind", rule)),
        }
    }

    fn start(&mut self, start: CopyInStart) -> Result<(), Error> {
        let limits = &self.service.context().config.limits;
        let (place, request) = convert::sql::copy_in(start, limits)?;
        let intake = Intake::default();
        let inlet = intake.inlet(limits.stall_timeout);
        let task = Task::new(request, Flow::CopyIn(Box::new(inlet)));
        let answer = self.service.execute(place, task, &self.caller);
        self.running = Some(Running { intake, answer });
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // A worker is not to wait for a call that is over.
        if let Some(running) = &self.running {
            running.intake.abort(CancelCause::Caller);
        }
    }
}

//! SqlService.CopyIn: data for COPY FROM STDIN as it arrives.
//!
//! One future for each call, on gRPC's thread, never blocking: it reads the
//! client's messages and hands them to a worker through a bounded channel. While
//! that is full it reads no more, so that a slow PostgreSQL slows the client down.

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use grpcio::{DuplexSink, RequestStream, RpcContext};

use crate::error::{CancelCause, RequestError};
use crate::pool::caller::Caller;
use crate::pool::requests::responder::PendingAnswer;
use crate::pool::service::Service;
use crate::pool::work::task::{Executed, Flow, Task};
use crate::proto::sql::copy_in_request::Kind;
use crate::proto::sql::{CopyInRequest, CopyInResponse, CopyInStart};
use crate::proto::Raw;
use crate::rpc::calls::entry::{Call, CallEnd, Decoding, RequestMessages};
use crate::rpc::convert;
use crate::rpc::convert::results::Ending;
use crate::rpc::streams::intake::Intake;

/// Serves one CopyIn call.
pub(in crate::rpc) fn serve(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<CopyInRequest>>,
    sink: DuplexSink<CopyInResponse>,
) {
    let service = service.clone();
    Call::serve(&service.clone(), ctx, requests, sink, |call| run(service, call));
}

/// The state of one call.
struct CopyInCall {
    service: Service,
    caller: Arc<Caller>,
    /// False once nothing more is expected from the client.
    reading: bool,
    /// A message that is being decoded.
    arriving: Option<Decoding<CopyInRequest>>,
    running: Option<RunningCopy>,
    /// Which rule the client broke, or that there is no memory for its data; returned
    /// once the COPY has ended.
    wrong: Option<RequestError>,
}

/// The COPY, once it was started.
struct RunningCopy {
    intake: Intake,
    answer: PendingAnswer<Executed>,
}

async fn run(service: Service, mut call: Call<CopyInRequest, DuplexSink<CopyInResponse>>) {
    let caller = Arc::clone(&call.caller);
    let mut copy =
        CopyInCall { service, caller, reading: true, arriving: None, running: None, wrong: None };
    let ended = poll_fn(|cx| match call.poll_left(cx) {
        Poll::Ready(()) => Poll::Ready(Err(CallEnd::Left)),
        Poll::Pending => copy.poll_end(cx, &mut call.messages),
    });
    match ended.await {
        Ok(executed) => {
            let Ending { rows_affected, command_tag, session } = convert::results::ending(executed);
            let response =
                CopyInResponse { rows_affected, command_tag, session, ..CopyInResponse::default() };
            // The client may have left; the rows are stored all the same.
            call.finish(response).await;
        }
        Err(ended) => call.end(ended).await,
    }
}

impl CopyInCall {
    /// Ready when the COPY has ended.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        messages: &mut RequestMessages<CopyInRequest>,
    ) -> Poll<Result<Executed, CallEnd>> {
        loop {
            if let Some(running) = &mut self.running {
                // It need not wait for the end of the data to fail.
                if let Poll::Ready(ended) = Pin::new(&mut running.answer).poll(cx) {
                    let ended = ended.unwrap_or(Err(RequestError::Internal("an answer was lost")));
                    return Poll::Ready(match self.wrong.take() {
                        Some(error) if ended.is_err() => Err(error.into()),
                        _ => ended.map_err(CallEnd::from),
                    });
                }
                if !self.reading || running.intake.poll_room(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            match messages.poll_next(cx, &mut self.arriving, Ok) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => {
                    if let Err(ended) = self.read(read) {
                        return Poll::Ready(Err(ended));
                    }
                }
            }
        }
    }

    /// Takes a message, or the end of them.
    ///
    /// # Errors
    /// If that is the end of the call.
    fn read(&mut self, read: Option<Result<CopyInRequest, CallEnd>>) -> Result<(), CallEnd> {
        let said = match read {
            Some(Ok(request)) => request.kind,
            Some(Err(CallEnd::Failed(error))) => return self.break_off(error),
            Some(Err(ended)) => return Err(ended),
            None if self.running.is_some() => {
                self.end(None);
                return Ok(());
            }
            None => {
                return Err(RequestError::invalid("kind", "the stream ended without start").into())
            }
        };
        let wrong = match (said, &self.running) {
            (Some(Kind::Start(start)), None) => return Ok(self.start(start)?),
            (Some(Kind::Data(data)), Some(running)) => {
                if let Err(error) = running.intake.push(data) {
                    self.end(Some(error));
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
        self.break_off(RequestError::invalid("kind", wrong))
    }

    /// The client has broken a rule.
    fn break_off(&mut self, error: RequestError) -> Result<(), CallEnd> {
        if self.running.is_none() {
            return Err(error.into());
        }
        self.end(Some(error));
        Ok(())
    }

    /// Aborts the COPY: no more data is read.
    fn end(&mut self, wrong: Option<RequestError>) {
        self.reading = false;
        self.wrong = wrong;
        if let Some(running) = &self.running {
            running.intake.abort(CancelCause::Unfinished);
        }
    }

    fn start(&mut self, start: CopyInStart) -> Result<(), RequestError> {
        let live = self.service.context().live();
        let limits = &live.limits;
        let (place, request) =
            convert::requests::copy_in(start, limits, &self.service.dsns(&self.caller))?;
        let intake = Intake::default();
        let reader = intake.reader(limits.stall_timeout);
        let task = Task::new(request, Flow::CopyIn(Box::new(reader)));
        let answer = self.service.execute(place, task, &self.caller);
        self.running = Some(RunningCopy { intake, answer });
        Ok(())
    }
}

impl Drop for CopyInCall {
    fn drop(&mut self) {
        // The worker must not wait for a call that has ended.
        if let Some(running) = &self.running {
            running.intake.abort(CancelCause::Caller);
        }
    }
}

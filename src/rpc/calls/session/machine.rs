//! The state of one Session stream: its queue of requests, its lease, and the next step.
//!
//! It holds all state of the stream and needs no lock. It does no network I/O itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::context;
use crate::pool::memory::Use;
use crate::pool::requests::responder::PendingAnswer;
use crate::pool::service::{RunOn, Service};
use crate::pool::stream::StreamLease;
use crate::pool::work::task::{Request, Task};
use crate::proto::connection_pool::ConnectionRequest;
use crate::proto::sql::session_request::Kind;
use crate::proto::sql::session_response::Kind as Reply;
use crate::proto::sql::{SessionClosed, SessionOpened};
use crate::rpc::calls::session::answers::{BeingSent, Response, Responses, StreamStep};
use crate::rpc::calls::session::queue::{Queued, RequestQueue};
use crate::rpc::calls::session::received::{Incoming, ReceivedRequest};
use crate::rpc::calls::session::running::{response, RunningRequest, LOST};
use crate::rpc::convert;
use crate::threads::here;

const FIRST: &str = "the first message must be open";

/// The state of one stream.
pub(super) struct SessionMachine {
    service: Service,
    caller: Arc<Caller>,
    /// False once nothing more is expected from the client.
    reading: bool,
    phase: StreamPhase,
    queue: RequestQueue,
    running: Option<RunningRequest>,
    responses: Responses,
    /// `close` was read: the stream ends after the requests that wait.
    closing: bool,
}

/// The phase of the lease.
enum StreamPhase {
    /// Not requested yet. Exit: `open` leads to `Opening`.
    Unopened,
    /// Requested. Exits: a grant leads to `Open`; a failure ends the stream.
    Opening(Arc<Caller>, PendingAnswer<StreamLease>, TenantId),
    /// Granted. Exit: the end of the stream.
    Open(Box<StreamLease>),
}

impl SessionMachine {
    /// A stream of this caller, of which nothing was read yet.
    pub(super) fn new(service: &Service, caller: Arc<Caller>) -> SessionMachine {
        SessionMachine {
            service: service.clone(),
            caller,
            reading: true,
            phase: StreamPhase::Unopened,
            queue: RequestQueue::default(),
            running: None,
            responses: Responses::default(),
            closing: false,
        }
    }

    /// The context of its service.
    pub(super) fn context(&self) -> &Arc<context::Context> {
        self.service.context()
    }

    /// Ready with the next step. While a response is being sent it reads requests, and runs
    /// statements whose responses can wait.
    pub(super) fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut impl Incoming,
        sending: BeingSent,
    ) -> Poll<StreamStep> {
        loop {
            if let Poll::Ready(step) = self.poll_read(cx, incoming) {
                return Poll::Ready(step);
            }
            // There may be room for what was not read before.
            if self.advance(cx, sending) {
                continue;
            }
            if matches!(sending, BeingSent::Bytes(_)) {
                return Poll::Pending;
            }
            if self.running.is_some() && !self.responses.is_empty() && here::is_ending() {
                return Poll::Ready(StreamStep::PassOn);
            }
            if let Some((response, follows)) = self.responses.pop() {
                return Poll::Ready(StreamStep::Send(response, follows));
            }
            match &mut self.phase {
                StreamPhase::Unopened => return Poll::Pending,
                StreamPhase::Opening(_, answer, _) => {
                    let opened = ready!(Pin::new(answer).poll(cx));
                    return Poll::Ready(self.opened(opened.unwrap_or(Err(LOST))));
                }
                StreamPhase::Open(_) if self.running.is_some() => return Poll::Pending,
                StreamPhase::Open(lease) => {
                    let ended = lease.poll_ended(cx).map(RequestError::LeaseEnded);
                    let ended = ended.map(|error| StreamStep::End(error.into()));
                    return if ended.is_pending() && self.closing { self.close() } else { ended };
                }
            }
        }
    }

    /// Takes the response of what ran, and begins the next request if its response could wait.
    /// True if one has left the queue.
    fn advance(&mut self, cx: &mut Context<'_>, sending: BeingSent) -> bool {
        if let Some(running) = &mut self.running {
            let Poll::Ready(response) = running.poll(cx, &self.service) else { return false };
            self.running = None;
            self.responses.push(response);
        }
        let StreamPhase::Open(lease) = &mut self.phase else { return false };
        // What PostgreSQL has already has its turn, and its time limit.
        let may_begin = self.responses.has_room(sending) || self.queue.is_sent();
        if !may_begin || lease.poll_ended(cx).is_ready() {
            return false;
        }
        let Some(next) = self.queue.pop() else { return false };
        if let Some(response) = self.start(next) {
            self.responses.push(response);
        }
        true
    }

    /// Reads requests while there is room for them.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut impl Incoming,
    ) -> Poll<StreamStep> {
        while self.reading && self.has_room() {
            let received = match ready!(incoming.poll_next(cx)) {
                Some(Ok(received)) => received,
                Some(Err(ended)) => return Poll::Ready(StreamStep::End(ended)),
                None => {
                    let rule = "the stream ended without close, which has ended its lease";
                    return Poll::Ready(StreamStep::End(
                        RequestError::invalid("close", rule).into(),
                    ));
                }
            };
            if let Err(error) = self.take(received) {
                return Poll::Ready(StreamStep::End(error.into()));
            }
        }
        Poll::Pending
    }

    fn has_room(&self) -> bool {
        match self.phase {
            StreamPhase::Unopened => true,
            // Many streams may wait for a lease, so what they have sent already is
            // left where it costs their clients.
            StreamPhase::Opening(..) => self.queue.is_empty(),
            StreamPhase::Open(_) => self.queue.has_room(),
        }
    }

    /// # Errors
    /// If the request does not belong here, or there is no memory for it; that ends
    /// the stream.
    fn take(&mut self, received: ReceivedRequest) -> Result<(), RequestError> {
        let rule = |rule: &str| Err(RequestError::invalid("kind", rule));
        let request = match (received, &self.phase) {
            (ReceivedRequest::Execute(..), StreamPhase::Unopened) => return rule(FIRST),
            (ReceivedRequest::Execute(id, request), _) => return self.enqueue(id, request),
            (ReceivedRequest::Other(request), _) => request,
        };
        match (request, &self.phase) {
            (None | Some(Kind::Execute(_)), _) => {
                rule("kind is required: open, execute, cancel or close")
            }
            (Some(Kind::Open(open)), StreamPhase::Unopened) => self.open(open),
            (Some(Kind::Open(_)), _) => rule("open must be the first message, and only that"),
            (Some(_), StreamPhase::Unopened) => rule(FIRST),
            (Some(Kind::Cancel(cancel)), _) => {
                let running = self.running.iter().filter(|running| running.id == cancel.id);
                let running = running.map(|running| &running.caller);
                let callers = running.chain(self.queue.callers(cancel.id));
                callers.for_each(|caller| caller.leave());
                Ok(())
            }
            (Some(Kind::Close(_)), _) => {
                self.closing = true;
                self.reading = false;
                Ok(())
            }
        }
    }

    fn open(&mut self, open: ConnectionRequest) -> Result<(), RequestError> {
        if !open.request_id.is_empty() {
            let rule = "request_id must be empty: a stream cannot be repeated";
            return Err(RequestError::invalid("request_id", rule));
        }
        let caller = self.caller.again();
        let (live, dsns) = (self.service.context().live(), self.service.dsns(&caller));
        let asked = convert::lease::acquire(open, &live.limits.clocks, &dsns, &caller)?;
        let tenant = asked.target.tenant.clone();
        let answer = self.service.attach(&asked.target, asked.ask, asked.wait, &caller);
        self.phase = StreamPhase::Opening(caller, answer, tenant);
        Ok(())
    }

    fn opened(&mut self, opened: Result<StreamLease, RequestError>) -> StreamStep {
        let lease = match opened {
            Ok(lease) => lease,
            Err(error) => return StreamStep::End(error.into()),
        };
        let opened = SessionOpened {
            connection_id: lease.id().reveal().to_owned(),
            lease: Some(convert::lease::lease(lease.view())).into(),
            ..SessionOpened::default()
        };
        self.phase = StreamPhase::Open(Box::new(lease));
        StreamStep::Send(Reply::Opened(opened).into(), false)
    }

    /// # Errors
    /// If its caller may not go on, or there is no memory for it. It is not skipped: what comes
    /// after it may rely on it.
    fn enqueue(
        &mut self,
        id: u64,
        request: Result<Request, RequestError>,
    ) -> Result<(), RequestError> {
        let context = self.service.context();
        let tenant = match &self.phase {
            StreamPhase::Unopened => return Ok(()),
            StreamPhase::Opening(_, _, tenant) => tenant,
            StreamPhase::Open(lease) => lease.account().id(),
        };
        self.service.recheck(tenant, &self.caller)?;
        let caller = self.caller.again();
        let room = match &self.phase {
            StreamPhase::Open(lease) => lease.account().room(Use::ReadAhead, caller.peer()),
            _ => context.memory.room(Use::ReadAhead, &[caller.peer().memory()], tenant),
        };
        self.queue.push(id, request, caller, &room)
    }

    /// Hands a request to a worker. Returns the response to one that breaks a rule.
    fn start(&mut self, next: Queued) -> Option<Response> {
        let Queued { id, request, caller, held, behind, .. } = next;
        let StreamPhase::Open(lease) = &self.phase else { return None };
        let request = match request {
            Ok(request) => request,
            Err(error) => return Some(response(&self.service, id, Err(error))),
        };
        let place = RunOn::Stream(lease.id().clone());
        let task = Task { counted: Some(held), behind, ..Task::from(request) };
        let answer = self.service.execute(place, task, &caller);
        self.running = Some(RunningRequest { id, caller, answer });
        None
    }

    /// Ends the lease: all requests were answered.
    fn close(&mut self) -> Poll<StreamStep> {
        let phase = std::mem::replace(&mut self.phase, StreamPhase::Unopened);
        let StreamPhase::Open(lease) = phase else { return Poll::Pending };
        Poll::Ready(match lease.close() {
            Ok(release) => {
                let (outcome, _) = convert::lease::outcome(release);
                StreamStep::Finish(SessionClosed {
                    outcome: outcome.into(),
                    ..SessionClosed::default()
                })
            }
            Err(error) => StreamStep::End(error.into()),
        })
    }
}

impl Drop for SessionMachine {
    fn drop(&mut self) {
        // A request that still waits for its lease leaves the queue. A lease that is
        // there ends as `StreamLease` is dropped, which cancels what runs on it.
        if let StreamPhase::Opening(caller, ..) = &self.phase {
            caller.leave();
        }
    }
}

#[cfg(test)]
mod tests;

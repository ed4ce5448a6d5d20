//! SqlService.Session: a stream that is a lease.
//!
//! One future for each stream, on gRPC's thread, never blocking: it reads
//! requests, hands one at a time to a worker, and sends the answers. All that is
//! known of the stream is in it, so that it needs no lock, and whatever way it
//! ends, dropping it ends the lease.
//!
//! A client may send requests ahead. They wait here, up to [`QUEUED`] of them; the rest
//! waits where it costs its client. PostgreSQL gets the next one when the one before it
//! is answered: its cancel names a connection and not a statement, so that one meant for
//! a request could hit the next if PostgreSQL had that in its buffer already. For the same
//! reason a `cancel` of one that waits takes effect here, at its turn.

use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use grpcio::{DuplexSink, RequestStream, RpcContext};

use crate::config::Limits;
use crate::core::budget::Held;
use crate::core::ids::TenantId;
use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::work::task::{Executed, Request, Task};
use crate::pool::requests::reply::Answer;
use crate::pool::memory::Use;
use crate::pool::service::{Place, Service};
use crate::pool::stream::Attached;
use crate::proto::connection_pool::ConnectionRequest;
use crate::proto::sql::session_executed::Outcome;
use crate::proto::sql::session_request::Kind as Asked;
use crate::proto::sql::session_response::Kind as Said;
use crate::proto::sql::{
    SessionClosed, SessionExecuted, SessionOpened, SessionRequest, SessionResponse,
};
use crate::proto::Raw;
use crate::rpc::calls::entry::{Call, Ended, Messages, Work};
use crate::rpc::convert;
use crate::rpc::convert::status::in_message;

/// Requests that may wait; while so many do, no more are read.
const QUEUED: usize = 64;
/// And so many bytes of them.
const QUEUED_BYTES: usize = 4 << 20;
/// What one takes that breaks a rule: only the rule is kept.
const REFUSED_BYTES: usize = 1 << 10;

const FIRST: &str = "the first message must be open";

/// Serves one stream.
pub(in crate::rpc) fn serve(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<SessionRequest>>,
    sink: DuplexSink<SessionResponse>,
) {
    let session = Session {
        service: service.clone(),
        peer: ctx.peer(),
        reading: true,
        arriving: None,
        phase: Phase::Unopened,
        queue: VecDeque::new(),
        queued_bytes: 0,
        running: None,
        closing: false,
    };
    Call::serve(service, ctx, requests, sink, |call| run(session, call));
}

/// One stream.
struct Session {
    service: Service,
    peer: String,
    /// False once nothing more is expected from the client.
    reading: bool,
    /// A message that is being decoded.
    arriving: Option<Work<Came>>,
    phase: Phase,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    running: Option<Running>,
    /// `close` was read.
    closing: bool,
}

/// Where the lease is.
enum Phase {
    /// Not asked for yet. Exit: `open` to `Opening`.
    Unopened,
    /// Waited for. Exits: to `Open`, or the end of the stream.
    Opening(Arc<Caller>, Answer<Attached>, TenantId),
    /// There. Exit: the end of the stream.
    Open(Box<Attached>),
}

/// A message that has come.
enum Came {
    /// Statements, with their id.
    Execute(u64, Result<Request, Error>),
    /// Anything else, or nothing.
    Other(Option<Asked>),
}

impl Came {
    fn of(request: SessionRequest, limits: &Limits) -> Came {
        match request.kind {
            Some(Asked::Execute(execute)) => {
                Came::Execute(execute.id, convert::requests::session_execute(execute, limits))
            }
            other => Came::Other(other),
        }
    }
}

/// A request that waits for those before it.
struct Queued {
    id: u64,
    bytes: usize,
    /// Its memory; nothing, if there was no room for it.
    held: Held,
    request: Result<Request, Error>,
    caller: Arc<Caller>,
}

/// The request that a worker has.
struct Running {
    id: u64,
    caller: Arc<Caller>,
    answer: Answer<Executed>,
}

/// What is to be done next for the stream.
enum Step {
    /// Send this, which takes so much memory.
    Say(Said, Held),
    /// Send this, and end well.
    Finish(SessionClosed),
    /// End with this; the client may have left, or broken the stream off.
    End(Ended),
}

async fn run(mut session: Session, mut call: Call<SessionRequest, SessionResponse>) {
    // The memory of what the client has not taken yet.
    let mut unsent = Held::default();
    loop {
        let step = poll_fn(|cx| match call.poll_room(cx, 1) {
            Poll::Ready(Ok(())) => {
                unsent = Held::default();
                session.poll_step(cx, &mut call.messages, true)
            }
            Poll::Ready(Err(ended)) => Poll::Ready(Step::End(ended)),
            Poll::Pending => session.poll_step(cx, &mut call.messages, false),
        });
        let message = |kind| SessionResponse { kind: Some(kind), ..SessionResponse::default() };
        let sent = match step.await {
            Step::Say(said, held) => {
                unsent = held;
                call.send(message(said))
            }
            Step::Finish(closed) => {
                drop(session);
                // The client may have left; then nobody needs the word.
                call.finish(message(Said::Closed(closed))).await;
                return;
            }
            Step::End(ended) => Err(ended),
        };
        if let Err(ended) = sent {
            drop(session);
            return call.end(ended).await;
        }
    }
}

impl Session {
    /// What comes next. Without `room` for an answer, it goes on only with what
    /// needs none.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        messages: &mut Messages<SessionRequest>,
        room: bool,
    ) -> Poll<Step> {
        loop {
            if let Poll::Ready(step) = self.poll_read(cx, messages) {
                return Poll::Ready(step);
            }
            if !room {
                return Poll::Pending;
            }
            match &mut self.phase {
                Phase::Unopened => return Poll::Pending,
                Phase::Opening(_, answer, _) => {
                    let opened = ready!(Pin::new(answer).poll(cx));
                    return Poll::Ready(self.opened(opened.unwrap_or(Err(LOST))));
                }
                Phase::Open(lease) => {
                    if let Some(running) = &mut self.running {
                        let answer = ready!(Pin::new(&mut running.answer).poll(cx));
                        let answer = answer.unwrap_or(Err(LOST));
                        let (said, held) = executed(&self.service, running.id, answer);
                        self.running = None;
                        return Poll::Ready(Step::Say(said, held));
                    }
                    if let Poll::Ready(tombstone) = lease.poll_ended(cx) {
                        return Poll::Ready(Step::End(Error::LeaseEnded(tombstone).into()));
                    }
                }
            }
            let Some(next) = self.queue.pop_front() else {
                return if self.closing { self.close() } else { Poll::Pending };
            };
            self.queued_bytes -= next.bytes;
            if let Some((said, held)) = self.start(next) {
                return Poll::Ready(Step::Say(said, held));
            }
        }
    }

    /// Reads requests as long as there is room for them.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        messages: &mut Messages<SessionRequest>,
    ) -> Poll<Step> {
        while self.reading && self.has_room() {
            let context = Arc::clone(self.service.context());
            let decoded = move |request| Ok(Came::of(request, &context.config.limits));
            let came = match ready!(messages.poll_next(cx, &mut self.arriving, decoded)) {
                Some(Ok(came)) => came,
                Some(Err(ended)) => return Poll::Ready(Step::End(ended)),
                None => {
                    let rule = "the stream ended without close, which has ended its lease";
                    return Poll::Ready(Step::End(Error::invalid("close", rule).into()));
                }
            };
            if let Err(error) = self.take(came) {
                return Poll::Ready(Step::End(error.into()));
            }
        }
        Poll::Pending
    }

    fn has_room(&self) -> bool {
        match self.phase {
            Phase::Unopened => true,
            // Many streams may wait for a lease, so what they have sent already is
            // left where it costs their clients.
            Phase::Opening(..) => self.queue.is_empty(),
            Phase::Open(_) => {
                let counted = self.queue.back().is_none_or(|last| last.held.bytes() > 0);
                counted && self.queue.len() < QUEUED && self.queued_bytes < QUEUED_BYTES
            }
        }
    }

    /// # Errors
    /// If the request does not belong here, or there is no memory for it; that ends
    /// the stream.
    fn take(&mut self, came: Came) -> Result<(), Error> {
        let rule = |rule: &str| Err(Error::invalid("kind", rule));
        let said = match (came, &self.phase) {
            (Came::Execute(..), Phase::Unopened) => return rule(FIRST),
            (Came::Execute(id, request), _) => return self.enqueue(id, request),
            (Came::Other(said), _) => said,
        };
        match (said, &self.phase) {
            (None | Some(Asked::Execute(_)), _) => {
                rule("kind is required: open, execute, cancel or close")
            }
            (Some(Asked::Open(open)), Phase::Unopened) => self.open(open),
            (Some(Asked::Open(_)), _) => rule("open must be the first message, and only that"),
            (Some(_), Phase::Unopened) => rule(FIRST),
            (Some(Asked::Cancel(cancel)), _) => {
                let running = self.running.iter().map(|running| (running.id, &running.caller));
                let queued = self.queue.iter().map(|queued| (queued.id, &queued.caller));
                let callers = running.chain(queued).filter(|(id, _)| *id == cancel.id);
                callers.for_each(|(_, caller)| caller.leave());
                Ok(())
            }
            (Some(Asked::Close(_)), _) => {
                self.closing = true;
                self.reading = false;
                Ok(())
            }
        }
    }

    fn open(&mut self, open: ConnectionRequest) -> Result<(), Error> {
        if !open.request_id.is_empty() {
            let rule = "request_id must be empty: a stream cannot be repeated";
            return Err(Error::invalid("request_id", rule));
        }
        let caller = self.service.caller(&self.peer);
        let asked = convert::lease::acquire(open, caller.peer())?;
        let tenant = asked.target.tenant.clone();
        let answer = self.service.attach(&asked.target, asked.ask, asked.wait, &caller);
        self.phase = Phase::Opening(caller, answer, tenant);
        Ok(())
    }

    fn opened(&mut self, opened: Result<Attached, Error>) -> Step {
        let lease = match opened {
            Ok(lease) => lease,
            Err(error) => return Step::End(error.into()),
        };
        let said = SessionOpened {
            connection_id: lease.id().reveal().to_owned(),
            lease: Some(convert::lease::lease(lease.view())).into(),
            ..SessionOpened::default()
        };
        self.phase = Phase::Open(Box::new(lease));
        Step::Say(Said::Opened(said), Held::default())
    }

    /// # Errors
    /// If there is no memory for it. It is not skipped: what comes after it may rely
    /// on it.
    fn enqueue(&mut self, id: u64, request: Result<Request, Error>) -> Result<(), Error> {
        let context = self.service.context();
        let bytes = request.as_ref().map_or(REFUSED_BYTES, Request::memory);
        let caller = self.service.caller(&self.peer);
        let room = match &self.phase {
            Phase::Unopened => return Ok(()),
            Phase::Opening(_, _, tenant) => {
                context.memory.room(Use::ReadAhead, &[caller.peer().memory()], tenant)
            }
            Phase::Open(lease) => lease.tenant().room(Use::ReadAhead, caller.peer()),
        };
        let held = room.take(bytes)?;
        self.queued_bytes += bytes;
        self.queue.push_back(Queued { id, bytes, held, request, caller });
        Ok(())
    }

    /// Hands a request to a worker. Some: it is answered already.
    fn start(&mut self, next: Queued) -> Option<(Said, Held)> {
        let Queued { id, request, caller, held, .. } = next;
        let Phase::Open(lease) = &self.phase else { return None };
        let request = match request {
            Ok(request) => request,
            Err(error) => return Some(executed(&self.service, id, Err(error))),
        };
        let place = Place::Stream(lease.id().clone());
        let task = Task { counted: Some(held), ..Task::from(request) };
        let answer = self.service.execute(place, task, &caller);
        self.running = Some(Running { id, caller, answer });
        None
    }

    /// All is answered, and the lease ends.
    fn close(&mut self) -> Poll<Step> {
        let phase = std::mem::replace(&mut self.phase, Phase::Unopened);
        let Phase::Open(lease) = phase else { return Poll::Pending };
        Poll::Ready(match lease.close() {
            Ok(release) => {
                let (outcome, _) = convert::lease::outcome(release);
                Step::Finish(SessionClosed { outcome: outcome.into(), ..SessionClosed::default() })
            }
            Err(error) => Step::End(error.into()),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A lease that is still waited for is waited for no longer; one that is
        // there ends as `Attached` is dropped, which cancels what runs on it.
        if let Phase::Opening(caller, ..) = &self.phase {
            caller.leave();
        }
    }
}

/// A worker was lost, or a reply; both answer for themselves, so this is not seen.
const LOST: Error = Error::Internal("an answer was lost");

fn executed(service: &Service, id: u64, answer: Result<Executed, Error>) -> (Said, Held) {
    let (outcome, held) = match answer {
        Ok(mut executed) => {
            let held = std::mem::take(&mut executed.held);
            (Outcome::Response(convert::results::executed(executed)), held)
        }
        Err(error) => {
            service.context().tools.metrics.request_failed(error.as_str());
            (Outcome::Error(in_message(&error)), Held::default())
        }
    };
    let said = SessionExecuted { id, outcome: Some(outcome), ..SessionExecuted::default() };
    (Said::Executed(said), held)
}

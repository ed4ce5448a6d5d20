//! One Session stream: what was read of it, where its lease is, and what comes next.
//!
//! All that is known of the stream is in it, so that it needs no lock; it knows nothing of
//! the network.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use crate::core::budget::Held;
use crate::core::ids::TenantId;
use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::context;
use crate::pool::memory::Use;
use crate::pool::requests::reply::Answer;
use crate::pool::service::{Place, Service};
use crate::pool::stream::Attached;
use crate::pool::work::task::{Executed, Request, Task};
use crate::proto::connection_pool::ConnectionRequest;
use crate::proto::sql::session_executed::Outcome;
use crate::proto::sql::session_request::Kind;
use crate::proto::sql::session_response::Kind as Reply;
use crate::proto::sql::{SessionClosed, SessionExecuted, SessionOpened};
use crate::rpc::calls::entry::Ended;
use crate::rpc::calls::session::queue::{Queued, RequestQueue};
use crate::rpc::calls::session::received::{Incoming, Received};
use crate::rpc::convert;
use crate::rpc::convert::status::as_message;

const FIRST: &str = "the first message must be open";

/// One stream.
pub(super) struct Session {
    service: Service,
    peer: String,
    /// False once nothing more is expected from the client.
    reading: bool,
    phase: Phase,
    queue: RequestQueue,
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

/// The request that a worker has.
struct Running {
    id: u64,
    caller: Arc<Caller>,
    answer: Answer<Executed>,
}

/// What is to be done next for the stream.
pub(super) enum Step {
    /// Send this, which takes so much memory.
    Send(Reply, Held),
    /// Send this, and end well.
    Finish(SessionClosed),
    /// End with this; the client may have left, or broken the stream off.
    End(Ended),
}

impl Session {
    /// A stream on this connection, of which nothing was read yet.
    pub(super) fn new(service: &Service, peer: String) -> Session {
        Session {
            service: service.clone(),
            peer,
            reading: true,
            phase: Phase::Unopened,
            queue: RequestQueue::default(),
            running: None,
            closing: false,
        }
    }

    /// What its service shares.
    pub(super) fn context(&self) -> &Arc<context::Context> {
        self.service.context()
    }

    /// What comes next. Without `room` for an answer, it goes on only with what
    /// needs none.
    pub(super) fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut impl Incoming,
        room: bool,
    ) -> Poll<Step> {
        loop {
            if let Poll::Ready(step) = self.poll_read(cx, incoming) {
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
                        let (reply, held) = executed(&self.service, running.id, answer);
                        self.running = None;
                        return Poll::Ready(Step::Send(reply, held));
                    }
                    if let Poll::Ready(tombstone) = lease.poll_ended(cx) {
                        return Poll::Ready(Step::End(Error::LeaseEnded(tombstone).into()));
                    }
                }
            }
            let Some(next) = self.queue.pop() else {
                return if self.closing { self.close() } else { Poll::Pending };
            };
            if let Some((reply, held)) = self.start(next) {
                return Poll::Ready(Step::Send(reply, held));
            }
        }
    }

    /// Reads requests as long as there is room for them.
    fn poll_read(&mut self, cx: &mut Context<'_>, incoming: &mut impl Incoming) -> Poll<Step> {
        while self.reading && self.has_room() {
            let received = match ready!(incoming.poll_next(cx)) {
                Some(Ok(received)) => received,
                Some(Err(ended)) => return Poll::Ready(Step::End(ended)),
                None => {
                    let rule = "the stream ended without close, which has ended its lease";
                    return Poll::Ready(Step::End(Error::invalid("close", rule).into()));
                }
            };
            if let Err(error) = self.take(received) {
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
            Phase::Open(_) => self.queue.has_room(),
        }
    }

    /// # Errors
    /// If the request does not belong here, or there is no memory for it; that ends
    /// the stream.
    fn take(&mut self, received: Received) -> Result<(), Error> {
        let rule = |rule: &str| Err(Error::invalid("kind", rule));
        let request = match (received, &self.phase) {
            (Received::Execute(..), Phase::Unopened) => return rule(FIRST),
            (Received::Execute(id, request), _) => return self.enqueue(id, request),
            (Received::Other(request), _) => request,
        };
        match (request, &self.phase) {
            (None | Some(Kind::Execute(_)), _) => {
                rule("kind is required: open, execute, cancel or close")
            }
            (Some(Kind::Open(open)), Phase::Unopened) => self.open(open),
            (Some(Kind::Open(_)), _) => rule("open must be the first message, and only that"),
            (Some(_), Phase::Unopened) => rule(FIRST),
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
        let opened = SessionOpened {
            connection_id: lease.id().reveal().to_owned(),
            lease: Some(convert::lease::lease(lease.view())).into(),
            ..SessionOpened::default()
        };
        self.phase = Phase::Open(Box::new(lease));
        Step::Send(Reply::Opened(opened), Held::default())
    }

    /// # Errors
    /// If there is no memory for it. It is not skipped: what comes after it may rely
    /// on it.
    fn enqueue(&mut self, id: u64, request: Result<Request, Error>) -> Result<(), Error> {
        let context = self.service.context();
        let caller = self.service.caller(&self.peer);
        let room = match &self.phase {
            Phase::Unopened => return Ok(()),
            Phase::Opening(_, _, tenant) => {
                context.memory.room(Use::ReadAhead, &[caller.peer().memory()], tenant)
            }
            Phase::Open(lease) => lease.tenant().room(Use::ReadAhead, caller.peer()),
        };
        self.queue.push(id, request, caller, &room)
    }

    /// Hands a request to a worker. Some: it is answered already.
    fn start(&mut self, next: Queued) -> Option<(Reply, Held)> {
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

    /// Ends the lease: all requests were answered.
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
        // A request that still waits for its lease leaves the queue. A lease that is
        // there ends as `Attached` is dropped, which cancels what runs on it.
        if let Phase::Opening(caller, ..) = &self.phase {
            caller.leave();
        }
    }
}

/// A worker or a reply was lost; both answer when dropped, so this is not seen.
const LOST: Error = Error::Internal("an answer was lost");

fn executed(service: &Service, id: u64, answer: Result<Executed, Error>) -> (Reply, Held) {
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
    (Reply::Executed(executed), held)
}

#[cfg(test)]
mod tests;

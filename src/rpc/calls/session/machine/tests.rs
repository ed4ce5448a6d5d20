use std::collections::VecDeque;

use futures_util::task::noop_waker;

use super::*;
use crate::config::{Limits, ServerConfig};
use crate::core::access::Authentication;
use crate::core::value::Value;
use crate::proto::sql::{SessionCancel, SessionClose, SessionExecute, SessionRequest, Statement};
use crate::rpc::calls::entry::CallEnd;

/// What a client has sent and nobody has read yet; `None` is its end.
#[derive(Default)]
struct Sent(VecDeque<Option<Kind>>);

impl Incoming for Sent {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<ReceivedRequest, CallEnd>>> {
        let Some(next) = self.0.pop_front() else { return Poll::Pending };
        let received = |kind| {
            let request = SessionRequest { kind: Some(kind), ..SessionRequest::default() };
            Ok(ReceivedRequest::of(request, &Limits::default()))
        };
        Poll::Ready(next.map(received))
    }
}

/// A stream of a service without any tenant, and what its client has sent.
struct Stream {
    session: SessionMachine,
    sent: Sent,
}

impl Stream {
    fn with(sent: impl IntoIterator<Item = Option<Kind>>) -> Stream {
        let service =
            Service::new(&context::Context::new(ServerConfig::default())).expect("OpenSSL");
        let caller = service.caller("ipv4:192.0.2.1:1", Authentication::Anonymous, None);
        let session = SessionMachine::new(&service, caller);
        Stream { session, sent: Sent(sent.into_iter().collect()) }
    }

    fn step(&mut self, room: bool) -> Poll<StreamStep> {
        let waker = noop_waker();
        let room = if room { BeingSent::Nothing } else { BeingSent::Bytes(0) };
        self.session.poll_step(&mut Context::from_waker(&waker), &mut self.sent, room)
    }

    /// The text of the error with which the stream ends.
    #[track_caller]
    fn error(&mut self, room: bool) -> String {
        match self.step(room) {
            Poll::Ready(StreamStep::End(CallEnd::Failed(error))) => error.to_string(),
            Poll::Ready(_) => panic!("it goes on"),
            Poll::Pending => panic!("it waits"),
        }
    }
}

/// A tenant that has no worker to open it, so that its lease is waited for.
fn open() -> Option<Kind> {
    let dsn = "host=127.0.0.1 port=1 user=u password=p dbname=d".to_owned();
    let tenant_id = "t".to_owned();
    let request = ConnectionRequest { tenant_id, dsn, ..ConnectionRequest::default() };
    Some(Kind::Open(request))
}

fn execute(id: u64) -> Option<Kind> {
    let statement = Statement { sql: "select 1".to_owned(), ..Statement::default() };
    let statements = vec![statement];
    Some(Kind::Execute(SessionExecute { id, statements, ..SessionExecute::default() }))
}

fn close() -> Option<Kind> {
    Some(Kind::Close(SessionClose::default()))
}

fn cancel(id: u64) -> Option<Kind> {
    Some(Kind::Cancel(SessionCancel { id, ..SessionCancel::default() }))
}

#[test]
fn a_first_message_other_than_open_fails() {
    for first in [execute(1), cancel(1), close()] {
        // That is seen whether or not something can be sent.
        for room in [true, false] {
            let error = Stream::with([first.clone()]).error(room);
            assert!(error.contains(FIRST), "{error}");
        }
    }
}

#[test]
fn a_stream_that_ends_without_close_fails() {
    for sent in [vec![None], vec![open(), None]] {
        let error = Stream::with(sent).error(false);
        assert!(error.contains("without close"), "{error}");
    }
}

#[test]
fn open_is_allowed_once_and_without_a_request_id() {
    let error = Stream::with([open(), open()]).error(false);
    assert!(error.contains("only as the first message") || error.contains("only that"), "{error}");
    let request_id = vec![1; 16];
    let named = ConnectionRequest { request_id, ..ConnectionRequest::default() };
    let error = Stream::with([Some(Kind::Open(named))]).error(true);
    assert!(error.contains("request_id"), "{error}");
}

#[test]
fn while_its_lease_is_waited_for_one_request_is_read_and_no_more() {
    let mut stream = Stream::with([open(), execute(1), execute(2), close()]);
    assert!(stream.step(false).is_pending());
    assert_eq!(stream.sent.0.len(), 2);
    assert!(!stream.session.queue.is_empty() && !stream.session.closing);
}

#[test]
fn a_cancel_reaches_each_request_of_its_id_that_waits() {
    let mut stream = Stream::with([open()]);
    assert!(stream.step(false).is_pending());
    for id in [1, 2, 1] {
        stream.session.enqueue(id, Err(RequestError::Internal("a test's own"))).expect("memory");
    }
    let request = ReceivedRequest::Other(cancel(1));
    stream.session.take(request).expect("a cancel is allowed");
    let queue = &stream.session.queue;
    assert!(queue.callers(1).all(|caller| caller.is_gone()));
    assert_eq!((queue.callers(1).count(), queue.callers(2).count()), (2, 1));
    assert!(queue.callers(2).all(|caller| !caller.is_gone()));
}

#[test]
fn one_that_is_waited_for_leaves_the_queue_with_its_stream() {
    let mut stream = Stream::with([open()]);
    assert!(stream.step(false).is_pending());
    let StreamPhase::Opening(caller, ..) = &stream.session.phase else { panic!("it waits") };
    let caller = Arc::clone(caller);
    drop(stream);
    assert!(caller.is_gone());
}

#[test]
fn a_queue_has_room_for_so_many_requests_and_so_many_bytes() {
    let mut stream = Stream::with([open()]);
    assert!(stream.step(false).is_pending());
    let caller = stream.session.caller.again();
    let tenant = TenantId::parse("t").expect("a good name");
    let memory = &stream.session.context().memory;
    let room = memory.room(Use::ReadAhead, &[caller.peer().memory()], &tenant);
    let mut queue = RequestQueue::default();
    let mut read = 0;
    while queue.has_room() {
        let wrong = Err(RequestError::Internal("a test's own"));
        queue.push(read, wrong, Arc::clone(&caller), &room).expect("memory");
        read += 1;
    }
    assert_eq!(read, 64);
    let large = |bytes| Request {
        statements: Arc::new([crate::backend::statement::Statement::new(
            "",
            vec![Value::Bytes(vec![0; bytes])],
        )]),
        atomic: false,
        timeout: std::time::Duration::ZERO,
        max_rows: None,
        max_bytes: 0,
    };
    let mut queue = RequestQueue::default();
    let mut push = |bytes| {
        queue.push(1, Ok(large(bytes)), Arc::clone(&caller), &room).expect("memory");
        queue.has_room()
    };
    assert!(push(3 << 20));
    assert!(!push(1 << 20));
    assert!(queue.pop().is_some() && queue.has_room());
}

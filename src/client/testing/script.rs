//! What a fake server answers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{RpcContext, RpcStatus, RpcStatusCode, UnarySink};

use crate::client::call_error::Code;
use crate::client::wait::wait;
use crate::clock;
use crate::lock::Leaf;
use crate::threads;

/// An answer goes out within so long.
const SENT: Duration = Duration::from_secs(5);
/// Calls that are kept to look at.
const KEPT: usize = 1000;

/// What a call is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What it has sent.
    Echo,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A failure.
    Fail {
        /// gRPC's code.
        code: Code,
        /// The text.
        message: String,
        /// An encoded `google.rpc.Status`, or nothing.
        details: Vec<u8>,
    },
    /// Nothing, until the server stops.
    Hang,
    /// Another answer after a while.
    After(Duration, Box<Answer>),
}

/// A call that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The message.
    pub message: Vec<u8>,
    /// The metadata, in its order.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// The client's end of the connection.
    pub peer: String,
}

/// The answers to come, and the calls that have come.
#[derive(Default)]
pub(super) struct Script {
    state: Leaf<ScriptState>,
    /// Keeps what is never answered.
    hanging: Leaf<Vec<UnarySink<Vec<u8>>>>,
}

#[derive(Default)]
struct ScriptState {
    next: HashMap<String, VecDeque<Answer>>,
    always: HashMap<String, Answer>,
    calls: HashMap<String, usize>,
    received: VecDeque<Received>,
    peers: BTreeSet<String>,
}

impl Script {
    pub(super) fn next(&self, method: &str, answer: Answer) {
        self.state.lock().next.entry(method.to_owned()).or_default().push_back(answer);
    }

    pub(super) fn always(&self, method: &str, answer: Answer) {
        self.state.lock().always.insert(method.to_owned(), answer);
    }

    pub(super) fn calls(&self, method: &str) -> usize {
        self.state.lock().calls.get(method).copied().unwrap_or_default()
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.state.lock().received.iter().cloned().collect()
    }

    pub(super) fn peers(&self) -> usize {
        self.state.lock().peers.len()
    }

    /// Lets go of calls that are not answered.
    pub(super) fn forget(&self) {
        let hanging = std::mem::take(&mut *self.hanging.lock());
        drop(hanging);
    }

    /// Answers a call. Does not wait.
    pub(super) fn answer(
        self: &Arc<Self>,
        method: &str,
        ctx: &RpcContext<'_>,
        message: Vec<u8>,
        sink: UnarySink<Vec<u8>>,
    ) {
        let headers = ctx.request_headers().iter();
        let metadata = headers.map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
        let (method, peer) = (method.to_owned(), ctx.peer());
        let answer = {
            let mut state = self.state.lock();
            *state.calls.entry(method.clone()).or_default() += 1;
            state.peers.insert(peer.clone());
            if state.received.len() == KEPT {
                state.received.pop_front();
            }
            let call =
                Received { method: method.clone(), message: message.clone(), metadata, peer };
            state.received.push_back(call);
            let next = state.next.get_mut(&method).and_then(VecDeque::pop_front);
            next.or_else(|| state.always.get(&method).cloned()).unwrap_or(Answer::Echo)
        };
        match answer {
            Answer::After(pause, answer) => self.later(pause, *answer, message, sink),
            Answer::Hang => self.hanging.lock().push(sink),
            answer => ctx.spawn(send(answer, message, sink)),
        }
    }

    fn later(
        self: &Arc<Self>,
        pause: Duration,
        answer: Answer,
        message: Vec<u8>,
        sink: UnarySink<Vec<u8>>,
    ) {
        let script = Arc::clone(self);
        let until = clock::now() + pause;
        let waiting = threads::spawn(threads::FAKE, move || {
            wait(pin!(std::future::pending::<()>()), Some(until));
            match answer {
                Answer::Hang => script.hanging.lock().push(sink),
                answer => drop(wait(pin!(send(answer, message, sink)), Some(clock::now() + SENT))),
            }
        });
        if let Err(error) = waiting {
            log::error!("event=client_fake_failed error=\"{error}\"");
        }
    }
}

/// Answers a call at once. Pauses of pauses are added up nowhere.
async fn send(answer: Answer, message: Vec<u8>, sink: UnarySink<Vec<u8>>) {
    let sent = match answer {
        Answer::Echo => sink.success(message).await,
        Answer::Bytes(bytes) => sink.success(bytes).await,
        Answer::Fail { code, message, details } => {
            let code = RpcStatusCode::from(code.number());
            sink.fail(RpcStatus::with_details(code, message, details)).await
        }
        Answer::Hang | Answer::After(..) => return drop(sink),
    };
    // The client has left: nobody needs the answer.
    drop(sent);
}

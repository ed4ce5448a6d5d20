//! Decodes requests: small ones at once, the others on a worker.

use std::future::Future;
use std::io::{BufRead, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use grpcio::MessageReader;

use super::inspect::{inspect, NotDecoded, Rules};
use crate::config::Limits;
use crate::error::RequestError;
use crate::pool::caller::Caller;
use crate::pool::context;
use crate::proto::{Raw, Shaped};
use crate::threads::{self, here};

/// A larger request is decoded by a worker. Copying so much and checking that it is UTF-8
/// takes a tenth of a millisecond of gRPC's thread.
const SMALL_BYTES: usize = 256 << 10;
/// So is one with more fields: so many take half a millisecond.
const SMALL_FIELDS: usize = 4096;

/// The error of a call whose handler has panicked.
const LOST: RequestError = RequestError::Internal("a handler failed");

/// Decodes the messages of one call.
pub(super) struct Decoder {
    pub(super) context: Arc<context::Context>,
    pub(super) caller: Arc<Caller>,
}

/// The result of one message: there already, or expected from a worker.
pub(in crate::rpc) enum Decoding<T> {
    Done(Option<Result<T, RequestError>>),
    Given(oneshot::Receiver<Result<T, RequestError>>),
}

/// Nothing in it is pinned.
impl<T> Unpin for Decoding<T> {}

impl<T> Future for Decoding<T> {
    type Output = Result<T, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RequestError>> {
        match &mut *self {
            Decoding::Done(done) => Poll::Ready(done.take().unwrap_or(Err(LOST))),
            Decoding::Given(given) => {
                Pin::new(given).poll(cx).map(|answer| answer.unwrap_or(Err(LOST)))
            }
        }
    }
}

impl Decoder {
    /// Decodes a message and runs `work` with it on the same thread. A panic in `work` costs this
    /// message only. Of a `stream` the next message is not read before this one is decoded, and
    /// a refusal ends the stream.
    pub(super) fn work<Q: Shaped, T: Send + 'static>(
        &self,
        raw: Raw<Q>,
        stream: bool,
        work: impl FnOnce(Q) -> Result<T, RequestError> + Send + 'static,
    ) -> Decoding<T> {
        let (length, mut bytes) = (raw.reader.len(), Bytes::Pieces(raw.reader));
        if length <= SMALL_BYTES {
            let live = self.context.live();
            if let Some(decoded) = decode::<Q>(bytes.whole(), SMALL_FIELDS, &live.limits) {
                return Decoding::Done(Some(decoded.and_then(|message| {
                    let work = || here::in_call(|| work(message));
                    threads::survive(threads::GRPC, work).unwrap_or(Err(LOST))
                })));
            }
        }
        let (tx, rx) = oneshot::channel();
        let context = Arc::clone(&self.context);
        let job = move || {
            // A request whose caller has left needs no answer.
            if !tx.is_canceled() {
                let decoded = decode::<Q>(bytes.whole(), usize::MAX, &context.live().limits);
                drop(bytes);
                let decoded = decoded.unwrap_or_else(|| Err(undecodable::<Q>()));
                // The caller may have left meanwhile.
                drop(tx.send(decoded.and_then(work)));
            }
        };
        match self.context.conversions.run(self.caller.id(), length, stream, job) {
            Ok(()) => Decoding::Given(rx),
            Err(error) => Decoding::Done(Some(Err(error))),
        }
    }
}

/// Decodes a message; `None` if it has more than `fields` fields.
fn decode<Q: Shaped>(
    bytes: &[u8],
    fields: usize,
    limits: &Limits,
) -> Option<Result<Q, RequestError>> {
    match inspect(bytes, Q::shape(), &Rules { limits, fields }) {
        Ok(_) => Some(Q::parse_from_bytes(bytes).map_err(|_| undecodable::<Q>())),
        Err(NotDecoded::TooManyFields) => None,
        Err(NotDecoded::Refused(error)) => Some(Err(error)),
        Err(NotDecoded::Malformed | NotDecoded::Truncated | NotDecoded::Group) => {
            Some(Err(undecodable::<Q>()))
        }
    }
}

fn undecodable<Q: Shaped>() -> RequestError {
    let rule = format!("the message is no {}, or it is nested too deeply", Q::NAME);
    RequestError::invalid("request", rule)
}

/// One encoded message.
enum Bytes {
    /// The pieces in which gRPC has received it.
    Pieces(MessageReader),
    Joined(Vec<u8>),
}

impl Bytes {
    /// All bytes in one piece. Most messages arrive as one.
    fn whole(&mut self) -> &[u8] {
        if let Bytes::Pieces(reader) = self {
            let length = reader.len();
            if !reader.fill_buf().is_ok_and(|piece| piece.len() == length) {
                let mut joined = Vec::new();
                // They lie in memory, so that reading does not fail.
                let _ = reader.read_to_end(&mut joined);
                *self = Bytes::Joined(joined);
            }
        }
        match self {
            Bytes::Pieces(reader) => reader.fill_buf().unwrap_or_default(),
            Bytes::Joined(joined) => joined,
        }
    }
}

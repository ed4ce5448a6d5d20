//! What a client sends in one call.

use std::io::{BufRead, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use grpcio::{MessageReader, RequestStream};
use protobuf::Message;

use super::patience::Patience;
use super::Ended;
use crate::error::Error;
use crate::pool::alarms::Alarms;
use crate::pool::peers::Peer;
use crate::proto::Raw;

/// What gRPC puts before each message.
const PREFIX_BYTES: usize = 5;

/// The messages of one call, in their order. The first, and of a call that has one
/// request the end behind it, must come in time: what has come in part lies in gRPC's
/// memory, which all clients share.
pub(in crate::rpc) struct Messages<Q> {
    requests: RequestStream<Raw<Q>>,
    /// Who sends them.
    peer: Arc<Peer>,
    /// Until the request is there. Afterwards its alarm serves the answer.
    patience: Patience,
    limit: Duration,
    only: Option<Raw<Q>>,
}

impl<Q: Message> Messages<Q> {
    pub(super) fn new(
        requests: RequestStream<Raw<Q>>,
        peer: &Arc<Peer>,
        alarms: &Alarms,
        limit: Duration,
    ) -> Messages<Q> {
        let mut patience = Patience::new(alarms);
        patience.begin(limit);
        Messages { requests, peer: Arc::clone(peer), patience, limit, only: None }
    }

    /// For another use, once the request is there or the call is over.
    pub(super) fn patience(&mut self) -> &mut Patience {
        &mut self.patience
    }

    /// The next message of a stream; `None` after the last.
    pub(in crate::rpc) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Q, Ended>>> {
        let next = ready!(self.poll_raw(cx));
        self.patience.rest();
        Poll::Ready(next.map(|raw| Ok(decode(raw?)?)))
    }

    /// The one message of a call that has no more.
    pub(super) fn poll_only(&mut self, cx: &mut Context<'_>) -> Poll<Result<Q, Ended>> {
        let rule = loop {
            match ready!(self.poll_raw(cx)).transpose()? {
                Some(raw) if self.only.is_none() => self.only = Some(raw),
                Some(_) => break "the call takes one request, and more than one came",
                None => match self.only.take() {
                    Some(raw) => {
                        self.patience.rest();
                        return Poll::Ready(Ok(decode(raw)?));
                    }
                    None => break "the call takes one request, and none came",
                },
            }
        };
        Poll::Ready(Err(Error::invalid("request", rule).into()))
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Raw<Q>, Ended>>> {
        match Pin::new(&mut self.requests).poll_next(cx) {
            Poll::Ready(Some(Ok(raw))) => {
                self.peer.took(raw.reader.len() + PREFIX_BYTES);
                Poll::Ready(Some(Ok(raw)))
            }
            Poll::Ready(next) => Poll::Ready(next.map(|raw| raw.map_err(|_| Ended::Left))),
            Poll::Pending => {
                ready!(self.patience.poll(cx));
                Poll::Ready(Some(Err(Error::RequestTimeout { limit: self.limit }.into())))
            }
        }
    }
}

/// The message that the bytes are.
fn decode<Q: Message>(raw: Raw<Q>) -> Result<Q, Error> {
    let decoded = with_bytes(raw.reader, |bytes| Q::parse_from_bytes(bytes).ok());
    decoded.flatten().ok_or_else(|| {
        let name = Q::NAME;
        Error::invalid("request", format!("the message is no {name}, or it is nested too deeply"))
    })
}

/// What `look` sees in the bytes of a message. `None` does not happen: they lie in memory.
fn with_bytes<T>(mut reader: MessageReader, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let length = reader.len();
    // Most have come in one piece.
    match reader.fill_buf() {
        Ok(piece) if piece.len() == length => Some(look(piece)),
        _ => {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).ok()?;
            Some(look(&bytes))
        }
    }
}

//! A stream in each direction.

use std::fmt;
use std::pin::pin;

use futures_util::StreamExt;
use grpcio::{CallOption, Client, ClientDuplexReceiver, ClientDuplexSender};

use super::messages::is_status;
use super::Outbox;
use crate::client::call_error::{Delivery, Error, RpcError};
use crate::client::connection::Connection;
use crate::client::unary::MARGIN;
use crate::client::wait::wait;
use crate::client::way::{Attempt, Way};

/// What a stub returns.
pub type DuplexEnds<Q, R> = (ClientDuplexSender<Q>, ClientDuplexReceiver<R>);

/// Sends messages, and receives some, which it iterates over.
#[derive(Debug)]
pub struct Duplex<Q, R> {
    outbox: Option<Outbox<Q>>,
    messages: DuplexMessages<R>,
}

/// The messages of the server, one after the other; waits for each, at most until the deadline.
/// Whoever drops it before its end cancels the call.
pub struct DuplexMessages<R> {
    way: Way,
    attempt: Attempt,
    receiver: ClientDuplexReceiver<R>,
    /// Why it has ended; told after the messages that have come before.
    failure: Option<grpcio::Error>,
    /// Lent until the end.
    connection: Option<Connection>,
}

impl<Q, R> Duplex<Q, R> {
    pub(super) fn begin(
        mut way: Way,
        on: Option<&Connection>,
        start: impl FnOnce(&Client, CallOption) -> grpcio::Result<DuplexEnds<Q, R>>,
    ) -> Result<Duplex<Q, R>, Error> {
        let begun = way.open(on, start);
        let (attempt, (sink, receiver), connection) =
            begun.inspect_err(|error| way.end(Some(error)))?;
        let outbox = Some(Outbox::new(sink, attempt.until, way.meter.clone()));
        let connection = Some(connection);
        let messages = DuplexMessages { way, attempt, receiver, failure: None, connection };
        Ok(Duplex { outbox, messages })
    }

    /// Sends a message; waits while the server takes none. False if the call has ended, of which
    /// the iterator tells the reason, or after [`finish_sending`](Self::finish_sending).
    pub fn send(&mut self, message: Q) -> bool {
        self.outbox.as_mut().is_some_and(|outbox| outbox.send(message))
    }

    /// Tells the server that there are no more. Twice is as good as once.
    pub fn finish_sending(&mut self) {
        if let Some(outbox) = self.outbox.take() {
            outbox.finish();
        }
    }

    /// Both ends, for two threads. There is no sending end after
    /// [`finish_sending`](Self::finish_sending).
    pub fn split(self) -> (Option<Outbox<Q>>, DuplexMessages<R>) {
        (self.outbox, self.messages)
    }
}

impl<Q, R> Iterator for Duplex<Q, R> {
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Result<R, Error>> {
        self.messages.next()
    }
}

impl<R> Iterator for DuplexMessages<R> {
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Result<R, Error>> {
        self.connection.as_ref()?;
        let until = self.attempt.until.map(|until| until + MARGIN);
        let error = loop {
            match wait(pin!(self.receiver.next()), until) {
                Some(Some(Ok(message))) => {
                    self.way.meter.message("received");
                    return Some(Ok(message));
                }
                // As for a stream of answers alone.
                Some(Some(Err(error))) if self.failure.is_none() && is_status(&error) => {
                    self.failure = Some(error);
                }
                Some(Some(Err(error))) => break Some(self.way.failed(&self.attempt, error)),
                Some(None) => {
                    let failure = self.failure.take();
                    break failure.map(|error| self.way.failed(&self.attempt, error));
                }
                None => {
                    self.receiver.cancel();
                    let address = Some(self.attempt.to.to_string());
                    break Some(RpcError { address, ..self.way.late(Delivery::Unknown) }.into());
                }
            }
        };
        self.connection = None;
        self.way.attempted(&self.attempt, error.as_ref());
        self.way.end(error.as_ref());
        error.map(Err)
    }
}

impl<R> fmt::Debug for DuplexMessages<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_ended = self.connection.is_none();
        f.debug_struct("DuplexMessages").field("ended", &has_ended).finish_non_exhaustive()
    }
}

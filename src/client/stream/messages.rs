//! A stream of answers to one request.

use std::fmt;
use std::pin::pin;

use futures_util::StreamExt;
use grpcio::{CallOption, Client, ClientSStreamReceiver};

use crate::client::call_error::{Delivery, Error, RpcError};
use crate::client::connection::Connection;
use crate::client::unary::MARGIN;
use crate::client::wait::wait;
use crate::client::way::{Attempt, Way};

/// Starts an attempt.
type StreamStart<R> =
    Box<dyn FnMut(&Client, CallOption) -> grpcio::Result<ClientSStreamReceiver<R>> + Send>;

/// The messages of a stream, one after the other; waits for each, at most until the deadline.
/// After an error there are no more. Whoever drops it before its end cancels it.
pub struct Messages<R> {
    way: Way,
    /// `None`: it is made once.
    start: Option<StreamStart<R>>,
    /// `None` after the end.
    running: Option<Running<R>>,
    /// No message has come, so that it may begin anew.
    is_fresh: bool,
}

struct Running<R> {
    attempt: Attempt,
    receiver: ClientSStreamReceiver<R>,
    /// Why it has ended; told after the messages that have come before.
    failure: Option<grpcio::Error>,
    /// Lent until the end.
    _connection: Connection,
}

impl<R> Messages<R> {
    pub(super) fn begin(
        way: Way,
        start: impl FnMut(&Client, CallOption) -> grpcio::Result<ClientSStreamReceiver<R>>
            + Send
            + 'static,
    ) -> Result<Messages<R>, Error> {
        let start: StreamStart<R> = Box::new(start);
        let mut messages = Messages { way, start: Some(start), running: None, is_fresh: true };
        match messages.connect() {
            Ok(()) => Ok(messages),
            Err(error) => {
                messages.way.end(Some(&error));
                Err(error)
            }
        }
    }

    /// Begins on a connection that somebody has, once.
    pub(super) fn begin_on(
        mut way: Way,
        connection: &Connection,
        start: impl FnOnce(&Client, CallOption) -> grpcio::Result<ClientSStreamReceiver<R>>,
    ) -> Result<Messages<R>, Error> {
        let begun = way.open(Some(connection), start);
        let (attempt, receiver, _connection) = begun.inspect_err(|error| way.end(Some(error)))?;
        let running = Some(Running { attempt, receiver, failure: None, _connection });
        Ok(Messages { way, start: None, running, is_fresh: false })
    }

    /// Begins, with as many attempts as it may have.
    fn connect(&mut self) -> Result<(), Error> {
        loop {
            let connection = self.way.connect();
            let error = match connection.and_then(|connection| self.attempt(connection)) {
                Ok(running) => {
                    self.running = Some(running);
                    return Ok(());
                }
                Err(error) => error,
            };
            match self.way.pause(&error) {
                Some(pause) => self.way.rest(pause),
                None => return Err(error),
            }
        }
    }

    fn attempt(&mut self, connection: Connection) -> Result<Running<R>, Error> {
        let Messages { way, start, .. } = self;
        let (attempt, receiver, _connection) = way.open_on(connection, |client, option| {
            let start = start.as_mut().map(|start| start(client, option));
            start.unwrap_or(Err(grpcio::Error::RpcFinished(None)))
        })?;
        Ok(Running { attempt, receiver, failure: None, _connection })
    }

    /// The next message, the end, or why it has failed.
    fn receive(&mut self) -> Option<Result<R, Error>> {
        loop {
            let Running { attempt, receiver, failure, .. } = self.running.as_mut()?;
            let until = attempt.until.map(|until| until + MARGIN);
            let error = match wait(pin!(receiver.next()), until) {
                Some(Some(Ok(message))) => {
                    self.is_fresh = false;
                    self.way.meter.message("received");
                    return Some(Ok(message));
                }
                // grpcio tells of a failure before it hands out what came earlier, and goes on.
                Some(Some(Err(error))) if failure.is_none() && is_status(&error) => {
                    *failure = Some(error);
                    continue;
                }
                Some(Some(Err(error))) => self.way.failed(attempt, error),
                Some(None) => match failure.take() {
                    Some(error) => self.way.failed(attempt, error),
                    None => {
                        self.way.attempted(attempt, None);
                        return self.end(None);
                    }
                },
                None => {
                    receiver.cancel();
                    let address = Some(attempt.to.to_string());
                    RpcError { address, ..self.way.late(Delivery::Unknown) }.into()
                }
            };
            self.way.attempted(attempt, Some(&error));
            let pause = self.is_fresh.then(|| self.way.pause(&error)).flatten();
            // What follows has a connection of its own.
            self.running = None;
            let Some(pause) = pause else {
                return self.end(Some(error));
            };
            self.way.rest(pause);
            if let Err(error) = self.connect() {
                return self.end(Some(error));
            }
        }
    }

    fn end(&mut self, error: Option<Error>) -> Option<Result<R, Error>> {
        self.running = None;
        self.way.end(error.as_ref());
        error.map(Err)
    }
}

/// The call has ended with it, and with nothing else.
pub(super) fn is_status(error: &grpcio::Error) -> bool {
    matches!(error, grpcio::Error::RpcFailure(_))
}

impl<R> Iterator for Messages<R> {
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Result<R, Error>> {
        self.receive()
    }
}

impl<R> Drop for Messages<R> {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            running.receiver.cancel();
        }
    }
}

impl<R> fmt::Debug for Messages<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("ended", &self.running.is_none()).finish_non_exhaustive()
    }
}

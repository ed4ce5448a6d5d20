//! Attempts of a unary call, one after the other.

use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use grpcio::{CallOption, Client, ClientUnaryReceiver};

use super::call_error::{Code, Delivery, Error, RpcError};
use super::connection::Connection;
use super::destination::Destination;
use super::wait::wait;
use super::way::{Attempt, Way};

/// gRPC ends a call at its deadline itself, and is waited for a little longer.
pub(super) const MARGIN: Duration = Duration::from_millis(100);

/// Starts an attempt; does not wait.
pub(super) type Start<'a, R> =
    &'a mut dyn FnMut(&Client, CallOption) -> grpcio::Result<ClientUnaryReceiver<R>>;

/// A call that was answered.
pub(super) struct Answered<R> {
    pub message: R,
    /// Has the headers and the trailers.
    pub receiver: ClientUnaryReceiver<R>,
    pub to: Arc<Destination>,
    pub attempts: u32,
    pub elapsed: Duration,
}

/// An attempt that runs.
pub(super) struct Try<R> {
    pub attempt: Attempt,
    receiver: ClientUnaryReceiver<R>,
    /// Lent for this attempt alone.
    _connection: Option<Connection>,
}

impl<R> Try<R> {
    /// Begins an attempt on a connection that is lent for it.
    pub(super) fn begin(
        way: &mut Way,
        connection: Connection,
        start: Start<'_, R>,
    ) -> Result<Try<R>, Error> {
        let begun = Try::on(way, &connection, start)?;
        Ok(Try { _connection: Some(connection), ..begun })
    }

    /// Begins an attempt on a connection that somebody has.
    pub(super) fn on(
        way: &mut Way,
        connection: &Connection,
        start: Start<'_, R>,
    ) -> Result<Try<R>, Error> {
        let (attempt, option) = way.attempt(connection, way.plan.attempt_timeout)?;
        match start(connection.link().client(), option) {
            Ok(receiver) => Ok(Try { attempt, receiver, _connection: None }),
            Err(error) => Err(way.unbegun(&attempt, error)),
        }
    }

    /// When it is waited for no longer.
    pub(super) fn until(&self) -> Option<Instant> {
        self.attempt.until.map(|until| until + MARGIN)
    }

    /// Its answer, or why it has failed, once that is known.
    pub(super) fn poll(&mut self, way: &Way, context: &mut Context<'_>) -> Poll<Result<R, Error>> {
        // grpcio panics over an answer without a message. All of its state is in the receiver.
        let receiver = &mut self.receiver;
        let polling = AssertUnwindSafe(|| pin!(receiver.message()).poll(context));
        match catch_unwind(polling) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => {
                Poll::Ready(answer.map_err(|error| way.failed(&self.attempt, error)))
            }
            Err(_) => {
                let message = "the server answered OK without a message".to_owned();
                let error = way.error(Code::Internal, message, Delivery::Unknown);
                let address = Some(self.attempt.to.to_string());
                Poll::Ready(Err(RpcError { address, ..error }.into()))
            }
        }
    }

    /// Ends it, because nobody waits for it any more.
    pub(super) fn cancel(&mut self) {
        self.receiver.cancel();
    }

    /// The end of one that took too long.
    pub(super) fn expire(&mut self, way: &Way) -> Error {
        self.cancel();
        let address = Some(self.attempt.to.to_string());
        RpcError { address, ..way.late(Delivery::Unknown) }.into()
    }

    /// The end of one that was answered.
    pub(super) fn answered(self, way: &mut Way, message: R) -> Answered<R> {
        way.attempted(&self.attempt, None);
        let Try { attempt, receiver, .. } = self;
        let (to, attempts) = (attempt.to, way.attempts);
        Answered { message, receiver, to, attempts, elapsed: way.elapsed() }
    }

    /// Waits for its end.
    fn end(mut self, way: &mut Way) -> Result<Answered<R>, Error> {
        let until = self.until();
        let waiting = std::future::poll_fn(|context| self.poll(way, context));
        let result = match wait(pin!(waiting), until) {
            Some(result) => result,
            None => Err(self.expire(way)),
        };
        match result {
            Ok(message) => Ok(self.answered(way, message)),
            Err(error) => {
                way.attempted(&self.attempt, Some(&error));
                Err(error)
            }
        }
    }
}

/// Makes attempts until one is good or there is none left.
pub(super) fn in_turn<R>(way: &mut Way, start: Start<'_, R>) -> Result<Answered<R>, Error> {
    loop {
        let tried = way.connect().and_then(|connection| {
            Try::begin(way, connection, start).and_then(|begun| begun.end(way))
        });
        let error = match tried {
            Ok(answered) => return Ok(answered),
            Err(error) => error,
        };
        match way.pause(&error) {
            Some(pause) => way.rest(pause),
            None => return Err(error),
        }
    }
}

/// Makes one attempt on a connection that somebody has.
pub(super) fn once<R>(
    way: &mut Way,
    connection: &Connection,
    start: Start<'_, R>,
) -> Result<Answered<R>, Error> {
    way.attempts += 1;
    Try::on(way, connection, start).and_then(|begun| begun.end(way))
}

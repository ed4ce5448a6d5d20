//! A stream of requests with one answer.

use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::pin;

use grpcio::{CallOption, Client, ClientCStreamReceiver, ClientCStreamSender};

use super::Outbox;
use crate::client::call_error::{Code, Delivery, Error, RpcError};
use crate::client::connection::Connection;
use crate::client::unary::MARGIN;
use crate::client::wait::wait;
use crate::client::way::{Attempt, Way};

/// What a stub returns.
pub type UploadEnds<Q, R> = (ClientCStreamSender<Q>, ClientCStreamReceiver<R>);

/// Sends messages and gets one answer. Whoever drops it before [`finish`](Self::finish) cancels
/// the call.
pub struct Upload<Q, R> {
    way: Way,
    attempt: Attempt,
    outbox: Outbox<Q>,
    receiver: ClientCStreamReceiver<R>,
    /// Lent until the end.
    _connection: Connection,
}

impl<Q, R> Upload<Q, R> {
    pub(super) fn begin(
        mut way: Way,
        on: Option<&Connection>,
        start: impl FnOnce(&Client, CallOption) -> grpcio::Result<UploadEnds<Q, R>>,
    ) -> Result<Upload<Q, R>, Error> {
        let begun = way.open(on, start);
        let (attempt, (sink, receiver), connection) =
            begun.inspect_err(|error| way.end(Some(error)))?;
        let outbox = Outbox::new(sink, attempt.until, way.meter.clone());
        Ok(Upload { way, attempt, outbox, receiver, _connection: connection })
    }

    /// Sends a message; waits while the server takes none. False if the call has ended, of which
    /// [`finish`](Self::finish) tells the reason.
    pub fn send(&mut self, message: Q) -> bool {
        self.outbox.send(message)
    }

    /// Tells the server that there are no more, and waits for the answer.
    ///
    /// # Errors
    /// Why the call has failed.
    pub fn finish(mut self) -> Result<R, Error> {
        self.outbox.close();
        let until = self.attempt.until.map(|until| until + MARGIN);
        let receiver = &mut self.receiver;
        // grpcio panics over an answer without a message.
        let waiting = AssertUnwindSafe(|| wait(pin!(receiver.message()), until));
        let result = match catch_unwind(waiting) {
            Ok(Some(answer)) => answer.map_err(|error| self.way.failed(&self.attempt, error)),
            Ok(None) => {
                let address = Some(self.attempt.to.to_string());
                Err(RpcError { address, ..self.way.late(Delivery::Unknown) }.into())
            }
            Err(_) => {
                let message = "the server answered OK without a message".to_owned();
                Err(self.way.error(Code::Internal, message, Delivery::Unknown).into())
            }
        };
        self.way.attempted(&self.attempt, result.as_ref().err());
        self.way.end(result.as_ref().err());
        result
    }
}

impl<Q, R> fmt::Debug for Upload<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

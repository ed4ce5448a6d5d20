//! The sending end of a stream.

use std::fmt;
use std::pin::pin;
use std::time::Instant;

use futures_util::SinkExt;
use grpcio::{StreamingCallSink, WriteFlags};

use crate::client::metrics::MethodMeter;
use crate::client::unary::MARGIN;
use crate::client::wait::wait;

/// Sends messages. Whoever drops it before [`finish`](Self::finish) cancels the call.
pub struct Outbox<Q> {
    sink: StreamingCallSink<Q>,
    until: Option<Instant>,
    meter: MethodMeter,
    is_over: bool,
}

impl<Q> Outbox<Q> {
    pub(super) fn new(
        sink: StreamingCallSink<Q>,
        until: Option<Instant>,
        meter: MethodMeter,
    ) -> Outbox<Q> {
        Outbox { sink, until: until.map(|until| until + MARGIN), meter, is_over: false }
    }

    /// Sends a message; waits while the server takes none. False if the call has ended, of which
    /// the receiving end tells the reason.
    pub fn send(&mut self, message: Q) -> bool {
        if self.is_over {
            return false;
        }
        let sending = pin!(self.sink.send((message, WriteFlags::default())));
        let sent = wait(sending, self.until);
        if sent.is_none() {
            self.sink.cancel();
        }
        self.is_over = !matches!(sent, Some(Ok(())));
        if !self.is_over {
            self.meter.message("sent");
        }
        !self.is_over
    }

    /// Tells the server that there are no more.
    pub fn finish(mut self) {
        self.close();
    }

    pub(super) fn close(&mut self) {
        // A call that has ended needs no end; its reason is the other end's.
        let closed = wait(pin!(self.sink.close()), self.until);
        if closed.is_none() {
            self.sink.cancel();
        }
        self.is_over = true;
    }
}

impl<Q> fmt::Debug for Outbox<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

//! A result on its way to its reader.
//!
//! A worker puts it into a bounded pipe, one future on gRPC's thread sends what
//! comes out of that. A reader that is slow fills the pipe; then the worker waits
//! and does not read from PostgreSQL, whose socket fills in turn.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{Future, FutureExt, Sink, SinkExt};
use grpcio::{RpcContext, ServerStreamingSink, WriteFlags};

use crate::backend::session::{Notice, Notices};
use crate::clock;
use crate::error::Error;
use crate::pool::alarms::{Alarm, Alarms};
use crate::pool::caller::Caller;
use crate::pool::execute::Executed;
use crate::pool::job::Answer;
use crate::pool::listen::{Letter, Listening};
use crate::pool::outlet::{Interrupt, Stalled};
use crate::pool::service::Service;
use crate::proto::sql_grpc::Encoded;
use crate::rpc::pipe::{Added, Batch, Pipe};
use crate::rpc::status::status;
use crate::threads;

/// A batch is sent when it has so many bytes,
const BATCH_BYTES: usize = 64 << 10;
/// or has waited for so long.
const BATCH_WAIT: Duration = Duration::from_millis(20);

/// Makes a message of a batch.
pub(super) type Seal = fn(Batch) -> Vec<u8>;

/// The worker's end. Dropped, it says that no more comes.
pub(super) struct Outflow {
    pipe: Pipe,
    seal: Seal,
    alarms: Alarms,
    /// Lets the batch go when it has waited for long enough.
    ripening: Option<Alarm>,
    /// A reader that takes nothing for so long is given up.
    stall: Duration,
}

/// The reader's end.
pub(super) struct Inflow {
    pipe: Pipe,
    seal: Seal,
}

/// A result that has been asked for.
pub(super) struct Asked<R = Executed> {
    /// Where it comes.
    pub(super) inflow: Inflow,
    /// How it ends.
    pub(super) answer: Answer<R>,
    /// The last message of one that ends well.
    pub(super) trailer: fn(R) -> Vec<u8>,
    /// What is given up with the call.
    pub(super) held: Option<Listening>,
}

impl Outflow {
    /// Both ends.
    pub(super) fn new(service: &Service, seal: Seal) -> (Outflow, Inflow) {
        let pipe = Pipe::default();
        let context = service.context();
        let outflow = Outflow {
            pipe: pipe.clone(),
            seal,
            alarms: context.tools.alarms.clone(),
            ripening: None,
            stall: context.config.limits.stall_timeout,
        };
        (outflow, Inflow { pipe, seal })
    }

    /// Adds something to the batch. False: nothing is wanted any more.
    pub(super) fn add(&mut self, bytes: &[u8]) -> bool {
        let add = |batch: &mut Batch| {
            batch.bytes.extend_from_slice(bytes);
            batch.rows += 1;
        };
        let added = self.pipe.add(add, BATCH_BYTES, self.seal);
        if added == Added::First {
            let pipe = self.pipe.clone();
            let ripe = self.alarms.set(clock::now() + BATCH_WAIT, move || pipe.ripen());
            self.ripening = Some(ripe);
        }
        added != Added::Dropped
    }

    /// True as long as what is added is not dropped.
    pub(super) fn is_wanted(&self) -> bool {
        !self.pipe.is_closed()
    }

    /// Adds a message of its own.
    pub(super) fn push(&self, message: Vec<u8>) {
        self.pipe.push(message, self.seal);
    }

    /// Adds a message that others have, too.
    pub(super) fn post(&self, letter: Letter) {
        self.pipe.post(letter);
    }

    /// Adds the notices that have come.
    pub(super) fn notices(&self, fresh: &Notices, message: fn(Notice) -> Vec<u8>) {
        if fresh.any() {
            fresh.take().into_iter().for_each(|notice| self.push(message(notice)));
        }
    }

    /// What messages cost that wait for the reader.
    pub(super) fn backlog(&self) -> usize {
        self.pipe.backlog()
    }

    /// Since when the reader has taken nothing of what waits.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.pipe.waits_since()
    }

    /// No more comes, and what waits is dropped.
    pub(super) fn close(&self) {
        self.pipe.close();
    }

    /// No more comes; as when dropped.
    pub(super) fn end(&self) {
        self.pipe.end(self.seal);
    }

    /// As an outlet has it.
    pub(super) fn is_full(&self) -> bool {
        self.pipe.is_full()
    }

    /// As an outlet has it.
    pub(super) fn wait(&self) -> Result<(), Stalled> {
        self.pipe.wait(self.stall)
    }

    /// As an outlet has it.
    pub(super) fn interrupter(&self) -> Interrupt {
        let pipe = self.pipe.clone();
        Box::new(move || pipe.close())
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        // However the call ends, the worker is not to wait for it.
        self.pipe.close();
    }
}

/// Serves one call whose result is a stream.
pub(super) fn serve<R: Send + 'static>(
    service: &Service,
    ctx: &RpcContext<'_>,
    sink: ServerStreamingSink<Encoded>,
    ask: impl FnOnce(&Arc<Caller>) -> Result<Asked<R>, Error>,
) {
    let caller = service.caller(&ctx.peer());
    let asked = threads::survive(threads::GRPC, || ask(&caller));
    let asked = asked.unwrap_or(Err(Error::Internal("a handler failed")));
    let served = AssertUnwindSafe(async move {
        match asked {
            Ok(asked) => pump(sink, asked, caller).await,
            Err(error) => fail(sink, &error).await,
        }
    });
    let served = served.catch_unwind();
    ctx.spawn(async move {
        // A panic that reached gRPC's thread would end it for good.
        if served.await.is_err() {
            log::error!("event=panic thread={}", threads::GRPC);
        }
    });
}

async fn fail(sink: ServerStreamingSink<Encoded>, error: &Error) {
    // The caller may have left; then nobody needs the error.
    let _ = sink.fail(status(error)).await;
}

/// Sends what comes, and at last how it ended.
async fn pump<R>(mut sink: ServerStreamingSink<Encoded>, asked: Asked<R>, caller: Arc<Caller>) {
    let Asked { inflow, mut answer, trailer, held: _held } = asked;
    loop {
        let next = poll_fn(|cx| match Pin::new(&mut sink).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(Err(())),
            Poll::Ready(Ok(())) => inflow.pipe.poll_next(cx, inflow.seal).map(Ok),
            Poll::Pending => Poll::Pending,
        });
        match next.await {
            // A sink that failed once must not be polled again: it is dropped.
            Err(()) => return caller.leave(),
            Ok(None) => break,
            Ok(Some(message)) => {
                let message = (Encoded(message), WriteFlags::default());
                if Pin::new(&mut sink).start_send(message).is_err() {
                    return caller.leave();
                }
            }
        }
    }
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut answer).poll(cx) {
            return Poll::Ready(Some(ended));
        }
        match Pin::new(&mut sink).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    });
    let Some(ended) = ended.await else {
        return caller.leave();
    };
    match ended.unwrap_or(Err(Error::Internal("an answer was lost"))) {
        Err(error) => fail(sink, &error).await,
        Ok(executed) => {
            // The hint puts message and status into one write.
            let message = (Encoded(trailer(executed)), WriteFlags::default().buffer_hint(true));
            if sink.send(message).await.is_ok() {
                // As above.
                let _ = sink.close().await;
            }
        }
    }
}

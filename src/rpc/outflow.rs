//! A result on its way to its reader.
//!
//! A worker puts it into a bounded pipe, one future on gRPC's thread sends what
//! comes out of that. A reader that is slow fills the pipe; then the worker waits
//! and does not read from PostgreSQL, whose socket fills in turn.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use grpcio::{DuplexSink, RequestStream, RpcContext};

use crate::backend::notice::{Notice, Notices};
use crate::clock;
use crate::core::budget::Held;
use crate::error::Error;
use crate::pool::caller::Caller;
use crate::pool::listen::{Letter, Listening};
use crate::pool::memory::Room;
use crate::pool::requests::reply::Answer;
use crate::pool::service::Service;
use crate::pool::work::outlet::{Interrupt, Stalled};
use crate::pool::work::task::Executed;
use crate::proto::sql_grpc::Encoded;
use crate::proto::{Raw, Shaped};
use crate::rpc::entry::Call;
use crate::rpc::pipe::{Added, Batch, Pipe};
use crate::threads::alarms::{Alarm, Alarms};

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

    /// As an outlet has it.
    pub(super) fn open(&self, room: Room) {
        self.pipe.open(room);
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
pub(super) fn serve<Q: Shaped, R: Send + 'static>(
    service: &Service,
    ctx: &RpcContext<'_>,
    requests: RequestStream<Raw<Q>>,
    sink: DuplexSink<Encoded>,
    ask: impl FnOnce(&Service, Q, &Arc<Caller>) -> Result<Asked<R>, Error> + Send + 'static,
) {
    let asked = service.clone();
    Call::serve(service, ctx, requests, sink, |mut call| async move {
        match call.request(move |request, caller| ask(&asked, request, caller)).await {
            Ok(asked) => pump(call, asked).await,
            Err(ended) => call.end(ended).await,
        }
    });
}

/// A reader that takes nothing has its statement cancelled once the pipe has been full
/// for as long as is allowed. It has as long again to take what is left and the reason.
const LAST: u32 = 2;

/// Sends what comes, and at last how it ended.
async fn pump<Q: Shaped, R>(mut call: Call<Q, Encoded>, asked: Asked<R>) {
    let Asked { inflow, answer, trailer, held: _held } = asked;
    // The memory of what the client has not taken yet.
    let mut unsent = Held::default();
    loop {
        let next = poll_fn(|cx| match call.poll_room(cx, LAST) {
            Poll::Ready(Ok(())) => {
                unsent = Held::default();
                inflow.pipe.poll_next(cx, inflow.seal).map(Ok)
            }
            Poll::Ready(Err(ended)) => Poll::Ready(Err(ended)),
            Poll::Pending => Poll::Pending,
        });
        let sent = match next.await {
            Ok(Some((message, held))) => {
                unsent = held;
                call.send(Encoded(message))
            }
            Ok(None) => break,
            Err(ended) => Err(ended),
        };
        if let Err(ended) = sent {
            return call.end(ended).await;
        }
    }
    match call.wait(answer).await {
        // Whether it arrives changes nothing.
        Ok(executed) => drop(call.finish(Encoded(trailer(executed))).await),
        Err(ended) => call.end(ended).await,
    }
}

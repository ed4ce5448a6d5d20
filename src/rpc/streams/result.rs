//! A result on its way to its reader.
//!
//! A worker writes into a bounded pipe, and one future on gRPC's thread sends what
//! comes out. A slow reader fills the pipe; then the worker waits and does not read
//! from PostgreSQL, whose socket fills in turn.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::backend::notice::{Notice, Notices};
use crate::backend::session::RunError;
use crate::clock;
use crate::core::budget::Held;
use crate::pool::listen::Letter;
use crate::pool::memory::Room;
use crate::pool::service::Service;
use crate::pool::work::outlet::{Interrupt, RowSink, Stalled};
use crate::rpc::streams::pipe::{Added, Batch, Pipe};
use crate::threads::alarms::{Alarm, Alarms};

/// A batch is sent when it has reached this size,
const BATCH_BYTES: usize = 64 << 10;
/// or has waited this long.
const BATCH_WAIT: Duration = Duration::from_millis(20);

/// Makes a message of a batch.
pub(in crate::rpc) type EncodeBatch = fn(Batch) -> Vec<u8>;

/// The worker's end. Dropping it ends the result.
pub(in crate::rpc) struct ResultWriter {
    pipe: Pipe,
    encode_batch: EncodeBatch,
    alarms: Alarms,
    /// Flushes the batch after `BATCH_WAIT`.
    flush_alarm: Option<Alarm>,
    /// The result is abandoned if its reader takes nothing for this long.
    stall: Duration,
}

/// The reader's end. Dropping it closes the pipe.
pub(in crate::rpc) struct ResultReader {
    pipe: Pipe,
    encode_batch: EncodeBatch,
}

impl ResultWriter {
    /// Both ends of a new pipe, bounded by the limits of the service.
    pub(in crate::rpc) fn new(
        service: &Service,
        encode_batch: EncodeBatch,
    ) -> (ResultWriter, ResultReader) {
        let pipe = Pipe::default();
        let context = service.context();
        let writer = ResultWriter {
            pipe: pipe.clone(),
            encode_batch,
            alarms: context.tools.alarms.clone(),
            flush_alarm: None,
            stall: context.live().limits.stall_timeout,
        };
        (writer, ResultReader { pipe, encode_batch })
    }

    /// Adds a row or a piece to the batch. Returns false if the reader wants nothing more.
    pub(in crate::rpc) fn add(&mut self, bytes: &[u8]) -> bool {
        let add = |batch: &mut Batch| {
            batch.bytes.extend_from_slice(bytes);
            batch.rows += 1;
        };
        let added = self.pipe.add(add, BATCH_BYTES, self.encode_batch);
        if added == Added::First {
            let pipe = self.pipe.clone();
            let alarm = self.alarms.set(clock::now() + BATCH_WAIT, move || pipe.flush_soon());
            self.flush_alarm = Some(alarm);
        }
        added != Added::Dropped
    }

    /// True as long as what is added is not dropped.
    pub(in crate::rpc) fn is_wanted(&self) -> bool {
        !self.pipe.is_closed()
    }

    /// Adds a message, after what is in the batch.
    pub(in crate::rpc) fn push(&self, message: Vec<u8>) {
        self.pipe.push(message, self.encode_batch);
    }

    /// Adds a message that other readers share.
    pub(in crate::rpc) fn post(&self, letter: Letter) {
        self.pipe.post(letter);
    }

    /// Adds the new notices as messages of their own.
    pub(in crate::rpc) fn push_notices(&self, fresh: &Notices, message: fn(Notice) -> Vec<u8>) {
        if fresh.any() {
            fresh.take().into_iter().for_each(|notice| self.push(message(notice)));
        }
    }

    /// The cost of the messages that wait for the reader, in bytes.
    pub(in crate::rpc) fn backlog(&self) -> usize {
        self.pipe.backlog()
    }

    /// Since when the reader has taken nothing of what waits.
    pub(in crate::rpc) fn waits_since(&self) -> Option<Instant> {
        self.pipe.waits_since()
    }

    /// Ends the result and drops what waits.
    pub(in crate::rpc) fn close(&self) {
        self.pipe.close();
    }

    /// Ends the result, as dropping does.
    pub(in crate::rpc) fn end(&self) {
        self.pipe.end(self.encode_batch);
    }
}

impl RowSink for ResultWriter {
    fn open(&mut self, room: Room) {
        self.pipe.open(room);
    }

    fn is_full(&self) -> bool {
        self.pipe.is_full()
    }

    fn wait(&mut self) -> Result<(), Stalled> {
        self.pipe.wait(self.stall)
    }

    fn problem(&mut self) -> Option<RunError> {
        None
    }

    fn interrupter(&self) -> Interrupt {
        let pipe = self.pipe.clone();
        Box::new(move || pipe.close())
    }
}

impl Drop for ResultWriter {
    fn drop(&mut self) {
        self.end();
    }
}

impl ResultReader {
    /// The next message, and its memory until it is sent; `None` after the last.
    pub(in crate::rpc) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<(Vec<u8>, Held)>> {
        self.pipe.poll_next(cx, self.encode_batch)
    }
}

impl Drop for ResultReader {
    fn drop(&mut self) {
        // The worker must not wait for a call that has ended.
        self.pipe.close();
    }
}

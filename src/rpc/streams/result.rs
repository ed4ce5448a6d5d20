//! A result on its way to its reader.
//!
//! A worker puts it into a bounded pipe, one future on gRPC's thread sends what
//! comes out of that. A reader that is slow fills the pipe; then the worker waits
//! and does not read from PostgreSQL, whose socket fills in turn.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::backend::notice::{Notice, Notices};
use crate::clock;
use crate::core::budget::Held;
use crate::threads::alarms::{Alarm, Alarms};
use crate::pool::listen::Letter;
use crate::pool::memory::Room;
use crate::pool::work::outlet::{Interrupt, Stalled};
use crate::pool::service::Service;
use crate::rpc::streams::pipe::{Added, Batch, Pipe};

/// A batch is sent when it has so many bytes,
const BATCH_BYTES: usize = 64 << 10;
/// or has waited for so long.
const BATCH_WAIT: Duration = Duration::from_millis(20);

/// Makes a message of a batch.
pub(in crate::rpc) type Seal = fn(Batch) -> Vec<u8>;

/// The worker's end. Dropped, it says that no more comes.
pub(in crate::rpc) struct Outflow {
    pipe: Pipe,
    seal: Seal,
    alarms: Alarms,
    /// Lets the batch go when it has waited for long enough.
    ripening: Option<Alarm>,
    /// A reader that takes nothing for so long is given up.
    stall: Duration,
}

/// The reader's end.
pub(in crate::rpc) struct Inflow {
    pipe: Pipe,
    seal: Seal,
}

impl Outflow {
    /// Both ends.
    pub(in crate::rpc) fn new(service: &Service, seal: Seal) -> (Outflow, Inflow) {
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
    pub(in crate::rpc) fn open(&self, room: Room) {
        self.pipe.open(room);
    }

    /// Adds something to the batch. False: nothing is wanted any more.
    pub(in crate::rpc) fn add(&mut self, bytes: &[u8]) -> bool {
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
    pub(in crate::rpc) fn is_wanted(&self) -> bool {
        !self.pipe.is_closed()
    }

    /// Adds a message of its own.
    pub(in crate::rpc) fn push(&self, message: Vec<u8>) {
        self.pipe.push(message, self.seal);
    }

    /// Adds a message that others have, too.
    pub(in crate::rpc) fn post(&self, letter: Letter) {
        self.pipe.post(letter);
    }

    /// Adds the notices that have come.
    pub(in crate::rpc) fn notices(&self, fresh: &Notices, message: fn(Notice) -> Vec<u8>) {
        if fresh.any() {
            fresh.take().into_iter().for_each(|notice| self.push(message(notice)));
        }
    }

    /// What messages cost that wait for the reader.
    pub(in crate::rpc) fn backlog(&self) -> usize {
        self.pipe.backlog()
    }

    /// Since when the reader has taken nothing of what waits.
    pub(in crate::rpc) fn waits_since(&self) -> Option<Instant> {
        self.pipe.waits_since()
    }

    /// No more comes, and what waits is dropped.
    pub(in crate::rpc) fn close(&self) {
        self.pipe.close();
    }

    /// No more comes; as when dropped.
    pub(in crate::rpc) fn end(&self) {
        self.pipe.end(self.seal);
    }

    /// As an outlet has it.
    pub(in crate::rpc) fn is_full(&self) -> bool {
        self.pipe.is_full()
    }

    /// As an outlet has it.
    pub(in crate::rpc) fn wait(&self) -> Result<(), Stalled> {
        self.pipe.wait(self.stall)
    }

    /// As an outlet has it.
    pub(in crate::rpc) fn interrupter(&self) -> Interrupt {
        let pipe = self.pipe.clone();
        Box::new(move || pipe.close())
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        self.end();
    }
}

impl Inflow {
    /// The next message, and its memory until it is sent; `None` after the last.
    pub(in crate::rpc) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<(Vec<u8>, Held)>> {
        self.pipe.poll_next(cx, self.seal)
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        // However the call ends, the worker is not to wait for it.
        self.pipe.close();
    }
}

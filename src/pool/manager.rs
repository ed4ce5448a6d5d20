//! r2d2's view of backends: it keeps the books, it does not open connections.
//!
//! r2d2 left alone retries a wrong password for ever and opens behind the gate's
//! back. So a worker opens (`connect.rs`), puts the result on the stash, and the
//! pool's `connect` only takes what lies there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use r2d2::ManageConnection;

use crate::backend::session::Backend;
use crate::core::servers::SeatId;
use crate::lock::Leaf;
use crate::pool::open_backends::OpenCount;
use crate::pool::servers::Seat;

/// A backend as the pool keeps it.
pub struct Slot {
    pub backend: Box<dyn Backend>,
    /// Cleared when the backend is taken, set only by a checked reset: a panic,
    /// an early return or a forgotten path leaves it cleared, and it is closed.
    pub clean: bool,
    /// When it is due to be replaced by a younger one.
    pub retire_at: Instant,
    /// When it last came back.
    pub idle_since: Instant,
    /// When it last answered.
    pub answered_at: Instant,
    /// Of an older generation than its tenant's it is in doubt.
    pub generation: u64,
    /// Let it say goodbye when it is dropped, which is a write that can block:
    /// only under a watchdog. Otherwise it is broken off.
    pub close_gracefully: bool,
    /// Its seat at its server.
    pub seat: Option<SeatId>,
    /// Counts it as open, and has its seat; dropped last.
    pub(super) open: (OpenCount, Option<Seat>),
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The driver's own drop waits for unread results; an aborted stream does
        // not. But PostgreSQL logs every client that leaves without a goodbye.
        if !self.close_gracefully {
            self.backend.watch().abort_now();
        }
    }
}

/// Backends that were opened and wait for the pool to take them in.
pub type Stash = Arc<Leaf<VecDeque<Box<Slot>>>>;

/// The manager of one tenant's pool.
pub struct Manager {
    stash: Stash,
}

/// Nothing lies on the stash; only a defect of ours can lead here.
#[derive(Debug)]
pub struct NothingOpened;

impl std::fmt::Display for NothingOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no opened backend is ready to be taken in")
    }
}

impl std::error::Error for NothingOpened {}

impl Manager {
    /// A manager that takes from `stash`.
    pub fn new(stash: Stash) -> Manager {
        Manager { stash }
    }
}

impl ManageConnection for Manager {
    /// Apart, as r2d2 makes room beforehand for as many of them as there may be.
    type Connection = Box<Slot>;
    type Error = NothingOpened;

    fn connect(&self) -> Result<Box<Slot>, NothingOpened> {
        let mut stash = self.stash.lock();
        stash.pop_front().ok_or(NothingOpened)
    }

    /// Never called by the pool (`test_on_check_out` is off): the tenant checks
    /// with a time limit of its own.
    fn is_valid(&self, _: &mut Box<Slot>) -> Result<(), NothingOpened> {
        Ok(())
    }

    fn has_broken(&self, slot: &mut Box<Slot>) -> bool {
        !slot.clean || slot.backend.is_closed()
    }
}

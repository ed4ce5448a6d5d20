//! A bounded queue of data from gRPC's thread to a worker.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::backend::copy::Piece;
use crate::clock;
use crate::core::budget::Held;
use crate::error::{CancelCause, RequestError};
use crate::lock::Leaf;
use crate::pool::memory::Room;
use crate::pool::work::outlet::{self, Interrupt};

/// While so many bytes wait for the worker, no more is read from the client. One message
/// may exceed it.
const WAITING_BYTES: usize = 1 << 20;
/// What a piece costs besides its bytes.
const PIECE_BYTES: usize = 64;

/// The end of gRPC's thread, which adds data. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::rpc) struct Intake(Arc<IntakeShared>);

#[derive(Default)]
struct IntakeShared {
    state: Leaf<IntakeState>,
    /// A piece was added, or the data has ended.
    changed: Condvar,
}

#[derive(Default)]
struct IntakeState {
    pieces: VecDeque<(Vec<u8>, Held)>,
    bytes: usize,
    /// Where the pieces count; `None` before the COPY has its session.
    room: Option<Room>,
    end: Option<DataEnd>,
    /// Waits for room.
    sender: Option<Waker>,
}

/// How the data ends. The first end counts; an abort also drops the pieces that wait.
#[derive(Clone, Copy)]
enum DataEnd {
    Finished,
    /// For this cause; `None` if the operation itself was interrupted.
    Aborted(Option<CancelCause>),
}

impl Intake {
    /// Ready if one more message may be read. Pending before the COPY has its session, so that
    /// data which waits for one stays with the client.
    pub(in crate::rpc) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        // A piece that is not counted, for want of memory, must be taken first.
        let counted = state.pieces.back().is_none_or(|(_, held)| held.bytes() > 0);
        let open = state.room.is_some() && counted && state.bytes < WAITING_BYTES;
        if open || state.end.is_some() {
            return Poll::Ready(());
        }
        state.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Adds data, which is dropped after the end.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(in crate::rpc) fn push(&self, data: Vec<u8>) -> Result<(), RequestError> {
        let mut state = self.0.state.lock();
        if state.end.is_none() && !data.is_empty() {
            let bytes = data.len() + PIECE_BYTES;
            let held = match &state.room {
                Some(room) => room.take(data.capacity() + PIECE_BYTES)?,
                None => Held::default(),
            };
            state.bytes += bytes;
            state.pieces.push_back((data, held));
        }
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Called when the COPY has its session; its data counts in `room`.
    fn open(&self, room: Room) {
        let mut state = self.0.state.lock();
        state.room = Some(room);
        let sender = state.sender.take();
        drop(state);
        // Waking may end in gRPC.
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// Ends the data: all of it was added.
    pub(in crate::rpc) fn finish(&self) {
        self.0.state.lock().end.get_or_insert(DataEnd::Finished);
        self.0.changed.notify_one();
    }

    /// Aborts the data, unless it was finished before.
    pub(in crate::rpc) fn abort(&self, cause: CancelCause) {
        self.end(Some(cause));
    }

    fn end(&self, cause: Option<CancelCause>) {
        let mut state = self.0.state.lock();
        let dropped = if state.end.is_none() {
            state.end = Some(DataEnd::Aborted(cause));
            state.bytes = 0;
            std::mem::take(&mut state.pieces)
        } else {
            VecDeque::new()
        };
        drop(state);
        drop(dropped);
        self.0.changed.notify_one();
    }

    /// The worker's end. It fails if the client sends nothing for `stall`.
    pub(in crate::rpc) fn reader(&self, stall: Duration) -> IntakeReader {
        IntakeReader { intake: self.clone(), stall, held: Held::default() }
    }

    fn next(&self, stall: Duration) -> Result<(Piece, Held), Option<CancelCause>> {
        let until = clock::now() + stall;
        let mut state = self.0.state.lock();
        loop {
            if let Some((piece, held)) = state.pieces.pop_front() {
                state.bytes -= piece.len() + PIECE_BYTES;
                let sender = state.sender.take();
                drop(state);
                // Waking may end in gRPC.
                if let Some(sender) = sender {
                    sender.wake();
                }
                return Ok((Piece::Data(piece), held));
            }
            match state.end {
                Some(DataEnd::Finished) => return Ok((Piece::Finish, Held::default())),
                Some(DataEnd::Aborted(cause)) => return Err(cause),
                None => {}
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Err(Some(CancelCause::Stalled));
            }
            state = state.wait(&self.0.changed, left);
        }
    }
}

/// The worker's end, which takes data. Dropping it ends the intake.
pub(in crate::rpc) struct IntakeReader {
    intake: Intake,
    stall: Duration,
    /// The memory of the piece that is being sent.
    held: Held,
}

impl outlet::DataSource for IntakeReader {
    fn open(&mut self, room: Room) {
        self.intake.open(room);
    }

    fn next(&mut self) -> Result<Piece, Option<CancelCause>> {
        self.held = Held::default();
        let (piece, held) = self.intake.next(self.stall)?;
        self.held = held;
        Ok(piece)
    }

    fn interrupter(&self) -> Interrupt {
        let intake = self.intake.clone();
        Box::new(move || intake.end(None))
    }
}

impl Drop for IntakeReader {
    fn drop(&mut self) {
        // The worker has left: what is added is dropped.
        self.intake.end(None);
    }
}

#[cfg(test)]
mod tests;

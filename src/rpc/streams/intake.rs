//! Data on its way from gRPC's thread to a worker: bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::backend::copy::Piece;
use crate::clock;
use crate::core::budget::Held;
use crate::error::{CancelCause, Error};
use crate::pool::memory::Room;
use crate::pool::work::outlet::{self, Interrupt};

/// While so much waits for the worker, no more is read from the client. One more
/// message may come on top.
const WAITING_BYTES: usize = 1 << 20;
/// What a piece costs besides its bytes.
const PIECE_BYTES: usize = 64;

/// Both ends. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::rpc) struct Intake(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// A leaf lock: held while pieces are moved.
    state: Mutex<State>,
    /// Something came, or nothing more will.
    news: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<(Vec<u8>, Held)>,
    bytes: usize,
    /// Where they count; none before the COPY has its session.
    room: Option<Room>,
    end: Option<End>,
    writer: Option<Waker>,
}

/// How the data ends. The first end counts, but an abort drops what waits.
#[derive(Clone, Copy)]
enum End {
    Finished,
    /// For this cause; none if the operation itself was interrupted.
    Aborted(Option<CancelCause>),
}

impl Intake {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between the steps below, which do not panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready if one more message may be read: not before the COPY has its session, so
    /// that what waits for one costs its client.
    pub(in crate::rpc) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        // One for which there was no memory has to go first.
        let counted = state.pieces.back().is_none_or(|(_, held)| held.bytes() > 0);
        let open = state.room.is_some() && counted && state.bytes < WAITING_BYTES;
        if open || state.end.is_some() {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Adds data.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(in crate::rpc) fn push(&self, data: Vec<u8>) -> Result<(), Error> {
        let mut state = self.lock();
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
        self.0.news.notify_one();
        Ok(())
    }

    /// The COPY has its session, and its data counts in `room`.
    fn open(&self, room: Room) {
        let mut state = self.lock();
        state.room = Some(room);
        let writer = state.writer.take();
        drop(state);
        // Waking may end in gRPC.
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// All data was added.
    pub(in crate::rpc) fn finish(&self) {
        self.lock().end.get_or_insert(End::Finished);
        self.0.news.notify_one();
    }

    /// Aborts the data, unless it was finished before.
    pub(in crate::rpc) fn abort(&self, cause: CancelCause) {
        self.end(Some(cause));
    }

    fn end(&self, cause: Option<CancelCause>) {
        let mut state = self.lock();
        let dropped = if state.end.is_none() {
            state.end = Some(End::Aborted(cause));
            state.bytes = 0;
            std::mem::take(&mut state.pieces)
        } else {
            VecDeque::new()
        };
        drop(state);
        drop(dropped);
        self.0.news.notify_one();
    }

    /// The worker's end. A client that sends nothing for `stall` is given up.
    pub(in crate::rpc) fn inlet(&self, stall: Duration) -> Inlet {
        Inlet { intake: self.clone(), stall, held: Held::default() }
    }

    fn next(&self, stall: Duration) -> Result<(Piece, Held), Option<CancelCause>> {
        let until = clock::now() + stall;
        let mut state = self.lock();
        loop {
            if let Some((piece, held)) = state.pieces.pop_front() {
                state.bytes -= piece.len() + PIECE_BYTES;
                let writer = state.writer.take();
                drop(state);
                // Waking may end in gRPC.
                if let Some(writer) = writer {
                    writer.wake();
                }
                return Ok((Piece::Data(piece), held));
            }
            match state.end {
                Some(End::Finished) => return Ok((Piece::Finish, Held::default())),
                Some(End::Aborted(cause)) => return Err(cause),
                None => {}
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Err(Some(CancelCause::Stalled));
            }
            let waited = self.0.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The worker's end.
pub(in crate::rpc) struct Inlet {
    intake: Intake,
    stall: Duration,
    /// The memory of the piece that is being sent.
    held: Held,
}

impl outlet::Inlet for Inlet {
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

impl Drop for Inlet {
    fn drop(&mut self) {
        // The worker has left: what is added is dropped.
        self.intake.end(None);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::config::Limits;
    use crate::core::ids::TenantId;
    use crate::pool::memory::{Memory, Use};
    use crate::pool::work::outlet::Inlet as _;

    const ENOUGH: usize = 8 << 20;

    /// Memory for so many bytes, and both ends of a COPY that has its session.
    fn opened(bytes: usize, stall: Duration) -> (Memory, Intake, Inlet) {
        let memory = Memory::new(&Limits { memory_bytes: 2 * bytes, ..Limits::default() });
        let intake = Intake::default();
        let mut inlet = intake.inlet(stall);
        let tenant = TenantId::parse("t").expect("a good name");
        inlet.open(memory.room(Use::ReadAhead, &[], &tenant));
        (memory, intake, inlet)
    }

    fn push(intake: &Intake, data: Vec<u8>) {
        intake.push(data).expect("there is memory");
    }

    fn has_room(intake: &Intake) -> bool {
        let ready = poll_fn(|cx| Poll::Ready(intake.poll_room(cx).is_ready()));
        futures_executor::block_on(ready)
    }

    #[test]
    fn data_comes_in_order_and_then_its_end() {
        let (_memory, intake, mut inlet) = opened(ENOUGH, Duration::ZERO);
        push(&intake, vec![1]);
        push(&intake, vec![]);
        push(&intake, vec![2, 3]);
        intake.finish();
        intake.abort(CancelCause::Caller);
        assert_eq!(inlet.next(), Ok(Piece::Data(vec![1])));
        assert_eq!(inlet.next(), Ok(Piece::Data(vec![2, 3])));
        assert_eq!(inlet.next(), Ok(Piece::Finish));
    }

    #[test]
    fn nothing_is_read_before_there_is_a_session() {
        let intake = Intake::default();
        let inlet = intake.inlet(Duration::ZERO);
        assert!(!has_room(&intake));
        // One that gets none hears the end.
        drop(inlet);
        assert!(has_room(&intake));
    }

    #[test]
    fn without_memory_it_goes_on_with_one_small_piece_at_a_time() {
        let (memory, intake, mut inlet) = opened(100 << 10, Duration::ZERO);
        push(&intake, vec![0; 80 << 10]);
        assert!(has_room(&intake));
        assert!(intake.push(vec![0; 80 << 10]).is_err(), "a large one");
        push(&intake, vec![0; 60 << 10]);
        assert!(!has_room(&intake));
        assert!(inlet.next().is_ok());
        assert_eq!(memory.total().used(), (80 << 10) + PIECE_BYTES, "it is still being sent");
        assert!(!has_room(&intake));
        assert!(inlet.next().is_ok());
        assert!(has_room(&intake));
        assert_eq!(memory.total().used(), 0);
    }

    #[test]
    fn what_a_copy_holds_comes_back_however_it_ends() {
        for end in [|intake: &Intake| intake.abort(CancelCause::Caller), |_: &Intake| ()] {
            let (memory, intake, inlet) = opened(ENOUGH, Duration::ZERO);
            push(&intake, vec![0; 1000]);
            assert_eq!(memory.of(Use::ReadAhead).used(), 1000 + PIECE_BYTES);
            end(&intake);
            drop((intake, inlet));
            assert_eq!(memory.total().used(), 0);
        }
    }

    #[test]
    fn an_abort_drops_what_waits_and_says_why() {
        let (_memory, intake, mut inlet) = opened(ENOUGH, Duration::ZERO);
        assert_eq!(inlet.next(), Err(Some(CancelCause::Stalled)));
        push(&intake, vec![1]);
        intake.abort(CancelCause::Unfinished);
        intake.finish();
        assert_eq!(inlet.next(), Err(Some(CancelCause::Unfinished)));
        let (_memory, _intake, mut inlet) = opened(ENOUGH, Duration::ZERO);
        inlet.interrupter()();
        assert_eq!(inlet.next(), Err(None));
    }

    #[test]
    fn there_is_room_until_so_much_waits_and_again_when_it_was_taken() {
        let (_memory, intake, mut inlet) = opened(ENOUGH, Duration::ZERO);
        push(&intake, vec![0; WAITING_BYTES - PIECE_BYTES - 1]);
        assert!(has_room(&intake));
        push(&intake, vec![0; 5]);
        assert!(!has_room(&intake));
        assert!(inlet.next().is_ok());
        assert!(has_room(&intake));
        drop(inlet);
        push(&intake, vec![0; WAITING_BYTES]);
        assert!(has_room(&intake));
    }

    #[test]
    fn many_small_pieces_weigh_what_they_cost() {
        let (_memory, intake, mut inlet) = opened(ENOUGH, Duration::ZERO);
        let room = (0..).take_while(|_| has_room(&intake)).inspect(|_| push(&intake, vec![1]));
        assert_eq!(room.count(), WAITING_BYTES / (PIECE_BYTES + 1) + 1);
        while !has_room(&intake) {
            assert!(inlet.next().is_ok());
        }
        intake.abort(CancelCause::Caller);
        assert!(has_room(&intake));
    }

    #[test]
    fn the_one_who_waits_for_room_is_woken_when_there_is_some() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        #[derive(Default)]
        struct Count(AtomicUsize);
        impl futures_util::task::ArcWake for Count {
            fn wake_by_ref(woken: &Arc<Self>) {
                woken.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::<Count>::default();
        let waker = futures_util::task::waker(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let (_memory, intake, mut inlet) = opened(ENOUGH, Duration::ZERO);
        push(&intake, vec![0; WAITING_BYTES]);
        assert!(intake.poll_room(&mut cx).is_pending());
        assert!(inlet.next().is_ok());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn whoever_waits_for_data_hears_of_each_thing_that_comes() {
        let long = Duration::from_secs(60);
        for end in [Intake::finish, |intake: &Intake| intake.abort(CancelCause::Caller)] {
            let (_memory, intake, mut inlet) = opened(ENOUGH, long);
            std::thread::scope(|threads| {
                let heard = threads.spawn(move || (inlet.next(), inlet.next()));
                push(&intake, vec![1]);
                end(&intake);
                let (first, last) = heard.join().expect("no panic");
                // An abort drops what waits.
                assert!(matches!(first, Ok(Piece::Data(_)) | Err(Some(CancelCause::Caller))));
                assert!(matches!(last, Ok(Piece::Finish) | Err(Some(CancelCause::Caller))));
            });
        }
    }
}

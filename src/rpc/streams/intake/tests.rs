//! Data that goes into an intake and comes out.

use std::future::poll_fn;

use super::*;
use crate::config::Limits;
use crate::core::ids::TenantId;
use crate::pool::memory::{Memory, Use};
use crate::pool::work::outlet::DataSource as _;

const ENOUGH: usize = 8 << 20;

/// Memory for so many bytes, and both ends of a COPY that has its session.
fn opened(bytes: usize, stall: Duration) -> (Memory, Intake, IntakeReader) {
    let memory = Memory::new(&Limits { memory_bytes: 2 * bytes, ..Limits::default() });
    let intake = Intake::default();
    let mut reader = intake.reader(stall);
    let tenant = TenantId::parse("t").expect("a good name");
    reader.open(memory.room(Use::ReadAhead, &[], &tenant));
    (memory, intake, reader)
}

fn push(intake: &Intake, data: Vec<u8>) {
    intake.push(data).expect("there is memory");
}

fn has_room(intake: &Intake) -> bool {
    let ready = poll_fn(|cx| Poll::Ready(intake.poll_room(cx).is_ready()));
    futures_executor::block_on(ready)
}

#[test]
fn data_arrives_in_order_and_then_its_end() {
    let (_memory, intake, mut reader) = opened(ENOUGH, Duration::ZERO);
    push(&intake, vec![1]);
    push(&intake, vec![]);
    push(&intake, vec![2, 3]);
    intake.finish();
    intake.abort(CancelCause::Caller);
    assert_eq!(reader.next(), Ok(Piece::Data(vec![1])));
    assert_eq!(reader.next(), Ok(Piece::Data(vec![2, 3])));
    assert_eq!(reader.next(), Ok(Piece::Finish));
}

#[test]
fn nothing_is_read_before_there_is_a_session() {
    let intake = Intake::default();
    let reader = intake.reader(Duration::ZERO);
    assert!(!has_room(&intake));
    // One that gets none receives the end.
    drop(reader);
    assert!(has_room(&intake));
}

#[test]
fn without_memory_it_takes_one_small_piece_at_a_time() {
    let (memory, intake, mut reader) = opened(100 << 10, Duration::ZERO);
    push(&intake, vec![0; 80 << 10]);
    assert!(has_room(&intake));
    assert!(intake.push(vec![0; 80 << 10]).is_err(), "a large one");
    push(&intake, vec![0; 60 << 10]);
    assert!(!has_room(&intake));
    assert!(reader.next().is_ok());
    assert_eq!(memory.total().used(), (80 << 10) + PIECE_BYTES, "it is still being sent");
    assert!(!has_room(&intake));
    assert!(reader.next().is_ok());
    assert!(has_room(&intake));
    assert_eq!(memory.total().used(), 0);
}

#[test]
fn the_memory_of_a_copy_is_freed_however_it_ends() {
    for end in [|intake: &Intake| intake.abort(CancelCause::Caller), |_: &Intake| ()] {
        let (memory, intake, reader) = opened(ENOUGH, Duration::ZERO);
        push(&intake, vec![0; 1000]);
        assert_eq!(memory.of(Use::ReadAhead).used(), 1000 + PIECE_BYTES);
        end(&intake);
        drop((intake, reader));
        assert_eq!(memory.total().used(), 0);
    }
}

#[test]
fn an_abort_drops_what_waits_and_returns_the_cause() {
    let (_memory, intake, mut reader) = opened(ENOUGH, Duration::ZERO);
    assert_eq!(reader.next(), Err(Some(CancelCause::Stalled)));
    push(&intake, vec![1]);
    intake.abort(CancelCause::Unfinished);
    intake.finish();
    assert_eq!(reader.next(), Err(Some(CancelCause::Unfinished)));
    let (_memory, _intake, mut reader) = opened(ENOUGH, Duration::ZERO);
    reader.interrupter()();
    assert_eq!(reader.next(), Err(None));
}

#[test]
fn there_is_room_until_so_much_waits_and_again_when_it_was_taken() {
    let (_memory, intake, mut reader) = opened(ENOUGH, Duration::ZERO);
    push(&intake, vec![0; WAITING_BYTES - PIECE_BYTES - 1]);
    assert!(has_room(&intake));
    push(&intake, vec![0; 5]);
    assert!(!has_room(&intake));
    assert!(reader.next().is_ok());
    assert!(has_room(&intake));
    drop(reader);
    push(&intake, vec![0; WAITING_BYTES]);
    assert!(has_room(&intake));
}

#[test]
fn many_small_pieces_count_what_they_cost() {
    let (_memory, intake, mut reader) = opened(ENOUGH, Duration::ZERO);
    let room = (0..).take_while(|_| has_room(&intake)).inspect(|_| push(&intake, vec![1]));
    assert_eq!(room.count(), WAITING_BYTES / (PIECE_BYTES + 1) + 1);
    while !has_room(&intake) {
        assert!(reader.next().is_ok());
    }
    intake.abort(CancelCause::Caller);
    assert!(has_room(&intake));
}

#[test]
fn a_sender_that_waits_for_room_is_woken() {
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
    let (_memory, intake, mut reader) = opened(ENOUGH, Duration::ZERO);
    push(&intake, vec![0; WAITING_BYTES]);
    assert!(intake.poll_room(&mut cx).is_pending());
    assert!(reader.next().is_ok());
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_reader_that_waits_receives_each_piece_and_the_end() {
    let long = Duration::from_secs(60);
    for end in [Intake::finish, |intake: &Intake| intake.abort(CancelCause::Caller)] {
        let (_memory, intake, mut reader) = opened(ENOUGH, long);
        std::thread::scope(|threads| {
            let heard = threads.spawn(move || (reader.next(), reader.next()));
            push(&intake, vec![1]);
            end(&intake);
            let (first, last) = heard.join().expect("no panic");
            // An abort drops what waits.
            assert!(matches!(first, Ok(Piece::Data(_)) | Err(Some(CancelCause::Caller))));
            assert!(matches!(last, Ok(Piece::Finish) | Err(Some(CancelCause::Caller))));
        });
    }
}

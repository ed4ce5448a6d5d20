//! What goes into a pipe and what comes out.

use std::future::poll_fn;

use super::*;
use crate::config::Limits;
use crate::core::ids::TenantId;
use crate::pool::memory::{Memory, Use};

fn encode_batch(batch: Batch) -> Vec<u8> {
    batch.bytes
}

fn add(pipe: &Pipe, byte: u8) -> Added {
    let one = |batch: &mut Batch| {
        batch.bytes.push(byte);
        batch.rows += 1;
    };
    pipe.add(one, 2, encode_batch)
}

fn next(pipe: &Pipe) -> Option<Option<Vec<u8>>> {
    let polled = poll_fn(|cx| match pipe.poll_next(cx, encode_batch) {
        Poll::Ready(next) => Poll::Ready(Some(next.map(|(bytes, _)| bytes))),
        Poll::Pending => Poll::Ready(None),
    });
    futures_executor::block_on(polled)
}

#[test]
fn messages_arrive_in_order_full_or_flushed_and_then_the_end() {
    let pipe = Pipe::default();
    assert_eq!(add(&pipe, 1), Added::First);
    assert_eq!(next(&pipe), None);
    assert_eq!(add(&pipe, 2), Added::More);
    assert_eq!(next(&pipe), Some(Some(vec![1, 2])));
    assert_eq!(add(&pipe, 3), Added::First);
    pipe.flush_soon();
    assert_eq!(next(&pipe), Some(Some(vec![3])));
    add(&pipe, 4);
    pipe.push(vec![9], encode_batch);
    add(&pipe, 5);
    pipe.end(encode_batch);
    for message in [4, 9, 5] {
        assert_eq!(next(&pipe), Some(Some(vec![message])));
    }
    assert_eq!(next(&pipe), Some(None));
}

#[test]
fn a_full_pipe_stalls_until_it_is_read_or_closed() {
    let pipe = Pipe::default();
    for byte in 0..4 {
        add(&pipe, byte);
    }
    assert!(pipe.is_full());
    assert_eq!(pipe.wait(Duration::ZERO), Err(Stalled));
    assert!(next(&pipe).is_some());
    assert_eq!(pipe.wait(Duration::ZERO), Ok(()));
    add(&pipe, 5);
    add(&pipe, 6);
    assert!(pipe.is_full());
    pipe.close();
    assert_eq!(pipe.wait(Duration::ZERO), Ok(()));
    assert!(pipe.is_closed());
    assert_eq!(add(&pipe, 7), Added::Dropped);
    assert_eq!(next(&pipe), Some(None));
}

#[test]
fn the_backlog_is_what_waits_however_small_it_is() {
    let pipe = Pipe::default();
    for length in [0, 100] {
        pipe.push(vec![0; length], encode_batch);
    }
    assert_eq!(pipe.backlog(), 100 + 2 * MESSAGE_BYTES);
    let since = pipe.waits_since();
    assert!(since.is_some() && next(&pipe).is_some());
    assert_eq!(pipe.backlog(), 100 + MESSAGE_BYTES);
    assert!(pipe.waits_since() >= since, "it has taken something");
    assert!(next(&pipe).is_some());
    assert_eq!((pipe.backlog(), pipe.waits_since()), (0, None));
    pipe.push(vec![1], encode_batch);
    pipe.close();
    assert_eq!((pipe.backlog(), pipe.waits_since()), (0, None));
}

#[test]
fn what_waits_counts_until_it_is_sent_or_dropped() {
    let (memory, pipe) = (Memory::new(&Limits::default()), Pipe::default());
    let tenant = TenantId::parse("t").expect("a good name");
    // What comes before there is a session counts nowhere.
    pipe.push(vec![0; 100], encode_batch);
    pipe.open(memory.room(Use::Answers, &[], &tenant));
    add(&pipe, 1);
    assert_eq!(memory.total().used(), 0, "a batch in the making is small");
    add(&pipe, 2);
    pipe.push(vec![0; 1000], encode_batch);
    let used = || memory.of(Use::Answers).used();
    let (most, batch) = (used(), used() - 1000 - MESSAGE_BYTES);
    assert!((2 + MESSAGE_BYTES..100 + MESSAGE_BYTES).contains(&batch), "{batch}");
    let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
    let mut take = || pipe.poll_next(&mut cx, encode_batch);
    assert!(take().is_ready());
    let Poll::Ready(Some((_, sending))) = take() else { panic!("a batch") };
    assert_eq!(used(), most);
    drop(sending);
    assert_eq!(used(), 1000 + MESSAGE_BYTES);
    pipe.close();
    assert_eq!(memory.total().used(), 0);
}

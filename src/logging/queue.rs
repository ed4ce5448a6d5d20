//! The lines that wait to be written, and the one loop that writes them.
//!
//! Whoever reads standard error may stand still: a log driver, a pager, a full disk. Then
//! a write blocks, and a worker, gRPC's thread or the reaper with it. So none of them
//! writes: a line goes into a bounded channel, or is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender};

use crate::clock;
use crate::core::budget::{Budget, Held, Share};

/// Lines that wait. At 250 bytes a line they fill [`BYTES`].
const LINES: usize = 8192;
/// Bytes of lines that wait: seconds of a busy service's log, for a reader that pauses.
const BYTES: usize = 2 << 20;
/// While lines come without a pause, what was lost is told of after so many.
const TELL_AFTER: usize = 1000;
/// Without a line the writer looks so often for what is to be told.
const TICK: Duration = Duration::from_secs(1);

/// Where lines go in. A line is one `write`, and none ever fails or waits.
#[derive(Clone)]
pub struct Queue {
    items: Sender<Item>,
    room: Share,
    dropped: Arc<AtomicU64>,
}

/// Where they come out.
pub struct Drain {
    items: Receiver<Item>,
    dropped: Arc<AtomicU64>,
}

enum Item {
    Line(Vec<u8>, Held),
    /// All that came before it is written when it is answered.
    Flush(Sender<()>),
}

/// When the writer tells of lost lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// There will be others.
    Between,
    /// Perhaps the last one: the process is about to end.
    Last,
}

/// An empty queue.
pub fn queue() -> (Queue, Drain) {
    let (items, out) = bounded(LINES);
    let room = Share::of([Budget::new("bytes of log lines", BYTES)]);
    let dropped = Arc::<AtomicU64>::default();
    (Queue { items, room, dropped: Arc::clone(&dropped) }, Drain { items: out, dropped })
}

impl Queue {
    /// Puts a line in, or drops it.
    pub fn put(&self, line: &[u8]) {
        let held = self.room.take(line.len()).ok();
        let item = held.map(|held| Item::Line(line.to_vec(), held));
        if item.is_none_or(|item| self.items.try_send(item).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines so far are written. False: not within `limit`.
    pub fn finish(&self, limit: Duration) -> bool {
        let until = clock::now() + limit;
        let left = || until.saturating_duration_since(clock::now());
        let (tell, told) = bounded(1);
        self.items.send_timeout(Item::Flush(tell), left()).is_ok()
            && told.recv_timeout(left()).is_ok()
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    /// Nothing to do: the writer holds no line back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drain {
    /// Writes lines to `out` until no queue is left that could bring any. `tell` is called
    /// whenever all is written, and now and then between, with the number of lines that
    /// were dropped since the last time, which may be none.
    pub fn run(&self, out: &mut impl Write, mut tell: impl FnMut(u64, Moment)) {
        let (mut told, mut written) = (0, 0);
        let mut tell = |moment| {
            let dropped = self.dropped.load(Ordering::Relaxed);
            tell(dropped - told, moment);
            told = dropped;
        };
        loop {
            let item = match self.items.try_recv() {
                Ok(item) if written < TELL_AFTER => Ok(item),
                Ok(item) => {
                    written = 0;
                    tell(Moment::Between);
                    Ok(item)
                }
                Err(_) => {
                    written = 0;
                    tell(Moment::Between);
                    self.items.recv_timeout(TICK)
                }
            };
            match item {
                Ok(Item::Line(line, _held)) => {
                    written += 1;
                    if out.write_all(&line).is_err() {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Item::Flush(done)) => {
                    tell(Moment::Last);
                    // Whoever waits for it may have given up.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the drain over all that is in the queue, and returns what it wrote.
    fn written(queue: Queue, drain: &Drain) -> (String, Vec<u64>) {
        drop(queue);
        let (mut out, mut told) = (Vec::new(), Vec::new());
        drain.run(&mut out, |dropped, _| told.extend((dropped > 0).then_some(dropped)));
        (String::from_utf8(out).expect("text"), told)
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (queue, drain) = queue();
        (0..LINES).for_each(|n| queue.put(format!("{n}\n").as_bytes()));
        let expected: String = (0..LINES).map(|n| format!("{n}\n")).collect();
        assert_eq!(written(queue, &drain), (expected, vec![]));
    }

    #[test]
    fn what_has_no_room_is_dropped_and_told_of_once() {
        let (queue, drain) = queue();
        (0..LINES + 7).for_each(|_| queue.put(b"x\n"));
        assert_eq!(queue.dropped(), 7);
        let (out, told) = written(queue, &drain);
        assert_eq!((out.len(), told), (2 * LINES, vec![7]));
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes_and_give_them_back() {
        let (queue, drain) = queue();
        let long = vec![b'x'; BYTES / 4];
        (0..6).for_each(|_| queue.put(&long));
        assert_eq!(queue.dropped(), 2);
        let room = queue.room.clone();
        assert_eq!(written(queue, &drain).0.len(), BYTES);
        assert!(room.take(BYTES).is_ok(), "all bytes are back");
    }

    #[test]
    fn a_finish_waits_for_a_writer_that_writes_and_not_for_one_that_stands() {
        let (queue, drain) = queue();
        queue.put(b"x\n");
        assert!(!queue.finish(Duration::from_millis(10)), "nobody writes");
        let writer = {
            let (out, mut sink) = (queue.clone(), io::sink());
            #[allow(clippy::disallowed_methods)] // A test's own, joined below.
            let writer = std::thread::spawn(move || drain.run(&mut sink, |_, _| ()));
            assert!(out.finish(Duration::from_secs(60)));
            writer
        };
        drop(queue);
        writer.join().expect("it ended with the last queue");
    }
}

//! The queue of log lines, and the loop that writes them.
//!
//! The reader of standard error may stall: a log driver, a pager, a full disk. Then a write blocks,
//! and with it a worker, gRPC's thread or the reaper. So none of them writes: a line goes into a
//! bounded channel, or is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender};

use crate::clock;
use crate::core::budget::{Budget, Held, Share};

/// The most lines in the queue. At 250 bytes each they fill [`BYTES`].
const LINES: usize = 8192;
/// The most bytes in the queue: some seconds of a busy service's log, while a reader pauses.
const BYTES: usize = 2 << 20;
/// While lines arrive without a pause, losses are reported after this many.
const REPORT_AFTER: usize = 1000;
/// How often the writer checks for losses to report while no line arrives.
const TICK: Duration = Duration::from_secs(1);

/// The end of the queue that takes lines. A line is one `write`; none ever fails or waits.
#[derive(Clone)]
pub struct LogQueue {
    items: Sender<LogItem>,
    room: Share,
    dropped: Arc<AtomicU64>,
}

/// The end of the queue that is written out.
pub struct Drain {
    items: Receiver<LogItem>,
    dropped: Arc<AtomicU64>,
}

enum LogItem {
    Line(Vec<u8>, Held),
    /// Answered when all lines before it are written.
    Flush(Sender<()>),
}

/// When the writer reports lost lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// More reports will follow.
    Between,
    /// This may be the last report: the process is about to end.
    Last,
}

/// An empty queue.
pub fn queue() -> (LogQueue, Drain) {
    let (items, out) = bounded(LINES);
    let room = Share::of([Budget::new("bytes of log lines", BYTES)]);
    let dropped = Arc::<AtomicU64>::default();
    (LogQueue { items, room, dropped: Arc::clone(&dropped) }, Drain { items: out, dropped })
}

impl LogQueue {
    /// Adds a line, or drops it if the queue is full.
    pub fn put(&self, line: &[u8]) {
        let held = self.room.take(line.len()).ok();
        let item = held.map(|held| LogItem::Line(line.to_vec(), held));
        if item.is_none_or(|item| self.items.try_send(item).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines so far are written. False: they were not within `limit`.
    pub fn finish(&self, limit: Duration) -> bool {
        let until = clock::now() + limit;
        let left = || until.saturating_duration_since(clock::now());
        let (done_tx, done_rx) = bounded(1);
        self.items.send_timeout(LogItem::Flush(done_tx), left()).is_ok()
            && done_rx.recv_timeout(left()).is_ok()
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    /// Does nothing: the writer buffers no line.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drain {
    /// Writes lines to `out` until every `LogQueue` has been dropped. Calls `report` whenever all
    /// lines are written, and now and then in between, with the number of lines dropped since the
    /// last call, which may be 0.
    pub fn run(&self, out: &mut impl Write, mut report: impl FnMut(u64, Moment)) {
        let (mut reported, mut written) = (0, 0);
        let mut report = |moment| {
            let dropped = self.dropped.load(Ordering::Relaxed);
            report(dropped - reported, moment);
            reported = dropped;
        };
        loop {
            let item = match self.items.try_recv() {
                Ok(item) if written < REPORT_AFTER => Ok(item),
                Ok(item) => {
                    written = 0;
                    report(Moment::Between);
                    Ok(item)
                }
                Err(_) => {
                    written = 0;
                    report(Moment::Between);
                    self.items.recv_timeout(TICK)
                }
            };
            match item {
                Ok(LogItem::Line(line, _held)) => {
                    written += 1;
                    if out.write_all(&line).is_err() {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(LogItem::Flush(done)) => {
                    report(Moment::Last);
                    // The waiting thread may have given up.
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
    fn written(queue: LogQueue, drain: &Drain) -> (String, Vec<u64>) {
        drop(queue);
        let (mut out, mut reported) = (Vec::new(), Vec::new());
        drain.run(&mut out, |dropped, _| reported.extend((dropped > 0).then_some(dropped)));
        (String::from_utf8(out).expect("text"), reported)
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (queue, drain) = queue();
        (0..LINES).for_each(|n| queue.put(format!("{n}\n").as_bytes()));
        let expected: String = (0..LINES).map(|n| format!("{n}\n")).collect();
        assert_eq!(written(queue, &drain), (expected, vec![]));
    }

    #[test]
    fn what_has_no_room_is_dropped_and_reported_once() {
        let (queue, drain) = queue();
        (0..LINES + 7).for_each(|_| queue.put(b"x\n"));
        assert_eq!(queue.dropped(), 7);
        let (out, reported) = written(queue, &drain);
        assert_eq!((out.len(), reported), (2 * LINES, vec![7]));
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

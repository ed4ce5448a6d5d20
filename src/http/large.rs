//! Answers that are large: how many are in memory at once, and which gives way.
//!
//! With a hundred tenants the metrics are some 3 MB, and a client may take its time to
//! read them. All other answers are small.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::clock;
use crate::http::waits::{lock, Waits};

/// So many at once. Others wait for no longer than it takes until one of these gives way.
const ANSWERS: usize = 8;
/// How often whoever waits looks for one that is late.
const AGAIN: Duration = Duration::from_millis(50);

/// The room for large answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Large {
    taken: Sender<()>,
    left: Receiver<()>,
    /// One is made at a time, so that it never keeps all who answer busy.
    making: (Sender<()>, Receiver<()>),
    /// A leaf lock.
    waits: Arc<Mutex<Waits<Arc<TcpStream>>>>,
}

/// The right to have one in memory.
pub(super) struct Answer {
    room: Large,
    id: u64,
}

impl Default for Large {
    fn default() -> Large {
        let (taken, left) = bounded(ANSWERS);
        Large { taken, left, making: bounded(1), waits: Arc::default() }
    }
}

impl Large {
    /// Waits for room. While there is none, the client that has been late for longest with
    /// taking its own is cut off. `None`: there was none in time.
    pub(super) fn answer(&self, until: Instant) -> Option<Answer> {
        while self.taken.send_timeout((), AGAIN).is_err() {
            let now = clock::now();
            if now >= until {
                return None;
            }
            let late = lock(&self.waits).take_late(now);
            if let Some(stream) = late {
                // Its thread sees the end of the stream and leaves.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let id = lock(&self.waits).name();
        Some(Answer { room: self.clone(), id })
    }
}

/// The right to have one made.
pub(super) struct Making(Receiver<()>);

impl Drop for Making {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

impl Answer {
    /// Waits until no other is being made. `None`: one was for too long.
    pub(super) fn make(&self, until: Instant) -> Option<Making> {
        let (taken, left) = &self.room.making;
        taken.send_deadline((), until).ok().map(|()| Making(left.clone()))
    }

    /// From now on its client takes it; after `patience` it gives way to others.
    pub(super) fn goes_to(&self, stream: &Arc<TcpStream>, patience: Duration) {
        let until = clock::now() + patience;
        let before = lock(&self.room.waits).put(self.id, until, Arc::clone(stream));
        drop(before);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let gone = lock(&self.room.waits).remove(self.id);
        drop(gone);
        let _ = self.room.left.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn soon() -> Instant {
        clock::now() + Duration::from_secs(60)
    }

    #[test]
    fn who_is_late_gives_way_and_nobody_else() {
        let large = Large::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().expect("a port")).expect("room");
            (Arc::new(listener.accept().expect("a connection").0), client)
        };
        let all: Vec<_> = (0..ANSWERS)
            .map(|n| {
                let (answer, (stream, client)) = (large.answer(soon()).expect("room"), connect());
                // All have time but the third.
                let patience = if n == 2 { Duration::ZERO } else { Duration::from_secs(600) };
                answer.goes_to(&stream, patience);
                (answer, stream, client)
            })
            .collect();
        assert!(large.answer(clock::now()).is_none(), "there is room for one more");
        let mut all: Vec<_> = all.into_iter().map(Some).collect();
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| large.answer(soon()).is_some());
            let (answer, _stream, mut client) = all[2].take().expect("it was there");
            // Its client sees the end.
            assert_eq!(client.read(&mut [0]).expect("an end"), 0);
            drop(answer);
            assert!(waiting.join().expect("no panic"));
        });
        for (_, _, client) in all.iter_mut().flatten() {
            client.set_nonblocking(true).expect("a socket");
            let error = client.read(&mut [0]).expect_err("it goes on");
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}

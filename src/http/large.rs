//! Bounds how many large answers are in memory at once, and cuts off a slow reader to make
//! room.
//!
//! With a hundred tenants the metrics are some 3 MB, and a client may read them slowly.
//! All other answers are small.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::clock;
use crate::http::client_deadlines::ClientDeadlines;
use crate::lock::Leaf;

/// Large answers at once. Others wait until one of these is sent or cut off.
const ANSWERS: usize = 8;
/// How often a waiting request looks for a client past its deadline.
const AGAIN: Duration = Duration::from_millis(50);

/// The room for large answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Large {
    slot_tx: Sender<()>,
    slot_rx: Receiver<()>,
    /// One is built at a time, so that it never occupies all threads that answer.
    making: (Sender<()>, Receiver<()>),
    deadlines: Arc<Leaf<ClientDeadlines<Arc<TcpStream>>>>,
}

/// The right to hold one large answer in memory.
pub(super) struct LargeAnswer {
    room: Large,
    id: u64,
}

impl Default for Large {
    fn default() -> Large {
        let (slot_tx, slot_rx) = bounded(ANSWERS);
        Large { slot_tx, slot_rx, making: bounded(1), deadlines: Arc::default() }
    }
}

impl Large {
    /// Waits for room. While there is none, it cuts off the client that is past its deadline
    /// for the longest time. `None`: no room by `until`.
    pub(super) fn answer(&self, until: Instant) -> Option<LargeAnswer> {
        while self.slot_tx.send_timeout((), AGAIN).is_err() {
            let now = clock::now();
            if now >= until {
                return None;
            }
            let late = self.deadlines.lock().take_late(now);
            if let Some(stream) = late {
                // Its thread sees the end of the stream and ends.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let id = self.deadlines.lock().new_id();
        Some(LargeAnswer { room: self.clone(), id })
    }
}

/// The right to build a large answer.
pub(super) struct Making(Receiver<()>);

impl Drop for Making {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

impl LargeAnswer {
    /// Waits until no other is being built. `None`: another was, up to `until`.
    pub(super) fn make(&self, until: Instant) -> Option<Making> {
        let (making_tx, making_rx) = &self.room.making;
        making_tx.send_deadline((), until).ok().map(|()| Making(making_rx.clone()))
    }

    /// It is being sent to this client from now on. After `patience` the client may be cut off.
    pub(super) fn send_to(&self, stream: &Arc<TcpStream>, patience: Duration) {
        let until = clock::now() + patience;
        let before = self.room.deadlines.lock().put(self.id, until, Arc::clone(stream));
        drop(before);
    }
}

impl Drop for LargeAnswer {
    fn drop(&mut self) {
        let gone = self.room.deadlines.lock().remove(self.id);
        drop(gone);
        let _ = self.room.slot_rx.try_recv();
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
    fn only_the_client_past_its_deadline_is_cut_off() {
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
                answer.send_to(&stream, patience);
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

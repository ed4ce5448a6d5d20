//! The connections that may be open at once, and which of them gives way.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::clock;
use crate::http::large::Large;
use crate::http::waits::{lock, Waits};

/// Connections at once. More wait in the listener's backlog, for no longer than it takes
/// until one of these has to give way.
const CONNECTIONS: usize = 64;

/// The connections that may be open at once. A channel is the semaphore: what
/// lies in it is open, so that waiting for room can be part of a `select!`.
pub(super) struct Seats {
    taken: Sender<()>,
    left: Receiver<()>,
    waits: Arc<Mutex<Waits<Arc<TcpStream>>>>,
    large: Large,
}

/// One connection's right to be open.
pub(super) struct Seat {
    /// The room for large answers.
    pub(super) large: Large,
    taken: Receiver<()>,
    id: u64,
    /// A leaf lock.
    waits: Arc<Mutex<Waits<Arc<TcpStream>>>>,
}

impl Default for Seats {
    fn default() -> Seats {
        let (taken, left) = bounded(CONNECTIONS);
        Seats { taken, left, waits: Arc::default(), large: Large::default() }
    }
}

impl Seats {
    /// Sending here waits for room; each send is followed by one `seat`.
    pub(super) fn room(&self) -> &Sender<()> {
        &self.taken
    }

    /// Gives the room taken back when dropped.
    pub(super) fn seat(&self) -> Seat {
        let id = lock(&self.waits).name();
        let (taken, waits) = (self.left.clone(), Arc::clone(&self.waits));
        Seat { large: self.large.clone(), taken, id, waits }
    }

    /// If all seats are taken, the connection that has kept us waiting beyond its patience
    /// for longest is closed. Returns how long to wait for room before asking again.
    pub(super) fn make_room(&self, now: Instant) -> Duration {
        const AGAIN: Duration = Duration::from_millis(50);
        if !self.taken.is_full() {
            return AGAIN;
        }
        let late = lock(&self.waits).take_late(now);
        if let Some(stream) = late {
            // Its thread sees the end of the stream and leaves. If that has happened
            // already, so much the better.
            let _ = stream.shutdown(Shutdown::Both);
        }
        AGAIN
    }
}

impl Seat {
    /// From now on its client is waited for. After `patience` it gives way if others come.
    pub(super) fn waits(&self, stream: &Arc<TcpStream>, patience: Duration) {
        let until = clock::now() + patience;
        let before = lock(&self.waits).put(self.id, until, Arc::clone(stream));
        drop(before);
    }

    /// From now on its client waits for us.
    pub(super) fn works(&self) {
        let before = lock(&self.waits).remove(self.id);
        drop(before);
    }

    /// Until when its client may keep us waiting; `None`: it waits for us.
    #[cfg(test)]
    pub(super) fn patience(&self) -> Option<Instant> {
        lock(&self.waits).all.get(&self.id).map(|(until, _)| *until)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.works();
        // What this seat had put in is still there, or another seat's, which is as good.
        let _ = self.taken.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::core::testing::{ms, start};

    /// One that has a seat, and its client.
    fn seated(seats: &Seats, listener: &TcpListener) -> (Seat, Arc<TcpStream>, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().expect("a port")).expect("room");
        let (server, _) = listener.accept().expect("a connection");
        client.set_read_timeout(Some(ms(60_000))).expect("a socket");
        seats.room().try_send(()).expect("room");
        (seats.seat(), Arc::new(server), client)
    }

    #[test]
    fn where_all_seats_are_taken_one_that_keeps_us_waiting_is_closed_and_no_other() {
        let (seats, now) = (Seats::default(), clock::now());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut all: Vec<_> = (1..CONNECTIONS).map(|_| seated(&seats, &listener)).collect();
        for (n, (seat, stream, _)) in all.iter().enumerate() {
            seat.waits(stream, ms(1000 + n as u64));
        }
        // The first has asked for something meanwhile.
        all[0].0.works();
        let later = now + ms(100_000);
        seats.make_room(later);
        assert_eq!(lock(&seats.waits).all.len(), all.len() - 1, "there was room");
        all.push(seated(&seats, &listener));
        seats.make_room(now);
        assert_eq!(lock(&seats.waits).all.len(), all.len() - 2, "nobody was late");
        seats.make_room(later);
        assert_eq!(all[1].2.read(&mut [0]).expect("the end"), 0);
        for (_, _, client) in all.iter_mut().filter(|(seat, ..)| seat.id != 2) {
            client.set_nonblocking(true).expect("a socket");
            assert!(client.read(&mut [0]).is_err(), "it is open");
        }
        drop(all.swap_remove(1));
        assert!(seats.room().try_send(()).is_ok());
    }

    #[test]
    fn who_has_been_late_for_longest_gives_way_and_nobody_who_is_not() {
        let (t0, mut waits) = (start(), Waits::default());
        let ids = [waits.name(), waits.name(), waits.name()];
        waits.put(ids[0], t0 + ms(300), "a");
        waits.put(ids[1], t0 + ms(200), "b");
        waits.put(ids[2], t0 + ms(100), "c");
        assert_eq!(waits.take_late(t0 + ms(99)), None);
        waits.remove(ids[2]);
        assert_eq!(waits.take_late(t0 + ms(299)), Some("b"));
        assert_eq!(waits.take_late(t0 + ms(299)), None);
        assert_eq!(waits.take_late(t0 + ms(300)), Some("a"));
    }
}

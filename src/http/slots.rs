//! Bounds the connections that are open at once, and closes a slow one to make room.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::clock;
use crate::http::client_deadlines::ClientDeadlines;
use crate::http::large::Large;
use crate::lock::Leaf;

/// A semaphore for open connections, made of a channel with one message for each, so
/// that waiting for a slot can be part of a `select!`.
pub(super) struct Slots {
    slot_tx: Sender<()>,
    slot_rx: Receiver<()>,
    deadlines: Arc<Leaf<ClientDeadlines<Arc<TcpStream>>>>,
    large: Large,
}

/// The slot of one open connection, given back when dropped.
pub(super) struct HttpSlot {
    /// The room for large answers.
    pub(super) large: Large,
    slot_rx: Receiver<()>,
    id: u64,
    deadlines: Arc<Leaf<ClientDeadlines<Arc<TcpStream>>>>,
}

impl Slots {
    /// For so many connections at once. Others wait in the listener's backlog until one of these
    /// ends or is closed to make room.
    pub(super) fn new(connections: usize) -> Slots {
        let (slot_tx, slot_rx) = bounded(connections);
        Slots { slot_tx, slot_rx, deadlines: Arc::default(), large: Large::default() }
    }

    /// Sending here waits for a free slot. Each send must be followed by one `slot`.
    pub(super) fn room(&self) -> &Sender<()> {
        &self.slot_tx
    }

    /// The slot that a send has taken.
    pub(super) fn slot(&self) -> HttpSlot {
        let id = self.deadlines.lock().new_id();
        let (slot_rx, deadlines) = (self.slot_rx.clone(), Arc::clone(&self.deadlines));
        HttpSlot { large: self.large.clone(), slot_rx, id, deadlines }
    }

    /// If all slots are taken, closes the connection whose client is past its deadline for
    /// the longest time. Returns how long to wait for a slot before calling this again.
    pub(super) fn make_room(&self, now: Instant) -> Duration {
        const AGAIN: Duration = Duration::from_millis(50);
        if !self.slot_tx.is_full() {
            return AGAIN;
        }
        let late = self.deadlines.lock().take_late(now);
        if let Some(stream) = late {
            // Its thread sees the end of the stream and frees the slot. An error means that
            // the connection was closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        AGAIN
    }
}

impl HttpSlot {
    /// The service waits for the client from now on. After `patience` the connection may be
    /// closed to make room.
    pub(super) fn waits(&self, stream: &Arc<TcpStream>, patience: Duration) {
        let until = clock::now() + patience;
        let before = self.deadlines.lock().put(self.id, until, Arc::clone(stream));
        drop(before);
    }

    /// The client waits for the service from now on, without a deadline.
    pub(super) fn works(&self) {
        let before = self.deadlines.lock().remove(self.id);
        drop(before);
    }

    /// The client's deadline; `None` while it waits for the service.
    #[cfg(test)]
    pub(super) fn patience(&self) -> Option<Instant> {
        self.deadlines.lock().all.get(&self.id).map(|(until, _)| *until)
    }
}

impl Drop for HttpSlot {
    fn drop(&mut self) {
        self.works();
        // Takes this slot's message out of the channel, or another's, which counts the same.
        let _ = self.slot_rx.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::core::testing::{ms, start};

    const CONNECTIONS: usize = 64;

    /// A connection that has a slot, and its client.
    fn with_slot(slots: &Slots, listener: &TcpListener) -> (HttpSlot, Arc<TcpStream>, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().expect("a port")).expect("room");
        let (server, _) = listener.accept().expect("a connection");
        client.set_read_timeout(Some(ms(60_000))).expect("a socket");
        slots.room().try_send(()).expect("room");
        (slots.slot(), Arc::new(server), client)
    }

    #[test]
    fn when_all_slots_are_taken_only_the_slowest_client_is_disconnected() {
        let (slots, now) = (Slots::new(CONNECTIONS), clock::now());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut all: Vec<_> = (1..CONNECTIONS).map(|_| with_slot(&slots, &listener)).collect();
        for (n, (slot, stream, _)) in all.iter().enumerate() {
            slot.waits(stream, ms(1000 + n as u64));
        }
        // The first has asked for something meanwhile.
        all[0].0.works();
        let later = now + ms(100_000);
        slots.make_room(later);
        assert_eq!(slots.deadlines.lock().all.len(), all.len() - 1, "there was room");
        all.push(with_slot(&slots, &listener));
        slots.make_room(now);
        assert_eq!(slots.deadlines.lock().all.len(), all.len() - 2, "nobody was late");
        slots.make_room(later);
        assert_eq!(all[1].2.read(&mut [0]).expect("the end"), 0);
        for (_, _, client) in all.iter_mut().filter(|(slot, ..)| slot.id != 2) {
            client.set_nonblocking(true).expect("a socket");
            assert!(client.read(&mut [0]).is_err(), "it is open");
        }
        drop(all.swap_remove(1));
        assert!(slots.room().try_send(()).is_ok());
    }

    #[test]
    fn only_a_client_past_its_deadline_is_taken_and_the_latest_first() {
        let (t0, mut deadlines) = (start(), ClientDeadlines::default());
        let ids = [deadlines.new_id(), deadlines.new_id(), deadlines.new_id()];
        deadlines.put(ids[0], t0 + ms(300), "a");
        deadlines.put(ids[1], t0 + ms(200), "b");
        deadlines.put(ids[2], t0 + ms(100), "c");
        assert_eq!(deadlines.take_late(t0 + ms(99)), None);
        deadlines.remove(ids[2]);
        assert_eq!(deadlines.take_late(t0 + ms(299)), Some("b"));
        assert_eq!(deadlines.take_late(t0 + ms(299)), None);
        assert_eq!(deadlines.take_late(t0 + ms(300)), Some("a"));
    }
}

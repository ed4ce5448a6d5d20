//! What is known of the sockets that the thread watches. Pure: it asks the system for nothing.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Weak};

use super::{Awaiting, SharedSocket};

/// The sockets that are watched, by their descriptors.
#[derive(Default)]
pub(super) struct WatchedSockets(Vec<WatchedSocket>);

#[derive(Default)]
struct WatchedSocket {
    /// Whose descriptor it is: the system gives it to another one once it is closed.
    socket: Option<Weak<dyn AsFd + Send + Sync>>,
    state: EventState,
    work: Option<Box<dyn Awaiting>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum EventState {
    /// It brings no event, unless it is closed.
    #[default]
    Off,
    /// All that arrives brings an event.
    On,
    /// So it does, but something is there, or has arrived, that no work was told of.
    Missed,
}

/// What is to be done once work has been put at its socket.
pub(super) enum Put {
    /// Nothing: all that arrives brings an event already.
    Watched,
    /// The system is to be asked for an event, which comes at once for what is there.
    Ask,
    /// Other work waits for this socket.
    Taken(Box<dyn Awaiting>),
}

/// What an event is for.
pub(super) enum Arrived {
    /// This waited for it.
    For(Box<dyn Awaiting>),
    /// Nothing waited for it.
    Nobody,
    /// Nothing waits for this socket, again and again: it is to bring no event.
    Unwanted(SharedSocket),
}

impl WatchedSockets {
    /// Puts work at its socket, for what arrives from now on; `looked`: also for what is there.
    pub(super) fn put(
        &mut self,
        socket: &SharedSocket,
        work: Box<dyn Awaiting>,
        looked: bool,
    ) -> Put {
        let at = place(socket);
        if at >= self.0.len() {
            self.0.resize_with(at + 1, WatchedSocket::default);
        }
        let watched = &mut self.0[at];
        if !watched.is_of(socket) {
            *watched = WatchedSocket::default();
            watched.socket = Some(Arc::downgrade(socket));
        }
        if watched.work.is_some() {
            return Put::Taken(work);
        }
        watched.work = Some(work);
        match std::mem::replace(&mut watched.state, EventState::On) {
            EventState::On if !looked => Put::Watched,
            EventState::On | EventState::Missed | EventState::Off => Put::Ask,
        }
    }

    /// The system does not watch this socket. Returns the work that waits for it.
    pub(super) fn give_up(&mut self, socket: &SharedSocket) -> Option<Box<dyn Awaiting>> {
        let watched = self.0.get_mut(place(socket)).filter(|watched| watched.is_of(socket))?;
        watched.state = EventState::Off;
        watched.work.take()
    }

    /// Something has arrived at the socket with this descriptor; `ended`: also its end.
    pub(super) fn arrived(&mut self, at: usize, ended: bool) -> Arrived {
        let Some(watched) = self.0.get_mut(at) else { return Arrived::Nobody };
        if let Some(work) = watched.work.take() {
            // It may read no further than what it needs, and no other event tells of the end.
            if ended {
                watched.state = EventState::Missed;
            }
            return Arrived::For(work);
        }
        match watched.state {
            // A closed connection brings an event in any state.
            EventState::Off => {}
            EventState::On => watched.state = EventState::Missed,
            EventState::Missed => {
                watched.state = EventState::Off;
                if let Some(socket) = watched.socket.as_ref().and_then(Weak::upgrade) {
                    return Arrived::Unwanted(socket);
                }
            }
        }
        Arrived::Nobody
    }

    /// True if work waits for this socket.
    pub(super) fn is_awaited(&self, socket: &SharedSocket) -> bool {
        let watched = self.0.get(place(socket));
        watched.is_some_and(|watched| watched.is_of(socket) && watched.work.is_some())
    }
}

impl WatchedSocket {
    fn is_of(&self, socket: &SharedSocket) -> bool {
        let own = self.socket.as_ref().map(|own| own.as_ptr().cast::<()>());
        own == Some(Arc::as_ptr(socket).cast::<()>())
    }
}

/// Its place is its descriptor, which the system keeps small.
pub(super) fn place(socket: &SharedSocket) -> usize {
    usize::try_from(socket.as_fd().as_raw_fd()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Sockets of the same descriptor.
    struct Same(Arc<UnixStream>);

    impl AsFd for Same {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    struct Work;

    impl Awaiting for Work {
        fn socket(&self) -> Option<SharedSocket> {
            None
        }
        fn has_come(&mut self) -> bool {
            false
        }
        fn go_on(self: Box<Self>) {}
    }

    fn two_sockets() -> (SharedSocket, SharedSocket) {
        let stream = Arc::new(UnixStream::pair().unwrap().0);
        (Arc::new(Same(Arc::clone(&stream))), Arc::new(Same(stream)))
    }

    fn asks(watched: &mut WatchedSockets, socket: &SharedSocket, looked: bool) -> bool {
        match watched.put(socket, Box::new(Work), looked) {
            Put::Ask => true,
            Put::Watched => false,
            Put::Taken(_) => panic!("it is taken"),
        }
    }

    fn arrives(watched: &mut WatchedSockets, socket: &SharedSocket) -> &'static str {
        arrives_with(watched, socket, false)
    }

    fn arrives_with(
        watched: &mut WatchedSockets,
        socket: &SharedSocket,
        ended: bool,
    ) -> &'static str {
        match watched.arrived(place(socket), ended) {
            Arrived::For(_) => "for work",
            Arrived::Nobody => "for nobody",
            Arrived::Unwanted(_) => "unwanted",
        }
    }

    #[test]
    fn a_socket_that_brings_events_is_not_asked_for_again() {
        let (mut watched, (socket, _)) = (WatchedSockets::default(), two_sockets());
        assert_eq!(arrives(&mut watched, &socket), "for nobody");
        assert!(asks(&mut watched, &socket, false));
        for _ in 0..3 {
            assert!(watched.is_awaited(&socket));
            assert_eq!(arrives(&mut watched, &socket), "for work");
            assert!(!watched.is_awaited(&socket));
            assert!(!asks(&mut watched, &socket, false));
        }
        // What it has read of that may not be all that was there.
        assert_eq!(arrives(&mut watched, &socket), "for work");
        assert!(asks(&mut watched, &socket, true));
    }

    #[test]
    fn what_nobody_waited_for_is_asked_for_and_not_wanted_the_second_time() {
        let (mut watched, (socket, _)) = (WatchedSockets::default(), two_sockets());
        assert!(asks(&mut watched, &socket, false));
        assert_eq!(arrives(&mut watched, &socket), "for work");
        assert_eq!(arrives(&mut watched, &socket), "for nobody");
        assert!(asks(&mut watched, &socket, false));
        assert_eq!(arrives(&mut watched, &socket), "for work");
        assert_eq!(arrives(&mut watched, &socket), "for nobody");
        assert_eq!(arrives(&mut watched, &socket), "unwanted");
        // To say so to the system brings another event of a closed connection: no circle.
        assert_eq!(arrives(&mut watched, &socket), "for nobody");
        assert_eq!(arrives(&mut watched, &socket), "for nobody");
        assert!(asks(&mut watched, &socket, false));
        assert_eq!(arrives(&mut watched, &socket), "for work");
    }

    #[test]
    fn an_end_is_told_to_all_that_wait_later() {
        let (mut watched, (socket, _)) = (WatchedSockets::default(), two_sockets());
        for _ in 0..3 {
            assert!(asks(&mut watched, &socket, false));
            assert_eq!(arrives_with(&mut watched, &socket, true), "for work");
        }
    }

    #[test]
    fn one_work_waits_for_a_socket_and_what_is_not_watched_is_given_back() {
        let (mut watched, (socket, _)) = (WatchedSockets::default(), two_sockets());
        assert!(watched.give_up(&socket).is_none());
        assert!(asks(&mut watched, &socket, false));
        assert!(matches!(watched.put(&socket, Box::new(Work), false), Put::Taken(_)));
        assert!(watched.give_up(&socket).is_some());
        assert!(watched.give_up(&socket).is_none());
        assert!(asks(&mut watched, &socket, false));
    }

    #[test]
    fn another_socket_with_the_descriptor_is_one_that_nobody_watches() {
        let (mut watched, (first, second)) = (WatchedSockets::default(), two_sockets());
        assert!(asks(&mut watched, &first, false));
        assert!(!watched.is_awaited(&second) && watched.give_up(&second).is_none());
        assert_eq!(arrives(&mut watched, &first), "for work");
        drop(first);
        assert!(asks(&mut watched, &second, false));
        // An event of the first may still come.
        assert_eq!(arrives(&mut watched, &second), "for work");
        assert_eq!(arrives(&mut watched, &second), "for nobody");
        let gone = place(&second);
        drop(second);
        assert!(matches!(watched.arrived(gone, false), Arrived::Nobody));
    }
}

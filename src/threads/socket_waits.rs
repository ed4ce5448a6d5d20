//! Work that waits for its socket to receive something, on one thread for all.
//!
//! A thread for each that waits would be woken for each, and would wake another one before. This
//! one is woken for all that has come meanwhile.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::lock::Leaf;
use crate::threads::{self, here};

/// Sockets that are looked at in one turn.
const TURN: usize = 64;
/// What the end of all handles is seen by.
const END: u64 = u64::MAX;

/// A socket that can be waited for.
pub type SharedSocket = Arc<dyn AsFd + Send + Sync>;

/// True once the socket has received something, within `limit`.
pub fn is_ready_within(socket: &SharedSocket, limit: Duration) -> bool {
    let Ok(limit) = Timespec::try_from(limit) else { return false };
    let mut watched = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    matches!(poll(&mut watched, Some(&limit)), Ok(1))
}

/// Work that goes on when its socket has received something. Nothing of it may block.
pub trait Awaiting: Send {
    /// Its socket; `None` if there is none to wait for.
    fn socket(&self) -> Option<SharedSocket>;
    /// Reads what has come. False: more has to come before it can go on.
    fn has_come(&mut self) -> bool;
    /// Goes on.
    fn go_on(self: Box<Self>);
}

/// All work that waits for a socket. The thread starts with the first, and ends with the last
/// handle.
#[derive(Clone)]
pub struct SocketWaits(Arc<Waits>);

struct Waits {
    /// `None` inside: it could not be started.
    started: OnceLock<Option<Arc<WaitsThread>>>,
    /// Called with the error then.
    not_started: fn(&io::Error),
}

/// A thread that cannot be started is reported to nobody.
impl Default for SocketWaits {
    fn default() -> SocketWaits {
        SocketWaits::new(|_| ())
    }
}

struct WaitsThread {
    epoll: OwnedFd,
    end: OwnedFd,
    work: Leaf<WorkPlaces>,
}

/// Work by the number of its place.
#[derive(Default)]
struct WorkPlaces {
    places: Vec<Option<Box<dyn Awaiting>>>,
    free: Vec<usize>,
}

impl WorkPlaces {
    fn put(&mut self, work: Box<dyn Awaiting>) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.places[place] = Some(work);
                place
            }
            None => {
                self.places.push(Some(work));
                self.places.len() - 1
            }
        }
    }

    fn take(&mut self, place: usize) -> Option<Box<dyn Awaiting>> {
        let work = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(work)
    }
}

impl SocketWaits {
    /// No thread yet. `not_started` is called when it cannot be started; it must not block.
    pub fn new(not_started: fn(&io::Error)) -> SocketWaits {
        SocketWaits(Arc::new(Waits { started: OnceLock::new(), not_started }))
    }

    /// Goes on with `work` once its socket has received something.
    ///
    /// # Errors
    /// The work itself, if the system has no thread or descriptor for it.
    pub fn wait(&self, work: Box<dyn Awaiting>) -> Result<(), Box<dyn Awaiting>> {
        let Waits { started, not_started } = &*self.0;
        let start = || WaitsThread::start().inspect_err(not_started).ok();
        match started.get_or_init(start) {
            Some(waiting) => waiting.wait(work),
            None => Err(work),
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(Some(waiting)) = self.started.get() {
            // Cannot fail: nothing else is written to it.
            let _ = rustix::io::write(&waiting.end, &1_u64.to_ne_bytes());
        }
    }
}

impl WaitsThread {
    fn start() -> io::Result<Arc<WaitsThread>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        let waits = Arc::new(WaitsThread { epoll, end, work: Leaf::default() });
        let of_thread = Arc::clone(&waits);
        threads::spawn(threads::SOCKETS, move || {
            here::is_shared();
            of_thread.run();
        })?;
        Ok(waits)
    }

    fn wait(&self, work: Box<dyn Awaiting>) -> Result<(), Box<dyn Awaiting>> {
        let Some(socket) = work.socket() else { return Err(work) };
        let place = self.work.lock().put(work);
        let data = EventData::new_u64(place as u64);
        // The event comes once.
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        let watched = match epoll::modify(&self.epoll, &*socket, data, flags) {
            // Its first time.
            Err(Errno::NOENT) => epoll::add(&self.epoll, &*socket, data, flags),
            watched => watched,
        };
        match watched {
            Ok(()) => Ok(()),
            Err(_) => match self.work.lock().take(place) {
                Some(work) => Err(work),
                None => Ok(()),
            },
        }
    }

    /// Until the last handle is dropped.
    fn run(&self) {
        let mut events = Vec::with_capacity(TURN);
        loop {
            events.clear();
            // Fails for a signal only: its descriptors are open until it ends.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), None);
            for event in &events {
                match event.data.u64() {
                    END => return,
                    place => self.look(usize::try_from(place).unwrap_or(usize::MAX)),
                }
            }
        }
    }

    fn look(&self, place: usize) {
        let Some(mut work) = self.work.lock().take(place) else { return };
        // A panic costs this work only.
        threads::survive(threads::SOCKETS, || {
            if work.has_come() {
                return work.go_on();
            }
            if let Err(work) = self.wait(work) {
                // Nobody would look again.
                work.go_on();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread::ThreadId;

    use crossbeam_channel::{unbounded, Receiver, Sender};

    use super::*;

    /// Waits for so many bytes, and tells what it has read and where.
    struct Bytes {
        socket: Arc<UnixStream>,
        wanted: usize,
        read: Vec<u8>,
        tell: Sender<(Vec<u8>, ThreadId)>,
    }

    impl Awaiting for Bytes {
        fn socket(&self) -> Option<SharedSocket> {
            Some(Arc::clone(&self.socket) as SharedSocket)
        }

        fn has_come(&mut self) -> bool {
            let mut bytes = [0; 16];
            let read = (&*self.socket).read(&mut bytes).expect("readable");
            assert!(!bytes.starts_with(b"panic"), "injected");
            self.read.extend_from_slice(&bytes[..read]);
            read == 0 || self.read.len() >= self.wanted
        }

        fn go_on(self: Box<Self>) {
            let _ = self.tell.send((self.read, std::thread::current().id()));
        }
    }

    type Told = Receiver<(Vec<u8>, ThreadId)>;

    fn waits(sockets: &SocketWaits, wanted: usize) -> (UnixStream, Told) {
        let (ours, socket) = UnixStream::pair().expect("a pair");
        let (tell, told) = unbounded();
        let work = Bytes { socket: Arc::new(socket), wanted, read: Vec::new(), tell };
        assert!(sockets.wait(Box::new(work)).is_ok());
        (ours, told)
    }

    #[test]
    fn a_socket_is_ready_once_something_has_come() {
        let (mut ours, socket) = UnixStream::pair().expect("a pair");
        let socket: SharedSocket = Arc::new(socket);
        assert!(!is_ready_within(&socket, Duration::ZERO));
        ours.write_all(&[1]).expect("room");
        assert!(is_ready_within(&socket, Duration::ZERO));
    }

    #[test]
    fn each_goes_on_with_what_came_for_it_on_one_thread() {
        let sockets = SocketWaits::default();
        let all: Vec<_> = (0..100).map(|n: u8| (n, waits(&sockets, 1))).collect();
        let mut threads = Vec::new();
        for (n, (mut ours, told)) in all.into_iter().rev() {
            ours.write_all(&[n]).expect("room");
            let (read, thread) = told.recv().expect("it went on");
            assert_eq!(read, [n]);
            threads.push(thread);
        }
        threads.dedup();
        assert_eq!(threads.len(), 1);
        assert_ne!(threads[0], std::thread::current().id());
    }

    #[test]
    fn what_comes_in_pieces_is_waited_for_and_an_end_is_seen() {
        let sockets = SocketWaits::default();
        let (mut ours, told) = waits(&sockets, 3);
        ours.write_all(b"a").expect("room");
        // Another one has its turn meanwhile.
        let (mut other, other_told) = waits(&sockets, 1);
        other.write_all(b"x").expect("room");
        assert_eq!(other_told.recv().expect("it went on").0, b"x");
        assert!(told.try_recv().is_err());
        ours.write_all(b"bc").expect("room");
        assert_eq!(told.recv().expect("it went on").0, b"abc");
        let (ours, told) = waits(&sockets, 3);
        drop(ours);
        assert_eq!(told.recv().expect("it went on").0, b"");
    }

    #[test]
    fn a_panic_costs_its_own_work_only() {
        let sockets = SocketWaits::default();
        let (mut ours, told) = waits(&sockets, 1);
        ours.write_all(b"panic").expect("room");
        assert!(told.recv().is_err());
        let (mut ours, told) = waits(&sockets, 1);
        ours.write_all(b"x").expect("room");
        assert_eq!(told.recv().expect("it went on").0, b"x");
    }

    #[test]
    fn its_thread_ends_with_the_last_handle_and_what_waits_is_dropped() {
        let sockets = SocketWaits::default();
        let (mut ours, told) = waits(&sockets, 1);
        ours.write_all(b"x").expect("room");
        told.recv().expect("it went on");
        let waiting = sockets.0.started.get().cloned().flatten().expect("it has started");
        let (_ours, told) = waits(&sockets, 1);
        drop(sockets);
        while Arc::strong_count(&waiting) > 1 {
            std::thread::yield_now();
        }
        drop(waiting);
        // What still waited is dropped, which settles it.
        assert!(told.recv().is_err());
    }
}

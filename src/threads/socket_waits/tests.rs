use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::ThreadId;

use crossbeam_channel::{unbounded, Receiver, RecvTimeoutError, Sender};

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

/// No test waits longer.
const LONG: Duration = Duration::from_secs(60);

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
        let (read, thread) = told.recv_timeout(LONG).expect("it went on");
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
    assert_eq!(other_told.recv_timeout(LONG).expect("it went on").0, b"x");
    assert!(told.try_recv().is_err());
    ours.write_all(b"bc").expect("room");
    assert_eq!(told.recv_timeout(LONG).expect("it went on").0, b"abc");
    // More than it reads at once.
    let (mut ours, told) = waits(&sockets, 40);
    ours.write_all(&[b'x'; 40]).expect("room");
    assert_eq!(told.recv_timeout(LONG).expect("it went on").0, [b'x'; 40]);
    let (ours, told) = waits(&sockets, 3);
    drop(ours);
    assert_eq!(told.recv_timeout(LONG).expect("it went on").0, b"");
}

/// Waits for a byte at this socket.
fn again(sockets: &SocketWaits, socket: &Arc<UnixStream>) -> Told {
    let (tell, told) = unbounded();
    let socket = Arc::clone(socket);
    assert!(sockets.wait(Box::new(Bytes { socket, wanted: 1, read: Vec::new(), tell })).is_ok());
    told
}

/// Returns once the thread has acted on all that had arrived before.
fn settle(sockets: &SocketWaits) {
    let (mut ours, told) = waits(sockets, 1);
    ours.write_all(b"x").expect("room");
    told.recv_timeout(LONG).expect("it went on");
}

#[test]
fn what_came_before_work_waits_for_it_is_read_however_often_nobody_did() {
    let sockets = SocketWaits::default();
    let (mut ours, socket) = UnixStream::pair().expect("a pair");
    let socket = Arc::new(socket);
    for unread in 0..5_u8 {
        for _ in 0..2 {
            let told = again(&sockets, &socket);
            ours.write_all(b"a").expect("room");
            assert_eq!(told.recv_timeout(LONG).expect("it went on").0, b"a");
        }
        // Others read these, and nobody the last.
        for n in 0..unread {
            ours.write_all(&[n]).expect("room");
            settle(&sockets);
            assert_eq!((&*socket).read(&mut [0; 2]).expect("readable"), 1);
        }
        ours.write_all(b"b").expect("room");
        settle(&sockets);
        let told = again(&sockets, &socket);
        assert_eq!(told.recv_timeout(LONG).expect("it went on").0, b"b", "{unread}");
    }
}

#[test]
fn an_end_that_came_with_what_was_read_is_seen_by_whoever_waits_next() {
    let sockets = SocketWaits::default();
    let (mut ours, socket) = UnixStream::pair().expect("a pair");
    let socket = Arc::new(socket);
    ours.write_all(b"a").expect("room");
    ours.shutdown(Shutdown::Write).expect("it is open");
    for read in [&b"a"[..], b"", b""] {
        let told = again(&sockets, &socket);
        assert_eq!(told.recv_timeout(LONG).expect("it went on").0, read);
    }
}

#[test]
fn a_panic_costs_its_own_work_only() {
    let sockets = SocketWaits::default();
    let (mut ours, told) = waits(&sockets, 1);
    ours.write_all(b"panic").expect("room");
    assert!(matches!(told.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected)));
    let (mut ours, told) = waits(&sockets, 1);
    ours.write_all(b"x").expect("room");
    assert_eq!(told.recv_timeout(LONG).expect("it went on").0, b"x");
}

#[test]
fn its_thread_ends_with_the_last_handle_and_what_waits_is_dropped() {
    let sockets = SocketWaits::default();
    let (mut ours, told) = waits(&sockets, 1);
    ours.write_all(b"x").expect("room");
    told.recv_timeout(LONG).expect("it went on");
    let waiting = sockets.0.started.get().cloned().flatten().expect("it has started");
    let (_ours, told) = waits(&sockets, 1);
    drop(sockets);
    while Arc::strong_count(&waiting) > 1 {
        std::thread::yield_now();
    }
    drop(waiting);
    // What still waited is dropped, which settles it.
    assert!(matches!(told.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected)));
}

//! A way from clients to a server that counts what passes, and can be held up, made
//! deaf, or cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, Sender};
use socket2::SockRef;

use super::PATIENCE;

/// What becomes of bytes on their way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// They are not even read, so that whoever sends must stop at some time.
    Hold,
    /// They are taken and lost: nobody can tell but by the silence.
    Lose,
    /// Connections are reset at once.
    Cut,
    /// New ones are closed; those that are there go on.
    Refuse,
    /// New ones are offered TLS, and then a byte of a handshake now and then; those
    /// that are there go on.
    Drip,
}

/// Forwards TCP connections to a port of this machine.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    to: u16,
    mode: Mutex<Mode>,
    changed: Condvar,
    over: AtomicBool,
    pairs: Mutex<Vec<Arc<Pair>>>,
    /// Connections that were handed on, or dripped on.
    taken: AtomicUsize,
    /// Bytes that clients have sent.
    sent: AtomicUsize,
    /// For the next connection.
    gate: Mutex<Option<Gate>>,
}

/// One connection: the client's end and the server's.
struct Pair {
    near: TcpStream,
    far: TcpStream,
    /// Bytes that the client has sent to the server.
    sent: AtomicUsize,
    /// Bytes that the server has sent to the client.
    brought: AtomicUsize,
    /// What the server says is kept back.
    muted: Mutex<bool>,
    unmuted: Condvar,
}

impl Pair {
    fn mute(&self, muted: bool) {
        *self.muted.lock().unwrap() = muted;
        self.unmuted.notify_all();
    }

    fn wait_unmuted(&self) {
        let muted = self.muted.lock().unwrap();
        drop(self.unmuted.wait_while(muted, |muted| *muted).unwrap());
    }
}

/// Keeps what the server says on the connections of its time, until it is dropped. One that is
/// cut meanwhile is not kept.
pub struct Mute(Vec<Weak<Pair>>);

impl Mute {
    fn of<'a>(pairs: impl IntoIterator<Item = &'a Arc<Pair>>) -> Mute {
        let mute = |pair: &Arc<Pair>| {
            pair.mute(true);
            Arc::downgrade(pair)
        };
        Mute(pairs.into_iter().map(mute).collect())
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|pair| pair.mute(false));
    }
}

struct Gate {
    reached: Sender<()>,
    /// Nobody sends on it: it opens by being closed.
    open: Receiver<()>,
}

/// Keeps the server's words from one connection, until this is dropped.
pub struct Hold {
    reached: Receiver<()>,
    _shut: Sender<()>,
}

impl Hold {
    /// Waits until the server has something to say on that connection.
    pub fn wait(&self) {
        self.reached.recv_timeout(PATIENCE).expect("the server answers");
    }
}

impl Proxy {
    /// A way to this port of 127.0.0.1.
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            to: port,
            mode: Mutex::new(Mode::Forward),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
            pairs: Mutex::default(),
            taken: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            gate: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        #[allow(clippy::disallowed_methods)] // A test's own, joined when the proxy is dropped.
        let accepting = std::thread::spawn(move || {
            for near in listener.incoming() {
                if own.over.load(Ordering::Acquire) {
                    return;
                }
                own.accept(near.unwrap());
            }
        });
        Proxy { port: near, shared, accepting: Some(accepting) }
    }

    /// How many connections were handed on, or dripped on, so far.
    pub fn taken(&self) -> usize {
        self.shared.taken.load(Ordering::SeqCst)
    }

    /// Bytes that clients have sent, on all connections.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// What the server has sent on the connection that comes to it from this port.
    pub fn brought(&self, client_port: u16) -> usize {
        self.pair(client_port).brought.load(Ordering::Acquire)
    }

    /// What was sent to the server on the connection that comes to it from this port.
    pub fn sent_from(&self, client_port: u16) -> usize {
        self.pair(client_port).sent.load(Ordering::Acquire)
    }

    fn pair(&self, client_port: u16) -> Arc<Pair> {
        let pairs = self.shared.pairs.lock().unwrap();
        let from = |pair: &&Arc<Pair>| {
            pair.far.local_addr().is_ok_and(|address| address.port() == client_port)
        };
        Arc::clone(pairs.iter().find(from).expect("the connection comes this way"))
    }

    /// Holds up what the server says on the next connection.
    pub fn hold_next(&self) -> Hold {
        let ((tell, reached), (shut, open)) = (bounded(1), bounded(0));
        *self.shared.gate.lock().unwrap() = Some(Gate { reached: tell, open });
        Hold { reached, _shut: shut }
    }

    /// Keeps what the server says on the connections that are there; new ones go on.
    pub fn mute(&self) -> Mute {
        Mute::of(&*self.shared.pairs.lock().unwrap())
    }

    /// Stops in both directions; the sockets stay open.
    pub fn hold(&self) {
        self.shared.set(Mode::Hold);
    }

    /// Keeps what the server says on the connection that comes to it from this port.
    pub fn mute_from(&self, client_port: u16) -> Mute {
        Mute::of([&self.pair(client_port)])
    }

    /// Takes no more connections.
    pub fn refuse(&self) {
        self.shared.set(Mode::Refuse);
    }

    /// From now on the TLS handshake of a new connection never ends, and never stops.
    pub fn drip(&self) {
        self.shared.set(Mode::Drip);
    }

    /// Goes on.
    pub fn forward(&self) {
        self.shared.set(Mode::Forward);
    }

    /// From now on bytes vanish, in both directions; the sockets stay open.
    pub fn lose(&self) {
        self.shared.set(Mode::Lose);
    }

    /// Resets every connection, and each that comes from now on, as the system of a
    /// killed process does that has not read all it was sent.
    pub fn cut(&self) {
        self.shared.set(Mode::Cut);
        for pair in self.shared.pairs.lock().unwrap().drain(..) {
            pair.mute(false);
            for socket in [&pair.near, &pair.far] {
                reset_at_close(socket);
                // Wakes its reader; the reset goes out when both readers have let go.
                let _ = socket.shutdown(Shutdown::Read);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.shared.over.store(true, Ordering::Release);
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        self.changed.notify_all();
    }

    /// What to do, once there is something to do.
    fn mode(&self) -> Mode {
        let mode = self.mode.lock().unwrap();
        *self.changed.wait_while(mode, |mode| *mode == Mode::Hold).unwrap()
    }

    #[allow(clippy::disallowed_methods)] // A test's own threads, ended by the end of the streams.
    fn accept(self: &Arc<Self>, near: TcpStream) {
        // Kept, so that after a change of mode no connection is treated by the last one.
        let mode = self.mode.lock().unwrap();
        match *mode {
            Mode::Drip => {
                self.taken.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || drip(near));
                return;
            }
            Mode::Cut => return reset_at_close(&near),
            Mode::Refuse => return,
            Mode::Forward | Mode::Hold | Mode::Lose => {}
        }
        // The server may be gone; then the client hears of it in its way.
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.to)) else { return };
        self.taken.fetch_add(1, Ordering::SeqCst);
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let (sent, brought) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (muted, unmuted) = (Mutex::new(false), Condvar::new());
        let pair = Arc::new(Pair { near, far, sent, brought, muted, unmuted });
        let (forth, back) = (Arc::clone(&pair), Arc::clone(&pair));
        let (mine, own, gate) =
            (Arc::clone(self), Arc::clone(self), self.gate.lock().unwrap().take());
        self.pairs.lock().unwrap().push(pair);
        std::thread::spawn(move || {
            let count = |bytes| {
                mine.sent.fetch_add(bytes, Ordering::SeqCst);
                forth.sent.fetch_add(bytes, Ordering::AcqRel);
            };
            mine.copy((&forth.near, &forth.far), None, || (), count);
        });
        std::thread::spawn(move || {
            let count = |bytes| _ = back.brought.fetch_add(bytes, Ordering::AcqRel);
            own.copy((&back.far, &back.near), gate, || back.wait_unmuted(), count);
        });
    }

    fn copy(
        &self,
        (mut from, mut to): (&TcpStream, &TcpStream),
        mut gate: Option<Gate>,
        may_pass: impl Fn(),
        passes: impl Fn(usize),
    ) {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let read = from.read(&mut bytes);
            if let (Ok(1..), Some(Gate { reached, open })) = (&read, gate.take()) {
                let _ = reached.send(());
                let _ = open.recv();
            }
            may_pass();
            let mode = self.mode();
            let sent = match read {
                _ if mode == Mode::Cut => return,
                Ok(0) | Err(_) => break,
                Ok(_) if mode == Mode::Lose => continue,
                Ok(n) => {
                    // Before it is there: whoever has an answer finds it counted.
                    passes(n);
                    to.write_all(&bytes[..n])
                }
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

fn reset_at_close(stream: &TcpStream) {
    // It may have been reset from the other side already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Answers an SSL request, then sends a record of 16 KiB byte by byte, until nobody
/// takes it any more.
fn drip(mut near: TcpStream) {
    let record = [b'S', 22, 3, 3, 64, 0].into_iter().chain(std::iter::repeat(2));
    // Nobody sends on it.
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    if near.read_exact(&mut [0; 8]).is_ok() {
        for byte in record {
            if near.write_all(&[byte]).is_err() {
                return;
            }
            let _ = never.recv_timeout(Duration::from_millis(300));
        }
    }
}

//! A way from clients to a server that can be held up, made deaf, or cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use socket2::SockRef;

/// What becomes of bytes on their way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// They are not even read, so that whoever sends must stop at some time.
    Hold,
    /// They are taken and lost: nobody can tell but by the silence.
    Lose,
    /// Connections are closed at once.
    Cut,
    /// New ones are; those that are there go on.
    Refuse,
    /// New ones are offered TLS, and then a byte of a handshake now and then; those
    /// that are there go on.
    Drip,
}

/// Forwards TCP connections to a port of this machine.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    changed: Condvar,
    sockets: Mutex<Vec<TcpStream>>,
    /// Connections that were handed on, or dripped on.
    taken: AtomicUsize,
}

impl Proxy {
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Forward),
            changed: Condvar::new(),
            sockets: Mutex::default(),
            taken: AtomicUsize::new(0),
        });
        let own = Arc::clone(&shared);
        #[allow(clippy::disallowed_methods)] // A test's own, ended with the test's process.
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if *own.mode.lock().unwrap() == Mode::Drip {
                    own.taken.fetch_add(1, Ordering::SeqCst);
                    std::thread::spawn(move || drip(near));
                    continue;
                }
                if matches!(*own.mode.lock().unwrap(), Mode::Cut | Mode::Refuse) {
                    continue;
                }
                // The server may be gone; then the client hears of it in its way.
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                own.taken.fetch_add(1, Ordering::SeqCst);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    own.sockets.lock().unwrap().push(from.try_clone().unwrap());
                    let own = Arc::clone(&own);
                    std::thread::spawn(move || own.copy(from, to));
                }
            }
        });
        Proxy { port: near, shared }
    }

    /// How many connections were handed on, or dripped on, so far.
    pub fn taken(&self) -> usize {
        self.shared.taken.load(Ordering::SeqCst)
    }

    /// Stops in both directions; the sockets stay open.
    pub fn hold(&self) {
        self.shared.set(Mode::Hold);
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

    /// Resets every connection, as the system of a killed process does that has
    /// not read all it was sent.
    pub fn cut(&self) {
        self.shared.set(Mode::Cut);
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
            // Wakes its reader; the reset goes out when the last handle is closed.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
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

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 << 10];
        loop {
            let read = from.read(&mut bytes);
            let mode = self.mode();
            let sent = match read {
                _ if mode == Mode::Cut => return,
                Ok(0) | Err(_) => break,
                Ok(_) if mode == Mode::Lose => Ok(()),
                Ok(n) => to.write_all(&bytes[..n]),
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
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

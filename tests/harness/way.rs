//! A way to PostgreSQL that counts what passes, and can be held up and cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, Receiver, Sender};
use socket2::SockRef;

use super::PATIENCE;

/// Passes every connection on to PostgreSQL, until it is told otherwise.
pub struct Way {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// PostgreSQL's port.
    to: u16,
    cut: bool,
    over: bool,
    /// For the next connection.
    gate: Option<Gate>,
    pairs: Vec<Arc<Pair>>,
}

/// One connection: the service's end and PostgreSQL's.
struct Pair {
    near: TcpStream,
    far: TcpStream,
    /// Bytes that PostgreSQL has sent to the service.
    brought: AtomicUsize,
    cut: AtomicBool,
}

struct Gate {
    reached: Sender<()>,
    /// Nobody sends on it: it opens by being closed.
    open: Receiver<()>,
}

/// Keeps PostgreSQL's words from one connection, until this is dropped.
pub struct Hold {
    reached: Receiver<()>,
    _shut: Sender<()>,
}

impl Hold {
    /// Waits until PostgreSQL has something to say on that connection.
    pub fn wait(&self) {
        self.reached.recv_timeout(PATIENCE).expect("PostgreSQL answers");
    }
}

impl Way {
    /// A way to PostgreSQL on this port of 127.0.0.1.
    pub fn to(port: u16) -> Way {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { to: port, ..State::default() }));
        let shared = Arc::clone(&state);
        #[allow(clippy::disallowed_methods)] // A test's own, joined when the way is dropped.
        let accepting = std::thread::spawn(move || {
            for near in listener.incoming() {
                if !accept(near.unwrap(), &shared) {
                    return;
                }
            }
        });
        Way { port: here, state, accepting: Some(accepting) }
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds the next connection up.
    pub fn hold_next(&self) -> Hold {
        let ((tell, reached), (shut, open)) = (bounded(1), bounded(0));
        self.state.lock().unwrap().gate = Some(Gate { reached: tell, open });
        Hold { reached, _shut: shut }
    }

    /// What PostgreSQL has sent on the connection that comes to it from this port.
    pub fn brought(&self, client_port: u16) -> usize {
        let state = self.state.lock().unwrap();
        let from = |pair: &&Arc<Pair>| {
            pair.far.local_addr().is_ok_and(|address| address.port() == client_port)
        };
        let pair = state.pairs.iter().find(from).expect("the connection comes this way");
        pair.brought.load(Ordering::Acquire)
    }

    /// Resets every connection, and each that comes from now on.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = true;
        state.pairs.drain(..).for_each(|pair| pair.cut());
    }

    /// Lets new connections pass again.
    pub fn mend(&self) {
        self.state.lock().unwrap().cut = false;
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.cut();
        self.state.lock().unwrap().over = true;
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// False: the way is over.
fn accept(near: TcpStream, state: &Mutex<State>) -> bool {
    let mut state = state.lock().unwrap();
    // Closed now, it is reset.
    reset_at_close(&near);
    if state.over || state.cut {
        return !state.over;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, state.to)) else {
        return true;
    };
    SockRef::from(&near).set_linger(None).unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let pair =
        Arc::new(Pair { near, far, brought: AtomicUsize::new(0), cut: AtomicBool::new(false) });
    let (forth, back, gate) = (Arc::clone(&pair), Arc::clone(&pair), state.gate.take());
    state.pairs.push(pair);
    #[allow(clippy::disallowed_methods)] // A test's own, ended by the end of the streams.
    {
        std::thread::spawn(move || forth.forth());
        std::thread::spawn(move || back.back(gate));
    }
    true
}

fn reset_at_close(stream: &TcpStream) {
    // It may have been reset from the other side already.
    let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

impl Pair {
    fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        reset_at_close(&self.near);
        // Both threads wake up and let go; with the last the socket is closed.
        let _ = self.far.shutdown(Shutdown::Both);
        let _ = self.near.shutdown(Shutdown::Read);
    }

    fn forth(&self) {
        // Whatever ends it, PostgreSQL hears of it.
        let _ = std::io::copy(&mut &self.near, &mut &self.far);
        let _ = self.far.shutdown(Shutdown::Both);
    }

    fn back(&self, mut gate: Option<Gate>) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = (&self.far).read(&mut buffer) {
            if let Some(Gate { reached, open }) = gate.take() {
                let _ = reached.send(());
                let _ = open.recv();
            }
            if self.cut.load(Ordering::Acquire) || (&self.near).write_all(&buffer[..count]).is_err()
            {
                break;
            }
            self.brought.fetch_add(count, Ordering::AcqRel);
        }
        if !self.cut.load(Ordering::Acquire) {
            let _ = self.near.shutdown(Shutdown::Both);
        }
    }
}

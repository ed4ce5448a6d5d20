//! A server that speaks HTTP/2 by hand, and does what no library does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::frames::{frame, Head, ACK, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS};
use crate::header_blocks::put_string;

/// Takes connections until the process ends.
pub struct Rogue {
    pub port: u16,
    taken: Arc<AtomicUsize>,
}

impl Rogue {
    /// Serves each connection that has begun and said its preface, and was told the settings.
    #[allow(clippy::disallowed_methods)] // Threads of a test, which end with its connections.
    pub fn start(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Rogue {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, serve) = (Arc::new(AtomicUsize::new(0)), Arc::new(serve));
        let count = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || {
                    let mut peer = Peer { stream, number };
                    let mut preface = [0; PREFACE.len()];
                    let begun = peer.stream.read_exact(&mut preface).is_ok();
                    if begun && peer.send(SETTINGS, 0, 0, &[]) {
                        serve(&mut peer);
                    }
                });
            }
        });
        Rogue { port, taken }
    }

    /// So many connections were made.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// One connection.
pub struct Peer {
    stream: TcpStream,
    /// Which one it is, counted from 0.
    pub number: usize,
}

impl Peer {
    /// False when the connection is gone.
    pub fn send(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> bool {
        self.stream.write_all(&frame(kind, flags, id, payload)).is_ok()
    }

    /// Answers pings and settings until a call begins, and returns its stream; `None` when the
    /// connection is gone.
    pub fn call(&mut self) -> Option<u32> {
        loop {
            let head = self.read()?;
            if head.kind == HEADERS {
                return Some(head.stream);
            }
        }
    }

    /// Ends a call with this status and these words, which are escaped.
    pub fn fail(&mut self, id: u32, status: &str, words: &str) -> bool {
        let all = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", status),
            ("grpc-message", words),
        ];
        self.send(HEADERS, END_HEADERS | END_STREAM, id, &block(&all))
    }

    /// The next frame. Settings and pings are answered.
    fn read(&mut self) -> Option<Head> {
        let mut head = [0; Head::SIZE];
        self.stream.read_exact(&mut head).ok()?;
        let head = Head::of(&head);
        let mut payload = vec![0; head.length];
        self.stream.read_exact(&mut payload).ok()?;
        match (head.kind, head.flags & ACK) {
            (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]),
            (PING, 0) => self.send(PING, ACK, 0, &payload),
            _ => true,
        };
        Some(head)
    }
}

/// A header block of literals.
fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in pairs {
        block.push(0);
        put_string(&mut block, name);
        put_string(&mut block, value);
    }
    block
}

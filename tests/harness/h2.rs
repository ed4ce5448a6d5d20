//! A client that speaks HTTP/2 as it likes, in plaintext (`--insecure`): for what no
//! client library sends.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

pub use super::frames::*;
use super::{now, PATIENCE};

/// One connection.
pub struct H2 {
    pub stream: TcpStream,
    next: u32,
    /// What may be sent: in all, in a new call, and in those that have begun.
    window: i64,
    initial: i64,
    windows: HashMap<u32, i64>,
}

/// A frame that has come.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl H2 {
    /// Connects and sends the preface and empty SETTINGS. The server's SETTINGS are
    /// acknowledged by `read` only.
    pub fn connect(port: u16) -> std::io::Result<H2> {
        H2::connect_from(Ipv4Addr::LOCALHOST, port)
    }

    /// The same from another of this machine's addresses.
    pub fn connect_from(address: Ipv4Addr, port: u16) -> std::io::Result<H2> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(PREFACE)?;
        let (window, initial) = (65_535, 65_535);
        let mut h2 = H2 { stream, next: 1, window, initial, windows: HashMap::new() };
        h2.frame(SETTINGS, 0, 0, &[])?;
        Ok(h2)
    }

    pub fn frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(&frame(kind, flags, id, payload))
    }

    /// Begins a call; returns its stream.
    pub fn call(&mut self, path: &str, more: &[(&str, &str)]) -> std::io::Result<u32> {
        let id = self.next;
        self.next += 2;
        self.windows.insert(id, self.initial);
        self.frame(HEADERS, END_HEADERS, id, &headers(path, more))?;
        Ok(id)
    }

    /// Begins calls with one short message each, in one write, for which there must be room;
    /// returns their streams.
    pub fn burst(
        &mut self,
        blocks: impl Iterator<Item = Vec<u8>>,
        message: &[u8],
    ) -> std::io::Result<Vec<u32>> {
        let (mut begun, mut bytes) = (Vec::new(), Vec::new());
        for block in blocks {
            bytes.extend(frame(HEADERS, END_HEADERS, self.next, &block));
            bytes.extend(frame(DATA, END_STREAM, self.next, message));
            self.window -= message.len() as i64;
            begun.push(self.next);
            self.next += 2;
        }
        assert!(self.window >= 0, "the server has made no room");
        self.stream.write_all(&bytes)?;
        Ok(begun)
    }

    /// From now on nothing is taken of a new call's answer but its headers: there is no
    /// room for data.
    pub fn take_nothing(&mut self) -> std::io::Result<()> {
        const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
        self.frame(SETTINGS, 0, 0, &[INITIAL_WINDOW_SIZE.as_slice(), &[0; 4]].concat())
    }

    /// Sends data of a call, in frames of 16 KiB, whether there is room for it or not.
    pub fn data(&mut self, id: u32, bytes: &[u8], last: bool) -> std::io::Result<()> {
        let mut rest = bytes;
        loop {
            let (now, later) = rest.split_at(rest.len().min(16384));
            self.window -= now.len() as i64;
            self.windows.entry(id).and_modify(|own| *own -= now.len() as i64);
            let flags = if last && later.is_empty() { END_STREAM } else { 0 };
            self.frame(DATA, flags, id, now)?;
            if later.is_empty() {
                return Ok(());
            }
            rest = later;
        }
    }

    /// Sends so many bytes of a call's data as the server makes room for them. Returns
    /// how many went before the call or the connection ended.
    pub fn feed(&mut self, id: u32, count: usize) -> usize {
        let (mut sent, until) = (0, now() + PATIENCE);
        while sent < count {
            assert!(now() < until, "the server makes no room, and does not end the call");
            let Some(own) = self.windows.get_mut(&id) else { return sent };
            let room = (*own).min(self.window).clamp(0, 16_384) as usize;
            let now = room.min(count - sent);
            if now > 0 {
                *own -= now as i64;
                self.window -= now as i64;
                if self.frame(DATA, 0, id, &[b'x'; 16_384][..now]).is_err() {
                    return sent;
                }
                sent += now;
            } else if self.read().is_none() {
                return sent;
            }
        }
        sent
    }

    fn note(&mut self, frame: &Frame) {
        let numbers = |bytes: &[u8]| i64::from(u32::from_be_bytes(bytes.try_into().unwrap()));
        match (frame.kind, frame.stream) {
            (WINDOW_UPDATE, 0) => self.window += numbers(&frame.payload),
            (WINDOW_UPDATE, id) => {
                if let Some(own) = self.windows.get_mut(&id) {
                    *own += numbers(&frame.payload);
                }
            }
            (SETTINGS, _) => {
                for setting in frame.payload.chunks_exact(6).filter(|it| it[..2] == [0, 4]) {
                    let initial = numbers(&setting[2..]);
                    let more = initial - std::mem::replace(&mut self.initial, initial);
                    self.windows.values_mut().for_each(|own| *own += more);
                }
            }
            (RST_STREAM, id) => drop(self.windows.remove(&id)),
            (HEADERS, id) if frame.flags & END_STREAM != 0 => drop(self.windows.remove(&id)),
            _ => {}
        }
    }

    /// The next frame; SETTINGS are acknowledged and pings answered on the way.
    /// `None`: the connection has ended.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; Head::SIZE];
        if let Err(error) = self.stream.read_exact(&mut head) {
            assert!(
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "no frame came"
            );
            return None;
        }
        let Head { length, kind, flags, stream } = Head::of(&head);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let frame = Frame { kind, flags, stream, payload };
        self.note(&frame);
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.frame(SETTINGS, ACK, 0, &[]).ok()?;
        }
        if frame.kind == PING && frame.flags & ACK == 0 {
            self.frame(PING, ACK, 0, &frame.payload.clone()).ok()?;
        }
        Some(frame)
    }

    /// Makes room for so many bytes more of a call's answer.
    pub fn take(&mut self, call: u32, bytes: u32) -> std::io::Result<()> {
        self.frame(WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes())?;
        self.frame(WINDOW_UPDATE, 0, call, &bytes.to_be_bytes())
    }

    /// The status that the call ends with, as the first that ends on its connection:
    /// later ones are told by reference to it.
    pub fn status(&mut self, call: u32) -> i32 {
        let ends = |frame: &Frame| {
            let kind = matches!(frame.kind, HEADERS | RST_STREAM);
            let last = frame.kind == RST_STREAM || frame.flags & END_STREAM != 0;
            kind && last && frame.stream == call
        };
        let last = self.read_until(ends).expect("the connection stays");
        assert_eq!(last.kind, HEADERS, "it is broken off");
        let (name, last) = (b"grpc-status", last.payload);
        let at = last.windows(name.len()).position(|window| window == name).expect("a status");
        let value = &last[at + name.len()..];
        let digits = &value[1..=usize::from(value[0])];
        std::str::from_utf8(digits).unwrap().parse().expect("a number")
    }

    /// True until the server has ended the connection. Drops what has come.
    pub fn is_open(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let open = loop {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).expect("a socket");
        open
    }

    /// Reads until `wanted` says yes, or the connection ends. What it does not want, as
    /// pings are that come for ever, is no reason to wait for longer.
    pub fn read_until(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        let until = now() + PATIENCE;
        loop {
            assert!(now() < until, "the frame did not come");
            let frame = self.read()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }
}

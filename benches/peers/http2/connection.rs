//! One connection: frames that come, and the calls that they belong to.

use std::io::Write;
use std::net::TcpStream;

use openssl::ssl::{ErrorCode, SslStream};

use super::call::Call;
use super::sending::{Sending, CANCEL, FRAME};
use super::socket::{Socket, Target};
use super::Done;
use crate::harness::frames::*;
use crate::harness::header_blocks::Reader;
use crate::Answer;

const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Settings by their numbers.
const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// What is sent as settings: no pushes, much room for each call, and, as gRPC's core has it,
/// binary values of headers as they are.
const SETTINGS_SENT: [(u16, u32); 3] = [(2, 0), (INITIAL_WINDOW_SIZE, ROOM), (0xfe03, 1)];
/// Room for what comes. It is made again when half of it is taken.
const ROOM: u32 = 1 << 30;
/// Seconds after which a call that has no answer has failed.
const PATIENCE: u32 = 20;

pub struct Connection {
    target: Target,
    tls: SslStream<Socket>,
    come: Vec<u8>,
    filled: usize,
    reader: Reader,
    /// Of a header block that comes in parts: the call, its flags, and what has come.
    parts: Option<(u32, u8, Vec<u8>)>,
    untold: u32,
    pub(super) calls: Vec<Call>,
    pub(super) sending: Sending,
    ended: Option<String>,
}

impl Connection {
    pub fn open(target: &Target) -> Answer<Connection> {
        let mut sending = Sending::new(target.port);
        sending.out.extend_from_slice(PREFACE);
        let settings = SETTINGS_SENT
            .map(|(name, value)| [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat());
        sending.frame(SETTINGS, 0, 0, &settings.concat());
        sending.frame(WINDOW_UPDATE, 0, 0, &ROOM.to_be_bytes());
        let mut connection = Connection {
            target: target.clone(),
            tls: target.connect()?,
            come: vec![0; 4 * FRAME],
            filled: 0,
            reader: Reader::default(),
            parts: None,
            untold: 0,
            calls: Vec::new(),
            sending,
            ended: None,
        };
        connection.flush();
        Ok(connection)
    }

    /// Takes what has come while nobody looked, and connects again if that was the end.
    pub fn settle(&mut self) {
        // The end shows only to who looks again.
        (0..2).for_each(|_| self.receive(&mut Vec::new()));
        self.flush();
        if self.ended.is_some() {
            if let Ok(new) = Connection::open(&self.target) {
                *self = new;
            }
        }
    }

    pub fn socket(&self) -> &TcpStream {
        &self.tls.get_ref().stream
    }

    /// Fails once the connection has ended, and says why.
    pub fn ended(&self) -> Done<()> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, why: String, woken: &mut Vec<usize>) {
        for call in &mut self.calls {
            call.fail(&why);
            woken.push(call.caller);
        }
        self.ended.get_or_insert(why);
    }

    /// Sends what there is to be sent. Returns true if the socket takes no more of it now.
    pub fn flush(&mut self) -> bool {
        let out = &mut self.sending.out;
        let mut done = Ok(());
        if !out.is_empty() {
            done = self.tls.ssl_write(out).map(drop).map_err(|error| error.to_string());
            out.clear();
        }
        let socket = self.tls.get_mut();
        let done = done.and_then(|()| socket.flush().map_err(|error| error.to_string()));
        let full = socket.is_full();
        if let Err(why) = done {
            // Those who wait are told when the end shows at reading, too.
            self.ended.get_or_insert(why);
        }
        full
    }

    /// Reads what has come, and says whose calls have got on.
    pub fn receive(&mut self, woken: &mut Vec<usize>) {
        self.tls.get_mut().readable();
        loop {
            let read = match self.tls.ssl_read(&mut self.come[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    self.frames(woken)
                }
                Err(error) if error.code() == ErrorCode::WANT_READ => return,
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    Err("the server has ended the connection".to_owned())
                }
                Err(error) => Err(format!("the connection has ended: {error}")),
            };
            if let Err(why) = read {
                return self.end(why, woken);
            }
        }
    }

    fn frames(&mut self, woken: &mut Vec<usize>) -> Done<()> {
        let come = std::mem::take(&mut self.come);
        let mut rest = &come[..self.filled];
        let mut done = Ok(());
        while let Some((head, behind)) = rest.split_first_chunk() {
            let head = Head::of(head);
            let Some((payload, behind)) = behind.split_at_checked(head.length) else { break };
            rest = behind;
            done = self.frame(head, payload, woken);
            if done.is_err() {
                break;
            }
        }
        let left = self.filled - rest.len()..self.filled;
        self.filled = rest.len();
        self.come = come;
        self.come.copy_within(left, 0);
        done
    }

    fn frame(&mut self, head: Head, payload: &[u8], woken: &mut Vec<usize>) -> Done<()> {
        let (id, first) =
            (head.stream, payload.first_chunk().map(|four| u32::from_be_bytes(*four)));
        match head.kind {
            DATA | HEADERS if head.flags & (PADDED | PRIORITY) != 0 => {
                return Err(format!("a frame with flags {}", head.flags));
            }
            DATA => self.data(id, payload, woken),
            HEADERS if head.flags & END_HEADERS != 0 => {
                return self.block(id, head.flags, payload, woken);
            }
            HEADERS => self.parts = Some((id, head.flags, payload.to_vec())),
            CONTINUATION => {
                let mut parts = self.parts.take().ok_or("a CONTINUATION of nothing")?;
                parts.2.extend_from_slice(payload);
                if head.flags & END_HEADERS != 0 {
                    return self.block(parts.0, parts.1, &parts.2, woken);
                }
                self.parts = Some(parts);
            }
            RST_STREAM => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
                    let error = first.unwrap_or_default();
                    call.fail(&format!("the server broke the call off, error {error}"));
                    woken.push(call.caller);
                }
            }
            SETTINGS if head.flags & ACK == 0 => return self.settings(payload),
            PING if head.flags & ACK == 0 => self.sending.frame(PING, ACK, 0, payload),
            GOAWAY => {
                let text = String::from_utf8_lossy(payload.get(8..).unwrap_or_default());
                return Err(format!("the server says GOAWAY: {text}"));
            }
            WINDOW_UPDATE => {
                let more = i64::from(first.unwrap_or_default());
                match self.calls.iter_mut().find(|call| call.id == id) {
                    Some(call) => call.room += more,
                    None if id == 0 => self.sending.room += more,
                    None => {}
                }
                self.sending.send_held(&mut self.calls);
            }
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, id: u32, payload: &[u8], woken: &mut Vec<usize>) {
        let size = payload.len() as u32;
        let mut told = |untold: &mut u32, id: u32| {
            *untold += size;
            if *untold > ROOM / 2 {
                self.sending.frame(WINDOW_UPDATE, 0, id, &untold.to_be_bytes());
                *untold = 0;
            }
        };
        told(&mut self.untold, 0);
        let Some(call) = self.calls.iter_mut().find(|call| call.id == id) else { return };
        told(&mut call.untold, id);
        call.silent = 0;
        call.data(payload);
        if call.streams {
            woken.push(call.caller);
        }
    }

    fn block(&mut self, id: u32, flags: u8, block: &[u8], woken: &mut Vec<usize>) -> Done<()> {
        let Some(call) = self.calls.iter_mut().find(|call| call.id == id) else {
            // What it adds to the table counts for others.
            return self.reader.read(block, |_, _| {});
        };
        self.reader.read(block, |name, value| call.field(name, value))?;
        if flags & END_STREAM != 0 {
            call.end();
            woken.push(call.caller);
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) -> Done<()> {
        for setting in payload.chunks_exact(6) {
            let (name, value) = setting.split_at(2);
            let (Ok(name), Ok(value)) = (name.try_into(), value.try_into()) else { continue };
            let (name, value) = (u16::from_be_bytes(name), u32::from_be_bytes(value));
            if name == HEADER_TABLE_SIZE && value < 4096 {
                return Err(format!("the server remembers {value} bytes of headers only"));
            }
            if name == INITIAL_WINDOW_SIZE {
                let more = i64::from(value) - self.sending.initial;
                self.sending.initial += more;
                self.calls.iter_mut().for_each(|call| call.room += more);
            }
        }
        self.sending.frame(SETTINGS, ACK, 0, &[]);
        self.sending.send_held(&mut self.calls);
        Ok(())
    }

    /// A second has passed.
    pub fn tick(&mut self, woken: &mut Vec<usize>) {
        for call in &mut self.calls {
            call.silent += 1;
            if call.silent > PATIENCE && call.outcome.is_none() {
                call.fail(&format!("no answer within {PATIENCE} s"));
                self.sending.frame(RST_STREAM, 0, call.id, &CANCEL);
                woken.push(call.caller);
            }
        }
    }

    /// A call, as long as its end was not taken.
    pub fn call(&mut self, id: u32) -> Done<&mut Call> {
        let call = self.calls.iter_mut().find(|call| call.id == id);
        call.ok_or_else(|| "the call has ended".to_owned())
    }

    /// Takes the call if it has ended.
    pub fn take_ended(&mut self, id: u32) -> Option<Call> {
        let at = self.calls.iter().position(|call| call.id == id && call.outcome.is_some())?;
        Some(self.calls.swap_remove(at))
    }
}

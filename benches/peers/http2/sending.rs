//! What a connection sends: heads of calls, and messages as the server has room for them.

use protobuf::{CodedOutputStream, Message};

use super::call::Call;
use super::connection::Connection;
use super::Done;
use crate::harness::frames::{Head, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use crate::harness::header_blocks::Writer;

/// Bytes of a frame that every server takes.
pub const FRAME: usize = 16_384;
/// What a server takes of a connection and of a call until it says otherwise.
pub const WINDOW: i64 = 65_535;
/// What a call is broken off with.
pub const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
/// As gRPC's core says that a call may take 20 seconds.
const TIMEOUT: &str = "20S";

/// What may be sent, and what waits for that.
pub struct Sending {
    /// Frames that go with the next flush.
    pub out: Vec<u8>,
    pub room: i64,
    /// What a new call may send.
    pub initial: i64,
    held: Vec<(u32, Vec<u8>)>,
    next: u32,
    writer: Writer,
    authority: String,
    heads: Vec<Block>,
}

/// The header block of a method, all of whose fields were sent before.
struct Block {
    path: &'static str,
    /// The fields that were known when it was made.
    known: usize,
    bytes: Vec<u8>,
}

impl Sending {
    pub fn new(port: u16) -> Sending {
        Sending {
            out: Vec::new(),
            room: WINDOW,
            initial: WINDOW,
            held: Vec::new(),
            next: 1,
            writer: Writer::default(),
            authority: format!("localhost:{port}"),
            heads: Vec::new(),
        }
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let head = Head { length: payload.len(), kind, flags, stream };
        self.out.extend_from_slice(&head.bytes());
        self.out.extend_from_slice(payload);
    }

    /// Sends the head of a call; returns its number.
    fn head(&mut self, path: &'static str, streams: bool) -> u32 {
        let id = self.next;
        self.next += 2;
        let known = self.writer.known();
        let of = |block: &&Block| block.path == path && block.known == known;
        let block = match self.heads.iter().find(of) {
            Some(block) => block,
            None => {
                let bytes = self.block(path, streams);
                self.heads.retain(|block| block.path != path);
                // As long as a field was not known before, the block is good for once.
                let known = if known == self.writer.known() { known } else { usize::MAX };
                self.heads.push(Block { path, known, bytes });
                &self.heads[self.heads.len() - 1]
            }
        };
        let (length, kind, flags) = (block.bytes.len(), HEADERS, END_HEADERS);
        self.out.extend_from_slice(&Head { length, kind, flags, stream: id }.bytes());
        self.out.extend_from_slice(&block.bytes);
        id
    }

    fn block(&mut self, path: &str, streams: bool) -> Vec<u8> {
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", &self.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "connection-pool-manager-bench"),
            ("grpc-accept-encoding", "identity, deflate, gzip"),
        ];
        if !streams {
            fields.push(("grpc-timeout", TIMEOUT));
        }
        let mut block = Vec::new();
        fields.iter().for_each(|(name, value)| self.writer.put(&mut block, name, value));
        block
    }

    /// Sends what was held, as far as there is room now.
    pub fn send_held(&mut self, calls: &mut [Call]) {
        let held = std::mem::take(&mut self.held);
        for (id, frame) in held {
            self.send_frame(calls, id, frame);
        }
    }

    fn send_frame(&mut self, calls: &mut [Call], id: u32, frame: Vec<u8>) {
        let Some(call) = calls.iter_mut().find(|call| call.id == id) else { return };
        let size = (frame.len() - Head::SIZE) as i64;
        if size > self.room.min(call.room) || self.held.iter().any(|(other, _)| *other == id) {
            return self.held.push((id, frame));
        }
        self.room -= size;
        call.room -= size;
        self.out.extend_from_slice(&frame);
    }
}

impl Connection {
    /// Begins a call; returns its number.
    pub fn begin(&mut self, caller: usize, path: &'static str, streams: bool) -> Done<u32> {
        self.ended()?;
        let id = self.sending.head(path, streams);
        self.calls.push(Call::new(id, caller, streams, self.sending.initial));
        Ok(id)
    }

    /// Sends a message of a call.
    pub fn send(&mut self, id: u32, message: &impl Message, last: bool) -> Done<()> {
        let size = message.compute_size() as usize;
        let length = 5 + size;
        if length > FRAME {
            self.sending.frame(RST_STREAM, 0, id, &CANCEL);
            self.calls.retain(|call| call.id != id);
            return Err(format!("a message of {size} bytes is more than one frame takes"));
        }
        let Some(call) = self.calls.iter_mut().find(|call| call.id == id) else {
            return Err("the call has ended".to_owned());
        };
        let out = &mut self.sending.out;
        let began = out.len();
        let flags = if last { END_STREAM } else { 0 };
        out.extend_from_slice(&Head { length, kind: DATA, flags, stream: id }.bytes());
        out.push(0);
        out.extend_from_slice(&(size as u32).to_be_bytes());
        let mut coded = CodedOutputStream::vec(out);
        let written = message.write_to_with_cached_sizes(&mut coded).and_then(|()| coded.flush());
        written.map_err(|error| error.to_string())?;
        drop(coded);
        let length = length as i64;
        if length <= self.sending.room.min(call.room) && self.sending.held.is_empty() {
            self.sending.room -= length;
            call.room -= length;
        } else {
            let frame = self.sending.out.split_off(began);
            self.sending.send_frame(&mut self.calls, id, frame);
        }
        Ok(())
    }
}

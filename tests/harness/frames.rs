//! The bytes of HTTP/2 and gRPC, for clients that are written by hand.

use super::header_blocks::put_string;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// How a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the payload.
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    /// Bytes of it.
    pub const SIZE: usize = 9;

    pub fn of(bytes: &[u8; Head::SIZE]) -> Head {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Head { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }

    pub fn bytes(self) -> [u8; Head::SIZE] {
        let ([_, a, b, c], stream) =
            ((self.length as u32).to_be_bytes(), self.stream.to_be_bytes());
        [a, b, c, self.kind, self.flags, stream[0], stream[1], stream[2], stream[3]]
    }
}

/// The bytes of one frame.
pub fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let head = Head { length: payload.len(), kind, flags, stream: id };
    [head.bytes().as_slice(), payload].concat()
}

/// A header block that begins a gRPC call, all literals.
pub fn headers(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in usual.iter().chain(more) {
        block.push(0);
        put_string(&mut block, name);
        put_string(&mut block, value);
    }
    block
}

/// A gRPC message: its prefix, then its bytes.
pub fn message(bytes: &[u8], compressed: bool) -> Vec<u8> {
    let mut message = vec![u8::from(compressed)];
    message.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    message.extend_from_slice(bytes);
    message
}

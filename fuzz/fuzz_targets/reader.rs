//! Fuzzes the reader of a server's messages. For any bytes, cut anywhere: no panic, the
//! same messages whatever the cuts, and memory in proportion to what has arrived.
//!
//! The pure modules are included by path, without gRPC and OpenSSL, so that a build takes
//! seconds.
#![no_main]
#![allow(dead_code, unused_imports)] // Only a part of them is needed.

#[path = "../../src"]
mod pure {
    pub mod core;
    pub mod error;
    pub mod pgwire;
}

use libfuzzer_sys::fuzz_target;
use pure::{core, error, pgwire};

use crate::error::Excess;
use crate::pgwire::bounds::Bounds;
use crate::pgwire::facts::Facts;
use crate::pgwire::fault::fault_in;
use crate::pgwire::message::{columns, parameters, Message};
use crate::pgwire::read::Reader;
use crate::pgwire::row::RawRow;

/// The messages read, in order. Adjacent parts of COPY data are merged.
#[derive(Default, PartialEq, Debug)]
struct Seen {
    messages: Vec<String>,
    data: Vec<u8>,
    refused: Option<Excess>,
}

impl Seen {
    fn take(&mut self, message: &Message<'_>) {
        match message {
            Message::Data(part) => return self.data.extend_from_slice(part),
            // Decodes the content too.
            Message::Columns(body) => drop(columns(body)),
            Message::Parameters(body) => drop(parameters(body)),
            Message::Error(fields) | Message::Notice(fields) => drop(fault_in(fields)),
            Message::Row(body) => {
                let count = body.first_chunk().map_or(0, |count| u16::from_be_bytes(*count));
                if let Some(row) = RawRow::read(body, usize::from(count)) {
                    assert_eq!(row.values().count(), usize::from(count));
                }
            }
            _ => {}
        }
        self.messages.push(format!("{} {message:?}", self.data.len()));
    }
}

/// Reads it all, in chunks of these sizes, again and again.
fn read(mut bytes: &[u8], asked: u8, cuts: &[u8]) -> Seen {
    let (mut reader, mut bounds) = (Reader::default(), Bounds::default());
    let (mut facts, mut seen) = (Facts::default(), Seen::default());
    match asked % 4 {
        0 => {}
        1 => bounds.start_question(),
        2 => bounds.start_lookups(),
        _ => bounds.start_statement(),
    }
    let mut sizes = cuts.iter().cycle();
    let all = bytes.len();
    while !bytes.is_empty() {
        let size = sizes.next().map_or(usize::MAX, |size| usize::from(*size) + 1);
        let room = reader.room();
        let now = size.min(room.len()).min(bytes.len());
        room[..now].copy_from_slice(&bytes[..now]);
        reader.filled(now);
        bytes = &bytes[now..];
        loop {
            let taken = match reader.is_ready(&mut bounds) {
                Ok(false) => break,
                Ok(true) => reader.take(),
                Err(excess) => Err(excess),
            };
            match taken {
                Ok(message) => {
                    facts.note(&message);
                    seen.take(&message);
                }
                Err(excess) => {
                    seen.refused = Some(excess);
                    return seen;
                }
            }
        }
        assert!(reader.capacity() <= (16 << 10).max(2 * (all + (8 << 10))));
        match size % 16 {
            0 => reader.shrink(),
            1 => reader.rest(),
            _ => {}
        }
    }
    seen
}

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (asked, cuts, bytes) = input;
    assert_eq!(read(&bytes, asked, &cuts), read(&bytes, asked, &[]));
});

//! What a PostgreSQL never does.

use super::moments::Moment;
use crate::harness;
use crate::harness::fake::{message, row, setting, Talk};

/// A server that sends this and then nothing more.
pub struct Evil {
    pub name: &'static str,
    pub says: fn(&mut Talk),
    /// A part of the error.
    pub part: &'static str,
    /// Where it is no violation, or fails with another error.
    pub but_at: &'static [Moment],
}

impl Evil {
    pub fn fails_at(&self, moment: Moment) -> bool {
        !self.but_at.contains(&moment)
    }
}

/// A header whose length, with its own four bytes, is this.
fn header(kind: u8, length: u32) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes()].concat()
}

fn send(talk: &mut Talk, bytes: &[u8]) {
    talk.say(bytes);
}

fn endless(talk: &mut Talk, next: impl FnMut(usize) -> Vec<u8>) {
    let _ = talk.flood(usize::MAX, next);
}

const fn evil(name: &'static str, says: fn(&mut Talk), part: &'static str) -> Evil {
    Evil { name, says, part, but_at: &[] }
}

const NO_MESSAGE: &str = "a malformed or unknown message";
const OUT_OF_TURN: &str = "a message out of turn";
const IMPOSSIBLE: &str = "the impossible length";
const TOO_LONG: &str = "a message of more than";

pub const EVILS: &[Evil] = &[
    evil("unknown", |talk| send(talk, &message(b'%', b"x")), NO_MESSAGE),
    evil("high-byte", |talk| send(talk, &message(0xff, b"")), NO_MESSAGE),
    evil("of-a-client", |talk| send(talk, &message(b'P', b"\0\0\0\0")), NO_MESSAGE),
    evil("length-0", |talk| send(talk, &header(b'C', 0)), IMPOSSIBLE),
    evil("length-3", |talk| send(talk, &header(b'D', 3)), IMPOSSIBLE),
    evil("negative", |talk| send(talk, &header(b'D', u32::MAX)), TOO_LONG),
    evil("most-negative", |talk| send(talk, &header(b'T', 1 << 31)), TOO_LONG),
    evil("enormous", |talk| send(talk, &header(b'E', i32::MAX as u32)), TOO_LONG),
    evil("long-notice", |talk| send(talk, &header(b'N', 9 << 20)), TOO_LONG),
    evil("long-setting", |talk| send(talk, &header(b'S', 65 << 10)), TOO_LONG),
    evil("key", |talk| send(talk, &message(b'K', &[0; 8])), OUT_OF_TURN),
    evil("login", |talk| send(talk, &message(b'R', &[0; 4])), OUT_OF_TURN),
    evil("version", |talk| send(talk, &message(b'v', &[0; 8])), OUT_OF_TURN),
    // It ends a statement that has a limit; whoever says no more then is only late.
    Evil {
        name: "suspended",
        says: |talk| send(talk, &message(b's', b"")),
        part: OUT_OF_TURN,
        but_at: &[Moment::Statement],
    },
    evil("ready", |talk| send(talk, &message(b'Z', b"I")), OUT_OF_TURN),
    evil("state", |talk| send(talk, &message(b'Z', b"X")), NO_MESSAGE),
    evil("states", |talk| send(talk, &message(b'Z', b"II")), NO_MESSAGE),
    evil("no-state", |talk| send(talk, &message(b'Z', b"")), NO_MESSAGE),
    Evil {
        name: "copy-in",
        says: |talk| send(talk, &message(b'G', &[0, 0, 0])),
        part: OUT_OF_TURN,
        but_at: &[Moment::CopyIn],
    },
    Evil {
        name: "copy-out",
        says: |talk| send(talk, &message(b'H', &[0, 0, 0])),
        part: OUT_OF_TURN,
        but_at: &[Moment::CopyOut],
    },
    Evil {
        name: "data",
        says: |talk| send(talk, &message(b'd', b"x")),
        part: OUT_OF_TURN,
        but_at: &[Moment::CopyOut],
    },
    Evil {
        name: "two-columns",
        says: |talk| send(talk, &row(&[b"a", b"b"])),
        part: "0x44",
        but_at: &[Moment::Prepare, Moment::CopyIn, Moment::CopyOut],
    },
    Evil {
        name: "no-column",
        says: |talk| send(talk, &row(&[])),
        part: "0x44",
        but_at: &[Moment::Prepare, Moment::CopyIn, Moment::CopyOut],
    },
    Evil {
        name: "empty-row",
        says: |talk| send(talk, &message(b'D', b"")),
        part: "0x44",
        but_at: &[Moment::Prepare, Moment::CopyIn, Moment::CopyOut],
    },
    Evil {
        name: "long-value",
        says: |talk| send(talk, &message(b'D', &[0, 1, 0, 0, 0, 9, 1])),
        part: "0x44",
        but_at: &[Moment::Prepare, Moment::CopyIn, Moment::CopyOut],
    },
    Evil {
        name: "row",
        says: |talk| send(talk, &row(&[b"a"])),
        part: OUT_OF_TURN,
        but_at: &[Moment::Statement, Moment::LookUp, Moment::Reset],
    },
    evil("unended-tag", |talk| send(talk, &message(b'C', b"SELECT 1")), NO_MESSAGE),
    evil(
        "settings",
        |talk| endless(talk, |n| setting(&format!("name{n}"), "value")),
        "more than 100 settings or 65536 bytes of them",
    ),
    Evil {
        name: "half-a-description",
        says: |talk| send(talk, &message(b'T', &[0, 9, b'c', 0])),
        part: "0x54",
        but_at: &[
            Moment::Statement,
            Moment::LookUp,
            Moment::Reset,
            Moment::CopyIn,
            Moment::CopyOut,
        ],
    },
    Evil {
        name: "description",
        says: |talk| send(talk, &harness::fake::described(&[25])),
        part: OUT_OF_TURN,
        but_at: &[Moment::Prepare],
    },
    // In a statement they are the user's, and it is cancelled for them.
    Evil {
        name: "notices",
        says: |talk| endless(talk, |_| harness::fake::notice("well")),
        part: "in answer to a query of the service",
        but_at: &[Moment::Statement, Moment::CopyIn, Moment::CopyOut],
    },
    Evil {
        name: "same-setting",
        says: |talk| endless(talk, |_| setting("TimeZone", "UTC")),
        part: "in answer to a query of the service",
        but_at: &[Moment::Statement, Moment::CopyIn, Moment::CopyOut],
    },
];

//! Limits on what PostgreSQL may send, for the memory or the time it costs.

use std::fmt;

use crate::core::budget::Spent;

/// The most messages besides rows that one statement may send: each costs time, and only
/// the first hundred notices are kept.
pub const NOTICES_MAX: usize = 10_000;
/// Bytes of such messages.
pub const NOTICES_BYTES: usize = 64 << 20;

/// Why the service aborted a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// More than so many bytes before the login is over.
    Login(usize),
    /// More than so many bytes in answer to a query of the service's own.
    Answer(usize),
    /// Names or values of settings beyond so many names or bytes.
    Settings {
        /// Different names.
        names: usize,
        /// Bytes of names and values.
        bytes: usize,
    },
    /// One message of more than so many bytes.
    Message(usize),
    /// More than so many bytes of pending notifications.
    Notifications(usize),
    /// More than so many bytes of answers while the statements were still being sent.
    Ahead(usize),
    /// Records of TLS without data, and no end of them.
    NoData,
    /// A message with this length, which is less than that of the length field itself.
    Length(usize),
    /// A message of this type byte that the protocol does not define, or that is malformed.
    Garbage(u8),
    /// A message where the protocol does not allow it.
    OutOfTurn(&'static str),
    /// No memory is left for the rest of a message.
    NoRoom(Spent),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Login(limit) => {
                write!(f, "the server sent more than {limit} bytes before the login was over")
            }
            Excess::Answer(limit) => write!(
                f,
                "the server sent more than {limit} bytes in answer to a query of the service"
            ),
            Excess::Settings { names, bytes } => {
                write!(f, "the server reported more than {names} settings or {bytes} bytes of them")
            }
            Excess::Message(limit) => {
                write!(f, "the server sent a message of more than {limit} bytes")
            }
            Excess::Notifications(limit) => {
                write!(f, "more than {limit} bytes of notifications were pending")
            }
            Excess::Ahead(limit) => {
                write!(f, "the server sent more than {limit} bytes before it had read the request")
            }
            Excess::NoData => {
                write!(f, "the server sent records of TLS without data, and no end of them")
            }
            Excess::Length(length) => {
                write!(f, "the server sent a message with the impossible length {length}")
            }
            Excess::Garbage(kind) => {
                write!(f, "the server sent a malformed or unknown message (type byte 0x{kind:02x})")
            }
            Excess::OutOfTurn(what) => {
                write!(f, "the server sent a message out of turn ({what})")
            }
            Excess::NoRoom(Spent { name, used, asked, limit }) => write!(
                f,
                "there was no memory for the rest of a message from the server: {name}: {used} \
                 of {limit} used, {asked} more needed"
            ),
        }
    }
}

impl std::error::Error for Excess {}

//! What PostgreSQL may not send, for the memory or the time it would cost.

use std::fmt;

use crate::core::budget::Spent;

/// Messages beside its rows that one statement may bring: each costs some time, and only
/// the first hundred notices are kept.
pub const NOTICES_MAX: usize = 10_000;
/// Bytes of such messages.
pub const NOTICES_BYTES: usize = 64 << 20;

/// Why the service has broken a connection off by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// More than so many bytes before the login is over.
    Login(usize),
    /// More than so many bytes as answer to a question of the service's own.
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
    /// More than so many bytes of notifications that wait.
    Notifications(usize),
    /// More than so many bytes of answers while the statements were still going out.
    Ahead(usize),
    /// A message claims to have so many bytes, which is less than its length takes.
    Length(usize),
    /// A message of this type that the protocol does not have, or not in this form.
    Garbage(u8),
    /// A message of this type where the protocol has none.
    OutOfTurn(&'static str),
    /// A message comes in parts, and there is no memory for more of it.
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
                "the server sent more than {limit} bytes as answer to a question of the service"
            ),
            Excess::Settings { names, bytes } => {
                write!(f, "the server reported more than {names} settings or {bytes} bytes of them")
            }
            Excess::Message(limit) => {
                write!(f, "the server sent a message of more than {limit} bytes")
            }
            Excess::Notifications(limit) => {
                write!(f, "more than {limit} bytes of notifications came at once")
            }
            Excess::Ahead(limit) => write!(
                f,
                "the server sent more than {limit} bytes before it had taken what it was asked"
            ),
            Excess::Length(length) => {
                write!(f, "the server sent a message with the impossible length {length}")
            }
            Excess::Garbage(kind) => write!(
                f,
                "the server sent what is no message of the protocol (type byte 0x{kind:02x})"
            ),
            Excess::OutOfTurn(what) => {
                write!(f, "the server sent a message out of turn ({what})")
            }
            Excess::NoRoom(Spent { name, used, asked, limit }) => write!(
                f,
                "there was no memory for the rest of a message of the server: {name}: {used} \
                 of {limit} used, {asked} more wanted"
            ),
        }
    }
}

impl std::error::Error for Excess {}

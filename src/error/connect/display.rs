//! The texts of the connect errors.

use std::fmt;

use crate::core::secs::Secs;
use crate::error::ConnectError;

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Rejected(fault) | ConnectError::Busy(fault) => fault.fmt(f),
            ConnectError::Deferred { target, user, refusals, retry } => write!(
                f,
                "{target}: {refusals} logins of user {user:?} were refused there recently, so \
                 attempts are limited to one a second and this one was deferred; it is due in {} s",
                Secs(*retry)
            ),
            ConnectError::NoRoom { target, used, waiting } => write!(
                f,
                "{target} has no room: this service has {used} connections there, and {waiting} \
                 requests wait for one"
            ),
            ConnectError::Unreachable { target, why } | ConnectError::Untrusted { target, why } => {
                write!(f, "{target}: {why}")
            }
            ConnectError::Forbidden { target, .. } => {
                write!(f, "{target} is no host that a client may name (--allowed-hosts)")
            }
            ConnectError::WrongRole { target, why, wanted } => {
                write!(f, "{target}: {why} (target_session_attrs={wanted})")
            }
            ConnectError::Several(errors) => {
                f.write_str(&several(errors.iter().map(ToString::to_string)))
            }
            ConnectError::TimedOut { target, step, limit } => {
                write!(f, "{target}: no answer within {} s ({step})", Secs(*limit))
            }
            ConnectError::Settings(text) => f.write_str(text),
            ConnectError::Starved(why) => {
                write!(f, "the service itself is short of resources: {why}")
            }
            ConnectError::Panicked => f.write_str("internal error: the attempt panicked"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl ConnectError {
    /// The text for the log, which also has what no client is told.
    pub fn in_full(&self) -> String {
        match self {
            ConnectError::Forbidden { why: Some(why), .. } => format!("{self}: {why}"),
            ConnectError::Several(errors) => several(errors.iter().map(ConnectError::in_full)),
            _ => self.to_string(),
        }
    }
}

fn several(texts: impl Iterator<Item = String>) -> String {
    let text = texts.collect::<Vec<_>>().join("; ");
    match text.char_indices().nth(SEVERAL_MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A DSN may name hundreds of servers, and the text travels in gRPC's trailers.
pub(super) const SEVERAL_MAX_CHARS: usize = 1000;

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
            ConnectError::Forbidden { target } => {
                write!(f, "{target} is no host that a client may name (--allowed-hosts)")
            }
            ConnectError::WrongRole { target, why, wanted } => {
                write!(f, "{target}: {why} (target_session_attrs={wanted})")
            }
            ConnectError::Several(errors) => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let text = texts.join("; ");
                match text.char_indices().nth(SEVERAL_MAX_CHARS) {
                    Some((end, _)) => write!(f, "{}…", text.get(..end).unwrap_or_default()),
                    None => f.write_str(&text),
                }
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

/// A DSN may name hundreds of servers, and the text travels in gRPC's trailers.
pub(super) const SEVERAL_MAX_CHARS: usize = 1000;

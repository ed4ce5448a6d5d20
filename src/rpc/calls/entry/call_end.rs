//! The early end of a call.

use crate::error::RequestError;

/// Why a call ends early.
pub(in crate::rpc) enum CallEnd {
    /// Its caller has left, or does not read its answers.
    Left,
    /// It has sent a message of so many bytes, which is too large, and is told so.
    TooLarge(usize),
    /// It fails with this error.
    Failed(RequestError),
}

impl From<RequestError> for CallEnd {
    fn from(error: RequestError) -> CallEnd {
        CallEnd::Failed(error)
    }
}

//! The early end of a call.

use crate::error::Error;

/// Why a call ends early.
pub(in crate::rpc) enum CallEnd {
    /// Its caller has left, or does not read its answers.
    Left,
    /// It fails with this error.
    Failed(Error),
}

impl From<Error> for CallEnd {
    fn from(error: Error) -> CallEnd {
        CallEnd::Failed(error)
    }
}

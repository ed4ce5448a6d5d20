//! How a call ends early.

use crate::error::Error;

/// Why a call ends early.
pub(in crate::rpc) enum Ended {
    /// Its caller has left, or does not take its answers.
    Left,
    /// It fails with this error.
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

//! The outcome of a request's statements, and the cause of a cancel.

use crate::core::transaction::TransactionState;

/// What became of the statements of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// The outcome as a whole.
    pub outcome: Outcome,
    /// Statements that had succeeded.
    pub completed: usize,
    /// The statement that failed, from 0.
    pub failed: Option<usize>,
    /// Transaction state of the session afterwards, if it is usable.
    pub transaction: Option<TransactionState>,
}

impl Work {
    /// Nothing was sent to PostgreSQL.
    pub const NOT_STARTED: Work =
        Work { outcome: Outcome::NotStarted, completed: 0, failed: None, transaction: None };
}

/// Whether work has taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No statement was sent.
    NotStarted,
    /// Everything that was sent was rolled back.
    NotApplied,
    /// Statements before the failed one have taken effect.
    Applied,
    /// It cannot be known.
    Unknown,
}

/// Why a running statement was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelCause {
    /// The caller cancelled its call, or its deadline passed.
    Caller,
    /// The statement timeout ran out.
    Timeout,
    /// The lease was released by force.
    Release,
    /// The lease's max_lifetime ran out.
    MaxLifetime,
    /// The result exceeded its limit.
    Excess,
    /// The statement sent too many notices.
    Notices,
    /// The client read nothing of a streamed result, or sent no data of a COPY, for too
    /// long.
    Stalled,
    /// The stream that the lease belonged to broke off.
    Stream,
    /// The data of a COPY ended without `finish`.
    Unfinished,
    /// An operator has revoked the lease.
    Revoked,
    /// The service is stopping.
    Shutdown,
}

impl CancelCause {
    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            CancelCause::Caller => "caller",
            CancelCause::Timeout => "timeout",
            CancelCause::Release => "release",
            CancelCause::MaxLifetime => "max_lifetime",
            CancelCause::Excess => "result_too_large",
            CancelCause::Notices => "notices",
            CancelCause::Stalled => "stalled",
            CancelCause::Stream => "stream_lost",
            CancelCause::Unfinished => "unfinished",
            CancelCause::Revoked => "revoked",
            CancelCause::Shutdown => "shutdown",
        }
    }
}

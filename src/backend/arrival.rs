//! How far an answer of PostgreSQL has come.

/// What has come of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Not all of it.
    Nothing,
    /// All of it, and it is no error: whoever reads it does not wait.
    Whole,
    /// It is long, or an error, or none comes. Whoever reads it may have to wait.
    Other,
}

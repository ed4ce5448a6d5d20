//! How rows are sent.

/// How rows are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum RowFormat {
    /// As values.
    Typed,
    /// As PostgreSQL has them.
    Binary,
}

//! How rows are sent.

/// The format of the rows of Query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum RowFormat {
    /// Each value as a typed message.
    Typed,
    /// PostgreSQL's own binary rows, passed through unchanged.
    Binary,
}

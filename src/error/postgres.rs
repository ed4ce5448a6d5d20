//! An error as PostgreSQL sent it.

use std::fmt;

/// An error as PostgreSQL sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PgFault {
    /// ERROR, FATAL or PANIC.
    pub severity: String,
    /// Five characters.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// Optional second message.
    pub detail: String,
    /// Optional advice.
    pub hint: String,
    /// Character in the statement from 1; 0 = not given.
    pub position: u32,
    /// Schema concerned, if any.
    pub schema: String,
    /// Table concerned, if any.
    pub table: String,
    /// Column concerned, if any.
    pub column: String,
    /// Data type concerned, if any.
    pub datatype: String,
    /// Constraint concerned, if any.
    pub constraint: String,
    /// Call stack in PostgreSQL.
    pub context: String,
    /// The function of PostgreSQL's source that raised it; tells errors of one
    /// SQLSTATE apart, and is not sent on.
    pub routine: String,
}

impl fmt::Display for PgFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.sqlstate)
    }
}

impl std::error::Error for PgFault {}

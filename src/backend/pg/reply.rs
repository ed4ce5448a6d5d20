//! How PostgreSQL's reply to one statement ends.

use crate::backend::session::Rows;
use crate::core::value::Column;
use crate::error::PgFault;
use crate::pgwire::row::RawRow;
use crate::pgwire::values::Shape;

/// How a statement ended.
pub(super) enum End {
    Complete(String),
    /// More rows were left than were requested.
    Suspended,
}

/// PostgreSQL's reply to one statement so far.
pub(super) type StatementReply = Result<End, Box<PgFault>>;

/// Of a command that returns none.
pub(super) struct NoRows;

impl Rows for NoRows {
    fn head(&mut self, _: &[Column]) {}
    fn row(&mut self, _: &[Shape], _: &RawRow<'_>) {}
    fn too_long(&mut self, _: usize) {}
}

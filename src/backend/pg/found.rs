//! What a reset has shown of a session.

use crate::pgwire::row::RawRow;

/// The answer to [`ResetStep::Look`](super::resets::ResetStep::Look).
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) settings: String,
    pub(super) has_temporary: bool,
    pub(super) listens: bool,
    pub(super) has_cursors: bool,
    /// The user has statements of SQL's PREPARE.
    pub(super) has_prepared: bool,
}

/// What a reset has shown.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) seen: Seen,
    /// A setting that plans depend on is not as after the last reset.
    pub(super) differs: bool,
}

impl Found {
    /// True if nothing else is to be done; the session had a schema for temporary objects.
    pub(super) fn is_clean(&self, had_temporary: bool) -> bool {
        let Seen { has_temporary, listens, has_cursors, has_prepared, .. } = self.seen;
        let unclean = listens || has_cursors || has_prepared || has_temporary && !had_temporary;
        !unclean && !self.differs
    }
}

impl Seen {
    /// `None`: the row is not the expected one.
    pub(super) fn read(body: &[u8]) -> Option<Seen> {
        let row = RawRow::read(body, 9)?;
        let mut values = row.values().skip(4).map(Option::unwrap_or_default);
        let mut next = || values.next();
        Some(Seen {
            settings: String::from_utf8_lossy(next()?).into_owned(),
            has_temporary: next()? != b"0",
            listens: next()? == b"t",
            has_cursors: next()? == b"t",
            has_prepared: next()? == b"t",
        })
    }
}

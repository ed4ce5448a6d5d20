//! Properties of a statement derived from its text, once, and cached with it.

use crate::backend::copy::{direction, Direction};
use crate::backend::keyword::{first_keyword, words};

/// Properties of a statement's text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nature {
    /// The direction of a COPY.
    pub(super) direction: Option<Direction>,
    /// Outside a transaction, it leaves none open.
    pub(super) leaves_none_open: bool,
    /// It may change settings, names or types.
    pub(super) may_change_meanings: bool,
    /// It rolls back a transaction or a part of one.
    pub(super) goes_back: bool,
    /// It may replace one of the service's prepared statements.
    pub(super) may_replace_ours: bool,
    /// It refers to a cursor or a statement of the user's, whose result columns PostgreSQL
    /// determines only when it prepares this one.
    pub(super) is_another_each_time: bool,
}

impl Nature {
    /// Those of BEGIN and COMMIT.
    pub(super) const COMMAND: Nature = Nature {
        direction: None,
        leaves_none_open: false,
        may_change_meanings: false,
        goes_back: false,
        may_replace_ours: false,
        is_another_each_time: false,
    };

    /// The properties of this text.
    pub(super) fn of(sql: &str) -> Nature {
        let first = first_keyword(sql);
        let first = first.as_str();
        Nature {
            direction: direction(sql),
            leaves_none_open: matches!(
                first,
                "SELECT" | "VALUES" | "TABLE" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH"
            ),
            may_change_meanings: may_change_meanings(sql),
            goes_back: matches!(first, "ROLLBACK" | "ABORT"),
            may_replace_ours: matches!(first, "DEALLOCATE" | "PREPARE" | "DO" | "CALL"),
            is_another_each_time: matches!(first, "FETCH" | "EXECUTE"),
        }
    }
}

/// True unless this kind of statement leaves settings, names and types unchanged.
/// PostgreSQL notices many changes by itself, but not a temporary table that hides another,
/// nor a literal that a new TimeZone changes.
fn may_change_meanings(sql: &str) -> bool {
    let mut words = words(sql);
    match words.next().as_deref() {
        Some(
            "BEGIN" | "START" | "COMMIT" | "END" | "SAVEPOINT" | "RELEASE" | "DECLARE" | "FETCH"
            | "MOVE" | "CLOSE" | "SHOW" | "LOCK" | "LISTEN" | "UNLISTEN" | "NOTIFY" | "ANALYZE",
        )
        | None => false,
        // ROLLBACK only undoes changes that were already recorded as unsettled.
        Some("ROLLBACK" | "ABORT") => false,
        Some(
            first @ ("SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH" | "VALUES"
            | "TABLE" | "EXPLAIN" | "COPY"),
        ) => {
            // SELECT INTO makes a table; INSERT INTO does not. A false match costs only a
            // round trip.
            let lower = sql.to_ascii_lowercase();
            let into = lower.contains("into") && !lower.trim_start().starts_with("insert");
            // EXPLAIN ANALYZE runs what it explains.
            let made = first == "EXPLAIN" && lower.contains("create");
            into || made || lower.contains("set_config")
        }
        Some(_) => true,
    }
}

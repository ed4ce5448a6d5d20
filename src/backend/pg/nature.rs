//! What the text of a statement says of it, read once and kept with it.

use crate::backend::copy::{direction, Direction};
use crate::backend::keyword::{first_keyword, words};

/// What a text says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nature {
    /// Where the data of a COPY go.
    pub(super) direction: Option<Direction>,
    /// Run outside a transaction, it leaves none open.
    pub(super) leaves_none_open: bool,
    /// Settings, names or types may be others afterwards.
    pub(super) may_change_meanings: bool,
    /// A transaction, or a part of one, is taken back.
    pub(super) goes_back: bool,
    /// It may put a statement of its own in the place of one of ours.
    pub(super) may_replace_ours: bool,
    /// It stands for something else: a cursor or a statement of the user's, whose result
    /// PostgreSQL looks at only when it prepares this one.
    pub(super) is_another_each_time: bool,
}

impl Nature {
    /// What this text says.
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

/// True unless the statement is of a kind that leaves settings, names and types
/// as they are. PostgreSQL notices much by itself, but not a temporary table that
/// hides another, nor a literal that TimeZone would now read otherwise.
fn may_change_meanings(sql: &str) -> bool {
    let mut words = words(sql);
    match words.next().as_deref() {
        Some(
            "BEGIN" | "START" | "COMMIT" | "END" | "SAVEPOINT" | "RELEASE" | "DECLARE" | "FETCH"
            | "MOVE" | "CLOSE" | "SHOW" | "LOCK" | "LISTEN" | "UNLISTEN" | "NOTIFY" | "ANALYZE",
        )
        | None => false,
        // ROLLBACK takes back what was unsettled, and that is all it changes.
        Some("ROLLBACK" | "ABORT") => false,
        Some(
            first @ ("SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH" | "VALUES"
            | "TABLE" | "EXPLAIN" | "COPY"),
        ) => {
            // SELECT INTO makes a table; INSERT INTO does not. A word too many
            // costs a round trip only.
            let lower = sql.to_ascii_lowercase();
            let into = lower.contains("into") && !lower.trim_start().starts_with("insert");
            // EXPLAIN ANALYZE runs what it explains.
            let made = first == "EXPLAIN" && lower.contains("create");
            into || made || lower.contains("set_config")
        }
        Some(_) => true,
    }
}

//! The meaning of SQLSTATE classes for the backend that sent them.

/// True if the server is up but cannot accept a connection at the moment.
pub fn is_busy(sqlstate: &str) -> bool {
    sqlstate.starts_with("53")
        || sqlstate.starts_with("08")
        || matches!(sqlstate, "57P01" | "57P02" | "57P03")
}

/// True if the backend must not be reused, although it answered: its memory or disk may be
/// corrupt.
pub fn is_poison(sqlstate: &str) -> bool {
    sqlstate.starts_with("XX") || sqlstate.starts_with("58")
}

/// True if the server refused the role, by its password or by its rules.
pub fn is_refused_login(sqlstate: &str) -> bool {
    matches!(sqlstate, "28P01" | "28000")
}

/// The statement was cancelled.
pub const QUERY_CANCELED: &str = "57014";

/// active_sql_transaction: a command or function that runs outside of transactions only.
pub const IN_TRANSACTION: &str = "25001";

/// A prepared statement does not exist.
pub const NO_SUCH_STATEMENT: &str = "26000";

/// A statement is too complex.
pub const TOO_COMPLEX: &str = "54001";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_and_fullness_are_told_from_plain_failures() {
        assert!(is_poison("XX001") && !is_poison("26000") && !is_poison("23505"));
        assert!(is_busy("53300") && !is_busy("28P01"));
    }
}

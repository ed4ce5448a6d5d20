//! gRPC's codes for PostgreSQL's.

use super::Code;

/// The code of a SQLSTATE; the most specific row wins.
pub(super) fn code_of(sqlstate: &str) -> Code {
    match sqlstate {
        "40001" | "40P01" | "55P03" => Code::ABORTED,
        "57014" => Code::CANCELLED,
        "23505" | "42P04" | "42P06" | "42P07" | "42701" | "42710" | "42723" => Code::ALREADY_EXISTS,
        "23503" | "23P01" | "55000" | "55006" | "2BP01" | "P0001" => Code::FAILED_PRECONDITION,
        "42P01" | "42704" | "3F000" | "34000" | "P0002" => Code::NOT_FOUND,
        "42501" => Code::PERMISSION_DENIED,
        "23502" | "23514" => Code::INVALID_ARGUMENT,
        "0A000" => Code::UNIMPLEMENTED,
        "XX001" | "XX002" => Code::DATA_LOSS,
        "XX000" => Code::INTERNAL,
        _ => match sqlstate.get(..2) {
            Some("25" | "2D") => Code::FAILED_PRECONDITION,
            Some("21" | "22" | "42" | "54") => Code::INVALID_ARGUMENT,
            Some("53") => Code::RESOURCE_EXHAUSTED,
            Some("58") => Code::INTERNAL,
            _ => Code::UNKNOWN,
        },
    }
}

/// The code of a SQLSTATE that ended a look-up of the service's own.
pub(super) fn code_of_lookup(sqlstate: &str) -> Code {
    match code_of(sqlstate) {
        // A lock or the session's own limit: another attempt may succeed.
        Code::ABORTED | Code::CANCELLED => Code::ABORTED,
        code @ (Code::RESOURCE_EXHAUSTED | Code::INTERNAL | Code::DATA_LOSS) => code,
        // Neither the caller's statement nor its rights are at fault.
        _ => Code::FAILED_PRECONDITION,
    }
}

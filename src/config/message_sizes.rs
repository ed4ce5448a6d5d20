//! How large the messages of calls may be.

/// gRPC accepts no larger message.
pub const REQUEST_MAX: usize = 4 << 20;

/// With its envelope, a result of this size still fits a message that clients take by default.
pub const RESULT_MAX: usize = 3 * 1024 * 1024 + 512 * 1024;

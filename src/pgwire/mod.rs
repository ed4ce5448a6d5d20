//! PostgreSQL's protocol as bytes: messages are read out of a buffer and written into
//! one, and values into and out of messages.
//!
//! Architecture Invariant: pure. Nothing here knows a socket, a clock, a lock or a driver.

pub mod bounds;
pub mod facts;
pub mod fault;
pub mod message;
pub mod read;
pub mod row;
pub mod values;
pub mod write;

/// The most bytes of a row. A longer one is useless: an answer has 3.5 MiB, and decoding
/// does not halve a row.
pub const ROW_MAX: usize = 8 << 20;

//! A client of gRPC that costs little: HTTP/2 over TLS, all its calls on one thread.
//!
//! It reads frames, statuses and, where they matter, messages; it checks that each call has
//! ended well. It does not do what an application's client does: no threads, no retries, no
//! copies of metadata.

mod call;
mod caller;
mod connection;
mod join;
mod sending;
mod socket;

pub use caller::{Caller, Stream};
pub use connection::Connection;
pub use join::{join, Later};
pub use socket::Target;

/// What came of a call, or why it failed.
pub type Done<T> = Result<T, String>;

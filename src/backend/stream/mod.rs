//! Bytes between the service and PostgreSQL: the socket, TLS over it, and the handle that
//! breaks it off from any thread.

pub mod socket;
pub mod watch;
pub mod wire;

//! Who gets a connection, for how long, and how that ends.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod abandoned_calls;
mod admission;
mod cancel;
#[path = "../harness/mod.rs"]
mod harness;
mod idempotency;
mod idempotency_races;
mod isolation;
mod lifecycle;
mod limits;
mod provenance;
mod session_stream;
mod shared_server;
mod waiting_cost;

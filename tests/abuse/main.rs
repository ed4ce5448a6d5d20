//! What hostile clients, tenants and servers may cost: their own, and nothing of anybody else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod client_connections;
mod connecting;
mod doors;
#[path = "../harness/mod.rs"]
mod harness;
mod header_blocks;
mod held_memory;
mod hostile_server;
mod hostile_sql;
mod large_results;
mod malformed_requests;
mod many_tenants;
mod nesting;
mod oversized;
mod process;
mod unfinished_calls;
mod untaken_answers;
mod watchers;

//! What runs over a connection: statements, values, streams, and what they leave.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod awaited;
mod clean_session;
mod conflicts;
mod copy;
mod error_codes;
mod execute;
mod full_duplex;
#[path = "../harness/mod.rs"]
mod harness;
mod invalid_input;
mod listen;
mod pipelines;
mod prepared;
mod query;
mod transactions;
mod type_lookup;
mod values;

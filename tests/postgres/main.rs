//! PostgreSQL fails, moves, refuses or changes: what callers see of it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod breaker;
mod concurrent_logins;
mod dsn_change;
#[path = "../harness/mod.rs"]
mod harness;
mod idle_backends;
mod kill_matrix;
mod lost_backend;
mod password_rotation;
mod protocol_violations;
mod recovery;
mod target_session;
mod terminated_backend;
mod tls;

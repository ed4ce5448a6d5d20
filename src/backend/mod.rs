//! The only place that names postgres, tokio-postgres' types, postgres-openssl
//! and r2d2_postgres: how bytes reach PostgreSQL.

pub mod arrival;
pub mod cancel;
pub mod cert_files;
mod classify;
pub mod connect;
pub mod conversation;
pub mod copy;
mod decoy;
pub mod door;
pub mod dsn_reach;
pub mod handshake;
mod lent;
pub mod listen;
pub mod login;
pub mod logins;
mod lookups;
pub mod notice;
pub mod pg;
mod refusal;
mod resolve;
mod resource_exhaustion;
pub mod session;
pub mod sqlstate;
mod startup;
pub mod statement;
pub mod statement_result;
pub mod stream;
pub mod target_session;
mod timed;
pub mod tls;

/// The driver's crates by their log targets: below WARN they write SQL and
/// parameters.
pub const DRIVER_CRATES: &[&str] = &["postgres", "tokio_postgres", "postgres_openssl"];

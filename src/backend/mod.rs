//! The only place that names postgres, tokio-postgres' types, postgres-openssl
//! and r2d2_postgres: how bytes reach PostgreSQL.

pub mod aim;
mod bundle;
mod bundled;
pub mod cancel;
pub mod cert_files;
pub mod connect;
pub mod copy;
pub mod door;
mod fault;
pub mod frames;
pub mod handshake;
pub mod keyword;
pub mod listen;
pub mod login;
pub mod logins;
mod lookups;
pub mod manager;
pub mod pg;
mod prepare;
pub mod raw_row;
mod requests;
mod resolve;
mod rows;
pub mod session;
pub mod sqlstate;
mod startup;
mod starved;
mod statements;
mod timed;
pub mod tls;
pub mod transport;
pub mod values;
mod verdict;

/// The driver's crates by their log targets: below WARN they write SQL and
/// parameters.
pub const DRIVER_CRATES: &[&str] = &["postgres", "tokio_postgres", "postgres_openssl"];

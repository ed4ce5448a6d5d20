//! The only place that names postgres, tokio-postgres' types, postgres-openssl
//! and r2d2_postgres: how bytes reach PostgreSQL.

pub mod cancel;
pub mod connect;
pub mod frames;
pub mod keyword;
pub mod manager;
pub mod pg;
mod rows;
pub mod session;
pub mod sqlstate;
pub mod transport;
pub mod values;

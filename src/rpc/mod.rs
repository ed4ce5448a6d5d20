//! The gRPC side: the only place that names grpcio.

mod connection_pool;
mod convert;
mod query;
mod reply;
pub mod server;
mod session;
mod sql;
mod status;

//! The gRPC side: the only place that names grpcio.

mod bind_error;
mod certificate;
mod connection_pool;
mod convert;
mod copy_in;
mod copy_out;
pub mod crowded;
mod entry;
mod health;
mod listen;
mod outflow;
mod pipe;
mod query;
mod reply;
pub mod server;
mod session;
mod sql;
mod status;
mod wire;

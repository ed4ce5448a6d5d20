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

/// Lines of gRPC's C core go to our log from now on. Left alone, it writes them to standard
/// error itself, on the threads that carry all calls.
pub fn redirect_log() {
    grpcio::redirect_log();
}

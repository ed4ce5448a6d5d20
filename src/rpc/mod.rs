//! The gRPC side: the only place that names grpcio.

mod bind_error;
mod calls;
mod convert;
mod credentials;
mod descriptors;
pub mod excess_calls;
pub mod server;
mod services;
mod streams;

/// Lines of gRPC's C core go to our log from now on. Left alone, it writes them to standard
/// error itself, on the threads that carry all calls.
pub fn redirect_log() {
    grpcio::redirect_log();
}

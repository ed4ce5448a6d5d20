//! Every thread of ours is started here, under one of these names.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::{Builder, JoinHandle};

use crate::core::quoted::Quoted;

/// Runs one job at a time that may block on PostgreSQL.
pub const WORKER: &str = "worker";
/// Acts on deadlines.
pub const REAPER: &str = "reaper";
/// Keeps pools warm and retires old backends.
pub const KEEPER: &str = "keeper";
/// Answers HTTP requests.
pub const HTTP: &str = "http";
/// Takes HTTP connections.
pub const HTTP_ACCEPT: &str = "http-accept";
/// Watches over the HTTP server.
pub const HTTP_WATCH: &str = "http-watch";
/// Looks up a host name, so that a mute name server has a time limit.
pub const RESOLVER: &str = "resolver";
/// Writes log lines.
pub const LOG: &str = "log";
/// Waits for signals.
pub const SIGNALS: &str = "signals";
/// Waits for gRPC to finish its calls.
pub const GRPC_STOP: &str = "grpc-stop";
/// Keeps client connections within their limits.
pub const GRPC_GUARD: &str = "grpc-guard";
/// Calls the service over its own port.
pub const GRPC_PROBE: &str = "grpc-probe";
/// gRPC's own completion queues.
pub const GRPC: &str = "grpc";

/// Starts a named thread.
///
/// # Errors
/// If the system has no thread left.
#[allow(clippy::disallowed_methods)] // The edge that the ban points to.
pub fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(body)
}

/// Runs `body`; a panic is logged and `None` comes back, so that the thread
/// goes on. What `body` held settles itself by `Drop` while unwinding.
pub fn survive<T>(name: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => Some(value),
        Err(panic) => {
            log::error!("event=panic thread={name} message={}", Quoted(text_of(&*panic)));
            None
        }
    }
}

/// What a panic says.
pub fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

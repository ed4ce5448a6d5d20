//! Every thread of ours is started here, under one of these names.

#[cfg(feature = "server")]
pub mod agenda;
#[cfg(feature = "server")]
pub mod alarms;
#[cfg(feature = "server")]
pub mod bell;
#[cfg(feature = "server")]
pub mod here;
#[cfg(feature = "server")]
pub mod polls;
#[cfg(feature = "server")]
pub mod socket_waits;
#[cfg(feature = "server")]
pub mod stop;
#[cfg(feature = "server")]
pub mod workers;

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::{Builder, JoinHandle};

use crate::core::quoted::Quoted;

/// Runs one job at a time that may block on PostgreSQL.
pub const WORKER: &str = "worker";
/// Goes on with work whose socket has received something.
pub const SOCKETS: &str = "sockets";
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
/// Keeps the connections of clients.
pub const GRPC_KEEPER: &str = "grpc-keeper";
/// gRPC's completion queues of clients.
pub const GRPC_CLIENT: &str = "grpc-client";
/// Answers a call late, in tests of users.
pub const FAKE: &str = "fake";
/// gRPC's own completion queues.
pub const GRPC: &str = "grpc";

/// The stack of workers. They decode values that call themselves for each level that a type
/// is nested, of which `backend::pg::types` allows 64, and log in through the driver and
/// OpenSSL. Only what is touched takes memory.
const WORKER_STACK: usize = 2 << 20;
/// The stack of those that call what other people have written: name services, which the
/// system's look-up of names loads, and the metrics' and HTTP's crates.
const FOREIGN_STACK: usize = 1 << 20;
/// The stack of all others: loops over channels of a few calls' depth, and log lines.
const SMALL_STACK: usize = 512 << 10;

fn stack_bytes(name: &str) -> usize {
    match name {
        WORKER | SOCKETS => WORKER_STACK,
        RESOLVER | HTTP | HTTP_WATCH => FOREIGN_STACK,
        _ => SMALL_STACK,
    }
}

/// Starts a named thread, with a stack that suits its work.
///
/// # Errors
/// If the system has no thread left.
#[allow(clippy::disallowed_methods)] // The edge that the ban points to.
pub fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).stack_size(stack_bytes(name)).spawn(body)
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

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// Calls itself until so much of the stack is in use below `top`.
    fn sink(top: usize, bytes: usize) -> usize {
        let here = black_box([1_u8; 1024]);
        let used = top.abs_diff(here.as_ptr() as usize);
        let deepest = if used < bytes { sink(top, bytes) } else { used };
        black_box(here)[0] as usize - 1 + deepest
    }

    #[test]
    fn a_thread_has_the_stack_that_its_name_promises() {
        // A smaller one would end the whole process.
        for name in [WORKER, RESOLVER, HTTP, REAPER, LOG] {
            let deep = stack_bytes(name) / 10 * 9;
            let thread = spawn(name, move || {
                let top = black_box([0_u8; 1]);
                assert!(sink(top.as_ptr() as usize, deep) >= deep);
            });
            thread.expect("a thread").join().expect("it has returned");
        }
        assert!(stack_bytes(WORKER) > stack_bytes(RESOLVER));
    }
}

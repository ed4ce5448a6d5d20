//! What almost all work needs of the service.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::core::quoted::Quoted;
use crate::logging;
use crate::metrics::Metrics;
use crate::threads::alarms::Alarms;
use crate::threads::socket_waits::SocketWaits;
use crate::threads::workers::Workers;

/// What every operation needs of the service.
#[derive(Clone)]
pub struct Tools {
    /// Runs cancels.
    pub workers: Workers,
    /// Where requests wait for short answers.
    pub socket_waits: SocketWaits,
    /// The unary calls that are not answered yet.
    pub open_calls: OpenCalls,
    /// Times out.
    pub alarms: Alarms,
    /// Counts cancels.
    pub metrics: Metrics,
    /// How long a cancelled statement may take to stop.
    pub grace: CancelGrace,
}

impl Tools {
    /// Runs `job` on a worker. If there is none, it is dropped on another thread: dropped here,
    /// its permit would go to the next request, which would be dropped here, and so on down the
    /// stack.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Err(lost) = self.workers.try_run(job) {
            self.alarms.soon(clock::now(), move || drop(lost));
        }
    }
}

/// Counts unary calls that are not answered yet. Cheap to clone.
#[derive(Clone, Default)]
pub struct OpenCalls(Arc<AtomicUsize>);

/// A call that counts until this is dropped.
#[must_use]
pub struct OpenCall(OpenCalls);

impl OpenCalls {
    /// Counts a call.
    pub fn enter(&self) -> OpenCall {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenCall(self.clone())
    }

    /// True if there is no other than the one that asks.
    pub fn is_alone(&self) -> bool {
        self.0.load(Ordering::Relaxed) <= 1
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0 .0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Logs that no thread could be started for a worker.
pub fn log_spawn_failure(error: &io::Error) {
    if logging::admits("worker_spawn_failed", None) {
        log::error!("event=worker_spawn_failed error={}", Quoted(&error.to_string()));
    }
}

/// Logs that the thread that waits for sockets could not be started.
pub fn log_no_socket_thread(error: &io::Error) {
    log::error!("event=no_socket_thread error={}", Quoted(&error.to_string()));
}

/// How long a cancelled statement may take to stop before its socket is closed, as it is in
/// force. Cheap to clone.
#[derive(Clone)]
pub struct CancelGrace(Arc<AtomicU64>);

impl CancelGrace {
    /// This long.
    pub fn new(grace: Duration) -> CancelGrace {
        let cell = CancelGrace(Arc::default());
        cell.set(grace);
        cell
    }

    /// From now on it is this long.
    pub fn set(&self, grace: Duration) {
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    /// As it is in force.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_alone_while_no_other_is_open() {
        let calls = OpenCalls::default();
        let one = calls.enter();
        assert!(calls.is_alone());
        let other = calls.clone().enter();
        assert!(!calls.is_alone());
        drop(one);
        assert!(calls.is_alone());
        drop(other);
        assert!(calls.is_alone());
    }
}

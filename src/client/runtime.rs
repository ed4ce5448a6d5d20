//! The threads of gRPC that all clients of the process share.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use grpcio::{EnvBuilder, Environment};

/// More threads than that do not make calls faster: they only hand over what has come.
const QUEUES_MAX: usize = 2;

/// The process's environment, made when it is first needed, gone with the last who has it.
pub(super) fn environment() -> Arc<Environment> {
    static SHARED: Mutex<Weak<Environment>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let queues = thread::available_parallelism().map_or(1, usize::from).min(QUEUES_MAX);
        let name = crate::threads::GRPC_CLIENT;
        let made = Arc::new(EnvBuilder::new().cq_count(queues).name_prefix(name).build());
        *shared = Arc::downgrade(&made);
        made
    })
}

/// Whether this is a thread of the environment. What waits on one waits for ever, because the
/// thread is what would bring the answer.
pub(super) fn is_queue_thread(environment: &Environment) -> bool {
    let this = thread::current().id();
    environment.completion_queues().iter().any(|queue| queue.worker_id() == this)
}

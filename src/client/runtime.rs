//! The threads of gRPC that all clients of the process share.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use futures_util::FutureExt;
use grpcio::{ChannelBuilder, Client, EnvBuilder, Environment};

/// More threads than that do not make calls faster: they only hand over what has come.
const QUEUES_MAX: usize = 2;

/// gRPC's threads, with what runs on them.
pub(super) struct Runtime {
    environment: Arc<Environment>,
    /// Hands futures to the threads. Its channel is never connected; grpcio has no other way.
    spawner: Client,
}

/// The process's runtime, made when it is first needed, gone with the last who has it.
pub(super) fn shared() -> Arc<Runtime> {
    static SHARED: Mutex<Weak<Runtime>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let queues = thread::available_parallelism().map_or(1, usize::from).min(QUEUES_MAX);
        let name = crate::threads::GRPC_CLIENT;
        let environment = Arc::new(EnvBuilder::new().cq_count(queues).name_prefix(name).build());
        let idle = ChannelBuilder::new(Arc::clone(&environment)).connect("ipv4:127.0.0.1:1");
        let made = Arc::new(Runtime { environment, spawner: Client::new(idle) });
        *shared = Arc::downgrade(&made);
        made
    })
}

impl Runtime {
    pub(super) fn environment(&self) -> Arc<Environment> {
        Arc::clone(&self.environment)
    }

    /// Runs a future on gRPC's threads. A panic of it would end the queue of one for good, so it
    /// ends the future alone.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(AssertUnwindSafe(future).catch_unwind().map(drop));
    }

    /// Whether this is one of the threads. What waits on one waits for ever, because the thread is
    /// what would bring the answer.
    pub(super) fn is_own_thread(&self) -> bool {
        let this = thread::current().id();
        self.environment.completion_queues().iter().any(|queue| queue.worker_id() == this)
    }
}

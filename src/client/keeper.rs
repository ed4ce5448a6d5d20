//! The thread that dials for the pools, and sees what became of their channels. It never waits
//! on the network.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use super::bell::{bell, Bell, Ear};
use super::error::PoolError;
use super::shared::Shared;
use crate::lock::Leaf;
use crate::threads;

/// The keeper of some pools. Dropping it ends the thread.
pub(super) struct Keeper {
    bell: Bell,
    ward: Arc<Ward>,
    thread: Option<JoinHandle<()>>,
}

/// What it looks after. A pool is held weakly: it ends with its last user.
#[derive(Default)]
struct Ward {
    pools: Leaf<Vec<Weak<Shared>>>,
    stopped: AtomicBool,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start() -> Result<Keeper, PoolError> {
        let (bell, ear) = bell();
        let ward = Arc::new(Ward::default());
        let theirs = Arc::clone(&ward);
        let thread = threads::spawn(threads::GRPC_KEEPER, move || run(&theirs, &ear))
            .map_err(|error| PoolError::NoThread { error: error.to_string() })?;
        Ok(Keeper { bell, ward, thread: Some(thread) })
    }

    /// Rings for it.
    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Looks after a pool from now on.
    pub(super) fn keep(&self, pool: &Arc<Shared>) {
        let mut pools = self.ward.pools.lock();
        pools.push(Arc::downgrade(pool));
        drop(pools);
        self.bell.ring();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ward.stopped.store(true, Ordering::Release);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // It has told of a panic itself.
            let _ = thread.join();
        }
    }
}

fn run(ward: &Ward, ear: &Ear) {
    while !ward.stopped.load(Ordering::Acquire) {
        let pools = {
            let mut pools = ward.pools.lock();
            pools.retain(|pool| pool.strong_count() > 0);
            pools.clone()
        };
        let tend = |pool: &Weak<Shared>| {
            let pool = pool.upgrade()?;
            threads::survive(threads::GRPC_KEEPER, || pool.tend()).flatten()
        };
        ear.wait(pools.iter().filter_map(tend).min());
    }
}

//! The thread that dials for the pools, and sees what became of their channels and of the files
//! of settings. It never waits on the network.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::bell::{bell, Ear, KeeperBell};
use super::error::PoolError;
use crate::clock;
use crate::lock::Leaf;
use crate::threads;

/// What has panicked is tended again after so long.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// The keeper of some pools. Dropping it ends the thread.
pub(super) struct Keeper {
    bell: KeeperBell,
    ward: Arc<Ward>,
    thread: Option<JoinHandle<()>>,
}

/// What a keeper looks after.
pub(super) trait Tended: Send + Sync {
    /// Does what is due, and never waits. Returns when there is something to do next, if nobody
    /// rings.
    fn tend(&self) -> Option<Instant>;
}

/// What it looks after, held weakly: a pool ends with its last user.
#[derive(Default)]
struct Ward {
    kept: Leaf<Vec<Weak<dyn Tended>>>,
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
    pub(super) fn bell(&self) -> KeeperBell {
        self.bell.clone()
    }

    /// Looks after this from now on, for as long as it lives.
    pub(super) fn keep(&self, one: Weak<dyn Tended>) {
        let mut kept = self.ward.kept.lock();
        kept.push(one);
        drop(kept);
        self.bell.ring();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ward.stopped.store(true, Ordering::Release);
        self.bell.ring();
        // The last user of a manager may have gone while it read its file; then this runs on the
        // thread itself, which ends by itself.
        let is_own = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| !is_own(thread)) {
            // It has told of a panic itself.
            let _ = thread.join();
        }
    }
}

fn run(ward: &Ward, ear: &Ear) {
    while !ward.stopped.load(Ordering::Acquire) {
        let kept = {
            let mut kept = ward.kept.lock();
            kept.retain(|one| one.strong_count() > 0);
            kept.clone()
        };
        let tend = |one: &Weak<dyn Tended>| {
            let one = one.upgrade()?;
            let tended = threads::survive(threads::GRPC_KEEPER, || one.tend());
            // What it had to do is done soon.
            tended.unwrap_or_else(|| Some(clock::now() + AFTER_PANIC))
        };
        ear.wait(kept.iter().filter_map(tend).min());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, AssertUnwindSafe};
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::{channel, Sender};

    use super::*;

    /// A test that has waited for so long has failed.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Has the keeper that looks after it, and drops it there.
    struct Last {
        keeper: Leaf<Option<Keeper>>,
        sender: Leaf<Sender<bool>>,
    }

    impl Tended for Last {
        fn tend(&self) -> Option<Instant> {
            let keeper = self.keeper.lock().take();
            if let Some(keeper) = keeper {
                let ended = catch_unwind(AssertUnwindSafe(|| drop(keeper)));
                let _ = self.sender.lock().send(ended.is_ok());
            }
            None
        }
    }

    /// Panics twice, for the start and the bell may each have it looked after. Then it says so.
    struct Clumsy {
        tended: AtomicUsize,
        sender: Leaf<Sender<()>>,
    }

    impl Tended for Clumsy {
        fn tend(&self) -> Option<Instant> {
            assert!(self.tended.fetch_add(1, Ordering::AcqRel) >= 2, "on purpose");
            let _ = self.sender.lock().send(());
            None
        }
    }

    #[test]
    fn one_that_panics_is_looked_after_again_although_nobody_rings() {
        let (sender, tended) = channel();
        let keeper = Keeper::start().unwrap();
        let clumsy = Clumsy { tended: AtomicUsize::new(0), sender: Leaf::new(sender) };
        let kept: Arc<dyn Tended> = Arc::new(clumsy);
        keeper.keep(Arc::downgrade(&kept));
        // By itself it looks once a minute.
        assert_eq!(tended.recv_timeout(PATIENCE / 2), Ok(()));
    }

    #[test]
    fn one_that_is_dropped_on_its_own_thread_does_not_wait_for_itself() {
        let (sender, dropped) = channel();
        let keeper = Keeper::start().unwrap();
        let (ward, bell) = (Arc::clone(&keeper.ward), keeper.bell());
        let last = Arc::new(Last { keeper: Leaf::default(), sender: Leaf::new(sender) });
        let kept: Arc<dyn Tended> = Arc::clone(&last) as Arc<dyn Tended>;
        keeper.keep(Arc::downgrade(&kept));
        *last.keeper.lock() = Some(keeper);
        bell.ring();
        assert_eq!(dropped.recv_timeout(PATIENCE), Ok(true));
        assert!(ward.stopped.load(Ordering::Acquire));
    }
}

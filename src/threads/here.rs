//! What a worker does itself at the end of its job, although another thread could: to wake one
//! costs more than most jobs take to begin.

use std::cell::{Cell, RefCell};

/// What a worker runs.
pub type WorkerJob = Box<dyn FnOnce() + Send>;

thread_local! {
    static STAGE: Cell<WorkerStage> = const { Cell::new(WorkerStage::NoWorker) };
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    static NEXT: RefCell<Option<WorkerJob>> = const { RefCell::new(None) };
}

/// How far this thread is with its job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WorkerStage {
    NoWorker,
    AtWork,
    /// What is left of the job takes no time.
    AtItsEnd,
}

/// Sets the stage back, also when a panic passes.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        STAGE.set(WorkerStage::AtWork);
    }
}

/// This thread is a worker from now on.
pub(super) fn is_worker() {
    STAGE.set(WorkerStage::AtWork);
    IS_WORKER.set(true);
}

/// This thread is shared by much work that never blocks, from now on.
pub(super) fn is_shared() {
    STAGE.set(WorkerStage::AtWork);
}

/// The last act of a job, with no lock held. On a worker, a job that is brought meanwhile runs
/// here afterwards.
pub fn ending<T>(act: impl FnOnce() -> T) -> T {
    if STAGE.get() != WorkerStage::AtWork {
        return act();
    }
    STAGE.set(WorkerStage::AtItsEnd);
    let _back = Back;
    act()
}

/// Begins a call on gRPC's thread.
pub fn in_call<T>(begin: impl FnOnce() -> T) -> T {
    /// Sets it back, also when a panic passes.
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            IN_CALL.set(false);
        }
    }
    IN_CALL.set(STAGE.get() == WorkerStage::NoWorker);
    let _over = Over;
    begin()
}

/// True on gRPC's thread while it begins a call.
pub fn is_in_call() -> bool {
    IN_CALL.get()
}

/// True on a worker at the end of its job: what is woken may go on here.
pub fn is_ending() -> bool {
    STAGE.get() == WorkerStage::AtItsEnd
}

/// True on a worker: its own job may block.
pub fn may_block() -> bool {
    IS_WORKER.get()
}

/// Keeps a job for this thread.
///
/// # Errors
/// The job, if this thread has one already, or is not at the end of its own.
pub(super) fn keep(job: WorkerJob) -> Result<(), WorkerJob> {
    if !is_ending() || !IS_WORKER.get() {
        return Err(job);
    }
    NEXT.with_borrow_mut(|next| match next {
        Some(_) => Err(job),
        None => {
            *next = Some(job);
            Ok(())
        }
    })
}

/// The job that this thread has kept.
pub(super) fn kept() -> Option<WorkerJob> {
    NEXT.take()
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, AssertUnwindSafe};

    use super::*;

    #[test]
    fn a_call_is_begun_on_a_thread_that_is_no_worker_and_only_while_it_begins() {
        assert!(!is_in_call());
        in_call(|| assert!(is_in_call()));
        assert!(!is_in_call());
        let panics = catch_unwind(AssertUnwindSafe(|| in_call(|| panic!("injected"))));
        assert!(panics.is_err() && !is_in_call());
        is_worker();
        in_call(|| assert!(!is_in_call()));
    }
}

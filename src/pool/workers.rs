//! Threads that may block on PostgreSQL.
//!
//! A job goes to an idle worker over a rendezvous channel, or to a new thread;
//! it never stands behind another job. Jobs exist only with a permit (or one
//! cancel for each), so there are never more workers than twice the permits, and the
//! few that decode large requests (`pool::conversions`).

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};

use crate::core::quoted::Quoted;
use crate::logging;
use crate::threads;

/// An idle worker ends after so long: soon after a peak the threads are as before it, and
/// the memory of their stacks with them. Work that comes more rarely than that pays for the
/// start of a thread.
const IDLE: Duration = Duration::from_secs(3);

/// What a worker runs.
pub type Job = Box<dyn FnOnce() + Send>;

/// Starts and reuses worker threads.
#[derive(Clone)]
pub struct Workers {
    sender: Sender<Job>,
    receiver: Receiver<Job>,
    alive: Arc<AtomicUsize>,
    /// As when the system has no thread left.
    #[cfg(test)]
    starved: Arc<std::sync::atomic::AtomicBool>,
}

impl Default for Workers {
    fn default() -> Workers {
        let (sender, receiver) = bounded(0);
        Workers {
            sender,
            receiver,
            alive: Arc::default(),
            #[cfg(test)]
            starved: Arc::default(),
        }
    }
}

impl Workers {
    /// Runs `job` on a worker. If no thread can be had, the job comes back.
    ///
    /// # Errors
    /// The job itself. Dropping it settles what it holds; but where that hands a
    /// permit on, it must not happen in the middle of handing permits on.
    pub fn try_run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Job> {
        let job: Job = Box::new(job);
        let job = match self.sender.try_send(job) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
        };
        let receiver = self.receiver.clone();
        let alive = Alive::new(&self.alive);
        // The first job comes over a channel, so that it is not lost with the
        // closure when the thread cannot be started.
        let (hand, first) = bounded::<Job>(1);
        let started = self.spawn(move || {
            let _alive = alive;
            if let Ok(job) = first.recv() {
                threads::survive(threads::WORKER, job);
            }
            while let Ok(job) = receiver.recv_timeout(IDLE) {
                threads::survive(threads::WORKER, job);
            }
        });
        match started {
            Ok(_) => hand.send(job).map_err(|unsent| unsent.0),
            Err(error) => {
                if logging::admits("no_worker", None) {
                    log::error!("event=no_worker error={}", Quoted(&error.to_string()));
                }
                Err(job)
            }
        }
    }

    fn spawn(&self, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        #[cfg(test)]
        if self.starved.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        threads::spawn(threads::WORKER, body)
    }

    /// From now on no thread can be had, or again.
    #[cfg(test)]
    pub fn starve(&self, starved: bool) {
        self.starved.store(starved, Ordering::SeqCst);
    }

    /// The same where nobody can do better than drop the job. False then.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.try_run(job).is_ok()
    }

    /// Worker threads alive.
    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }
}

struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::Relaxed);
        Alive(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_never_waits_for_another() {
        let workers = Workers::default();
        let (release, held) = bounded::<()>(0);
        let (done, finished) = bounded(10);
        for _ in 0..5 {
            let held = held.clone();
            assert!(workers.run(move || {
                let _ = held.recv();
            }));
        }
        assert!(workers.run(move || {
            let _ = done.send(());
        }));
        finished.recv().expect("the sixth job ran beside five that stand");
        drop(release);
    }

    #[test]
    fn a_panic_costs_the_job_and_not_the_workers() {
        let workers = Workers::default();
        let (done, finished) = bounded::<()>(1);
        workers.run(move || {
            let _dropped_by_the_panic = done;
            panic!("injected");
        });
        assert!(finished.recv().is_err());
        let (done, finished) = bounded(1);
        workers.run(move || {
            let _ = done.send(());
        });
        finished.recv().expect("work goes on");
    }
}

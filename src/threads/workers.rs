//! Threads that may block.
//!
//! A job goes to the worker that brings it, where that is at the end of its own
//! ([`here::ending`]), else to the worker that has been idle for the shortest time, or to a new
//! thread; it never stands behind another job. So there are as many workers as jobs at a time,
//! which those who bring jobs have to bound.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;
use crate::lock::Leaf;
use crate::threads;
use crate::threads::here;

pub use here::WorkerJob;

/// An idle worker ends after so long: soon after a peak the threads are as before it, and
/// the memory of their stacks with them. Work that comes more rarely than that pays for the
/// start of a thread.
const IDLE: Duration = Duration::from_secs(3);

/// Starts and reuses worker threads.
#[derive(Clone)]
pub struct Workers {
    /// Where idle ones take their next job, the last to become idle at the end. It is woken
    /// first, so that under little work the others come to the end of their time.
    idle: Arc<Leaf<Vec<Arc<Hand>>>>,
    alive: Arc<AtomicUsize>,
    /// Called with the error when a thread cannot be started.
    not_started: fn(&io::Error),
    /// As when the system has no thread left.
    #[cfg(test)]
    starved: Arc<std::sync::atomic::AtomicBool>,
}

/// A thread that cannot be started is reported to nobody.
impl Default for Workers {
    fn default() -> Workers {
        Workers::new(|_| ())
    }
}

impl Workers {
    /// No threads yet. `not_started` is called when one cannot be started; it must not block.
    pub fn new(not_started: fn(&io::Error)) -> Workers {
        Workers {
            idle: Arc::default(),
            alive: Arc::default(),
            not_started,
            #[cfg(test)]
            starved: Arc::default(),
        }
    }

    /// Runs `job` on a worker. If no thread can be had, the job comes back.
    ///
    /// # Errors
    /// The job itself. Dropping it settles what it holds; but where that hands a
    /// permit on, it must not happen in the middle of handing permits on.
    pub fn try_run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), WorkerJob> {
        let Err(job) = here::keep(Box::new(job)) else { return Ok(()) };
        let last = self.idle.lock().pop();
        if let Some(worker) = last {
            // It waits for it: nobody else can find it now.
            worker.put(job);
            return Ok(());
        }
        // The first job comes the same way, so that it is not lost with the closure when
        // the thread cannot be started.
        let hand = Arc::<Hand>::default();
        let (own, workers, alive) = (Arc::clone(&hand), self.clone(), Alive::new(&self.alive));
        let started = self.spawn(move || {
            let _alive = alive;
            here::is_worker();
            while let Some(job) = workers.next(&own) {
                threads::survive(threads::WORKER, job);
                while let Some(job) = here::kept() {
                    threads::survive(threads::WORKER, job);
                }
                workers.idle.lock().push(Arc::clone(&own));
            }
        });
        match started {
            Ok(_) => {
                hand.put(job);
                Ok(())
            }
            Err(error) => {
                (self.not_started)(&error);
                Err(job)
            }
        }
    }

    /// The next job of a worker, or the first; `None`: it has been idle for long enough.
    fn next(&self, own: &Arc<Hand>) -> Option<WorkerJob> {
        if let Some(job) = own.take(IDLE) {
            return Some(job);
        }
        let mut idle = self.idle.lock();
        if let Some(place) = idle.iter().position(|one| Arc::ptr_eq(one, own)) {
            idle.remove(place);
            return None;
        }
        drop(idle);
        // Somebody has just found it, and is about to hand it a job.
        loop {
            if let Some(job) = own.take(IDLE) {
                return Some(job);
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

/// Where a worker takes its next job. It sleeps at once where there is none: to look again
/// and again, as a channel does, takes time from those who would bring one.
#[derive(Default)]
struct Hand {
    job: Leaf<Option<WorkerJob>>,
    came: Condvar,
}

impl Hand {
    /// Hands over a job, for which there is room.
    fn put(&self, job: WorkerJob) {
        *self.job.lock() = Some(job);
        self.came.notify_one();
    }

    /// Waits for a job, for so long at most.
    fn take(&self, limit: Duration) -> Option<WorkerJob> {
        let until = clock::now() + limit;
        let mut job = self.job.lock();
        loop {
            if let Some(job) = job.take() {
                return Some(job);
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return None;
            }
            job = job.wait(&self.came, left);
        }
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
    use crossbeam_channel::{bounded, unbounded};

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

    fn wait_until(holds: impl Fn() -> bool) {
        while !holds() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_last_to_become_idle_is_woken_first_and_the_others_end() {
        let workers = Workers::default();
        let (tell, told) = bounded(1);
        let mut held = Vec::new();
        for _ in 0..4 {
            let (release, stand) = bounded::<()>(0);
            let tell = tell.clone();
            workers.run(move || {
                let _ = tell.send(std::thread::current().id());
                let _ = stand.recv();
            });
            held.push((told.recv().expect("it runs"), release));
        }
        assert_eq!(workers.alive(), 4);
        let last = held.last().expect("there are four").0;
        for (n, (_, release)) in held.into_iter().enumerate() {
            drop(release);
            wait_until(|| workers.idle.lock().len() == n + 1);
        }
        // As long as there is work now and then, however long it takes.
        while workers.alive() > 1 {
            let tell = tell.clone();
            workers.run(move || {
                let _ = tell.send(std::thread::current().id());
            });
            assert_eq!(told.recv().expect("it ran"), last);
            wait_until(|| workers.idle.lock().len() == workers.alive());
        }
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

    #[test]
    fn a_worker_at_the_end_of_its_job_runs_one_more_that_is_brought_and_no_second() {
        let (workers, (tell, told)) = (Workers::default(), unbounded());
        let brings = workers.clone();
        assert!(workers.run(move || {
            let own = std::thread::current().id();
            here::ending(|| {
                for name in ["kept", "brought to another"] {
                    let tell = tell.clone();
                    brings.run(move || {
                        let _ = tell.send((name, std::thread::current().id() == own));
                    });
                }
            });
        }));
        let mut ran: Vec<(&str, bool)> = told.iter().collect();
        ran.sort_unstable();
        assert_eq!(ran, [("brought to another", false), ("kept", true)]);
    }

    #[test]
    fn no_job_waits_for_one_that_is_not_at_its_end() {
        let (workers, (tell, told)) = (Workers::default(), unbounded());
        let (brings, said) = (workers.clone(), tell.clone());
        assert!(workers.run(move || {
            let (ran, comes) = unbounded();
            brings.run(move || {
                let _ = ran.send(());
            });
            // It runs while this one stands here.
            let _ = said.send(comes.recv().is_ok());
        }));
        assert_eq!(told.recv(), Ok(true));
        // Nor does a thread that is no worker keep one.
        here::ending(|| {
            assert!(!here::is_ending());
            workers.run(move || {
                let _ = tell.send(here::is_ending());
            });
        });
        assert_eq!(told.recv(), Ok(false));
    }
}

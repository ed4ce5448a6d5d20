//! Work for the processor alone that is too much for gRPC's threads: to decode a large
//! request.
//!
//! Few run at a time, on workers; the others wait, and the connections take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::available_parallelism;

use crate::core::callers::CallerId;
use crate::error::RequestError;
use crate::lock::Leaf;
use crate::threads;
use crate::threads::workers::{WorkerJob, Workers};

/// At most so many run at a time, however many cores there are: each may come to hold
/// tens of megabytes.
const RUNNING_MAX: usize = 4;
/// Bytes of requests that may wait, of one connection: four of the largest,
const WAITING_BYTES_EACH: usize = 16 << 20;
/// and in all. A core decodes so much in two seconds at worst.
const WAITING_BYTES: usize = 64 << 20;
/// The same with those of streams, whose next message is not read before: no more than 32
/// of the largest, as one connection can have hundreds of streams,
const STREAMED_BYTES_EACH: usize = 128 << 20;
/// and in all what unfinished requests may have, too.
const STREAMED_BYTES: usize = 256 << 20;

/// All such work. Cheap to clone.
#[derive(Clone)]
pub struct Conversions {
    workers: Workers,
    most: usize,
    queue: Arc<Leaf<Queue>>,
}

#[derive(Default)]
struct Queue {
    running: usize,
    bytes: usize,
    /// Whose turn it is; each connection that has jobs stands here once.
    turns: VecDeque<CallerId>,
    waiting: HashMap<CallerId, Waiting>,
}

#[derive(Default)]
struct Waiting {
    bytes: usize,
    jobs: VecDeque<(usize, WorkerJob)>,
}

impl Conversions {
    /// Half of the cores, so that the others are left to gRPC and to PostgreSQL.
    pub fn new(workers: &Workers) -> Conversions {
        let cores = available_parallelism().map_or(1, usize::from);
        Conversions::at_once(workers, (cores / 2).clamp(1, RUNNING_MAX))
    }

    fn at_once(workers: &Workers, most: usize) -> Conversions {
        Conversions { workers: workers.clone(), most, queue: Arc::default() }
    }

    /// Runs `job` for a request of so many bytes, soon.
    ///
    /// # Errors
    /// If too much waits already. A job of a `stream`, whose next message is not read
    /// before, is let in for longer: to refuse it ends the stream.
    pub fn run(
        &self,
        caller: &CallerId,
        bytes: usize,
        stream: bool,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), RequestError> {
        let job: WorkerJob = Box::new(job);
        let mut queue = self.queue.lock();
        if queue.running >= self.most {
            return queue.push(caller, bytes, stream, job);
        }
        queue.running += 1;
        drop(queue);
        let all = self.clone();
        let run = self.workers.try_run(move || all.run_all(job));
        run.map_err(|lost| {
            self.queue.lock().running -= 1;
            drop(lost);
            RequestError::ServiceLimit {
                what: "threads",
                used: self.workers.alive(),
                limit: self.workers.alive(),
            }
        })
    }

    /// On a worker: this one, and then what waits.
    fn run_all(&self, first: WorkerJob) {
        let mut next = Some(first);
        while let Some(job) = next {
            threads::survive(threads::WORKER, job);
            let mut queue = self.queue.lock();
            next = queue.pop();
            if next.is_none() {
                queue.running -= 1;
            }
        }
    }
}

impl Queue {
    fn push(
        &mut self,
        caller: &CallerId,
        bytes: usize,
        stream: bool,
        job: WorkerJob,
    ) -> Result<(), RequestError> {
        let own = self.waiting.get(caller).map_or(0, |waiting| waiting.bytes);
        let limit = |what, used, limit| Err(RequestError::ServiceLimit { what, used, limit });
        let (each, all) = match stream {
            false => (WAITING_BYTES_EACH, WAITING_BYTES),
            true => (STREAMED_BYTES_EACH, STREAMED_BYTES),
        };
        if self.bytes + bytes > all {
            let what = "bytes of requests that wait to be decoded";
            return limit(what, self.bytes + bytes, all);
        }
        if own + bytes > each {
            let what = "bytes of one connection's requests that wait to be decoded";
            return limit(what, own + bytes, each);
        }
        if own == 0 && !self.waiting.contains_key(caller) {
            self.turns.push_back(caller.clone());
        }
        let waiting = self.waiting.entry(caller.clone()).or_default();
        waiting.jobs.push_back((bytes, job));
        waiting.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    fn pop(&mut self) -> Option<WorkerJob> {
        let caller = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&caller)?;
        let (bytes, job) = waiting.jobs.pop_front()?;
        waiting.bytes -= bytes;
        self.bytes -= bytes;
        if waiting.jobs.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{bounded, unbounded, Receiver, Sender};

    /// One that lets the first go when it is dropped, and the names of those that ran.
    type Ends = (Sender<()>, Receiver<char>);

    /// One runs at a time, and the first stands until it is let go.
    fn held() -> (Conversions, Ends, impl Fn(char, usize) -> Result<(), RequestError>) {
        let one = Conversions::at_once(&Workers::default(), 1);
        let ((go, held), (tell, told)) = (bounded::<()>(0), unbounded());
        let stand = move || {
            let _ = held.recv();
        };
        one.run(&CallerId::new("first"), 1, false, stand).expect("it runs");
        let all = one.clone();
        let run = move |name: char, bytes: usize| {
            let tell = tell.clone();
            let of = CallerId::new(&name.to_string());
            all.run(&of, bytes, false, move || tell.send(name).unwrap_or_default())
        };
        (one, (go, told), run)
    }

    #[test]
    fn connections_take_turns_whoever_has_more() {
        let (_one, (go, told), run) = held();
        for name in "aaaabcb".chars() {
            run(name, 1).expect("there is room");
        }
        drop(go);
        let order: String = (0..7).map(|_| told.recv().expect("it ran")).collect();
        assert_eq!(order, "abcabaa");
    }

    #[test]
    fn what_waits_is_bounded_for_each_and_in_all_and_for_streams_later() {
        let (one, (go, told), run) = held();
        run('a', WAITING_BYTES_EACH).expect("there is room");
        let refused = run('a', 1).expect_err("one has its share");
        assert!(refused.to_string().contains("one connection"), "{refused}");
        for name in "bcd".chars() {
            run(name, WAITING_BYTES_EACH).expect("others have theirs");
        }
        assert!(run('e', 1).is_err());
        let stream = |name: &str, bytes: usize| one.run(&CallerId::new(name), bytes, true, || ());
        stream("a", STREAMED_BYTES_EACH - WAITING_BYTES_EACH).expect("a stream waits");
        let refused = stream("a", 1).expect_err("for so much, and no more");
        assert!(refused.to_string().contains("one connection"), "{refused}");
        let others = STREAMED_BYTES - STREAMED_BYTES_EACH - 3 * WAITING_BYTES_EACH;
        stream("e", others).expect("others have theirs");
        assert!(stream("f", 1).is_err());
        drop(go);
        assert_eq!(told.iter().take(4).count(), 4);
        // All is free again, once the worker has come round.
        while one.queue.lock().running > 0 {
            std::thread::yield_now();
        }
        let queue = one.queue.lock();
        assert!(queue.bytes == 0 && queue.waiting.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn a_panic_and_a_lack_of_threads_cost_one_job() {
        let workers = Workers::default();
        let one = Conversions::at_once(&workers, 1);
        let (tell, told) = unbounded();
        let caller = CallerId::new("a");
        workers.starve(true);
        assert!(one.run(&caller, 1, false, || ()).is_err());
        workers.starve(false);
        one.run(&caller, 1, false, || panic!("injected")).expect("it runs");
        let next = one.run(&caller, 1, false, move || tell.send(()).unwrap_or_default());
        next.expect("it runs");
        told.recv().expect("it ran");
    }
}

//! What is known of every request: where it waits, and its one answer.

use super::door::Job;
use crate::core::wait_queue::WaiterId;
use std::time::Instant;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// It had a checkout.
    Served,
    /// It was not let in.
    Refused,
    /// It waited too long.
    Expired,
    /// It was in the queue when the gate was drained or closed.
    Drained,
    /// No backend could be opened.
    Failed,
    /// The worker panicked, and the responder answered for itself.
    Lost,
    /// Its caller had left, so that nobody heard of it.
    Left,
}

impl Answer {
    pub(super) const ALL: [Answer; 7] = [
        Answer::Served,
        Answer::Refused,
        Answer::Expired,
        Answer::Drained,
        Answer::Failed,
        Answer::Lost,
        Answer::Left,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// On its way to the gate.
    Arriving,
    /// In the queue.
    Waiting,
    /// It has a permit.
    Inside,
    Answered(Answer),
}

struct Known {
    stage: Stage,
    deadline: Instant,
    id: Option<WaiterId>,
    gone: bool,
}

/// All requests, in the order of their arrival.
pub(super) struct Requests {
    known: Vec<Known>,
    max_waiters: usize,
}

impl Requests {
    pub(super) fn new(max_waiters: usize) -> Requests {
        Requests { known: Vec::new(), max_waiters }
    }

    /// A new request, whose caller waits until `deadline`.
    pub(super) fn arrive(&mut self, deadline: Instant) -> Job {
        self.known.push(Known { stage: Stage::Arriving, deadline, id: None, gone: false });
        Job(self.known.len() as u32 - 1)
    }

    /// The request that came last has a place in the queue.
    pub(super) fn queued(&mut self, id: WaiterId, position: usize) {
        let used_before = self.known.iter().any(|known| known.id == Some(id));
        assert!(!used_before, "{id:?} was given out before");
        let known = self.known.last_mut().unwrap();
        (known.stage, known.id) = (Stage::Waiting, Some(id));
        assert_eq!(position, self.waiting());
        assert!(position <= self.max_waiters, "{position} wait");
    }

    /// The request has a permit; nobody who came before it may still wait for one.
    pub(super) fn granted(&mut self, job: &Job, now: Instant) {
        let stage = self.stage(job);
        assert!(
            matches!(stage, Stage::Arriving | Stage::Waiting),
            "{job:?} had a permit: {stage:?}"
        );
        if stage == Stage::Waiting {
            assert!(self.is_live(job.0, now), "{job:?} was let in after its time");
        }
        let passed_over = (0..job.0).find(|n| self.is_live(*n, now));
        assert_eq!(passed_over, None, "passed over by {job:?}");
        self.known[job.0 as usize].stage = Stage::Inside;
    }

    pub(super) fn refused_as_full(&self, waiting: usize, limit: usize) {
        assert_eq!((waiting, limit), (self.waiting(), self.max_waiters));
        assert_eq!(waiting, limit, "refused though there was room");
    }

    /// The waiter's time is over, and it has come out.
    pub(super) fn expired(&mut self, job: Job, now: Instant) {
        assert!(!self.is_live(job.0, now), "{job:?} expired too early");
        self.answer(job, Answer::Expired);
    }

    /// The one answer of a request.
    pub(super) fn answer(&mut self, job: Job, answer: Answer) {
        let known = &mut self.known[job.0 as usize];
        let possible = match (known.stage, answer) {
            (Stage::Arriving, Answer::Refused) => true,
            (Stage::Waiting, Answer::Expired | Answer::Drained | Answer::Failed) => true,
            (Stage::Waiting, Answer::Left) => known.gone,
            (Stage::Inside, Answer::Left) => known.gone,
            (Stage::Inside, Answer::Served | Answer::Failed | Answer::Lost) => true,
            _ => false,
        };
        assert!(possible, "{job:?} was {:?} and is now {answer:?}", known.stage);
        known.stage = Stage::Answered(answer);
    }

    /// The caller of an unanswered request leaves: its number, its place in the queue if it ever had
    /// one, and whether it is there still.
    pub(super) fn leave(&mut self, pick: u64) -> Option<(u32, Option<WaiterId>, bool)> {
        let open = |known: &Known| !known.gone && !matches!(known.stage, Stage::Answered(_));
        let open: Vec<usize> = (0..self.known.len()).filter(|n| open(&self.known[*n])).collect();
        let n = *open.get(pick as usize % open.len().max(1))?;
        self.known[n].gone = true;
        Some((n as u32, self.known[n].id, self.known[n].stage == Stage::Waiting))
    }

    pub(super) fn is_gone(&self, job: &Job) -> bool {
        self.known[job.0 as usize].gone
    }

    pub(super) fn waiting(&self) -> usize {
        self.known.iter().filter(|known| known.stage == Stage::Waiting).count()
    }

    /// Waiters whose time is over.
    pub(super) fn overdue(&self, now: Instant) -> usize {
        let waiting = self.known.iter().filter(|known| known.stage == Stage::Waiting);
        waiting.filter(|known| known.deadline <= now).count()
    }

    pub(super) fn anybody_live(&self, now: Instant) -> bool {
        (0..self.known.len() as u32).any(|n| self.is_live(n, now))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.known.iter().filter(|known| known.stage == Stage::Waiting);
        waiting.map(|known| known.deadline).min()
    }

    /// The answers of all requests; every one must have had its own.
    pub(super) fn answers(&self) -> Vec<Answer> {
        let answer = |(n, known): (usize, &Known)| match known.stage {
            Stage::Answered(answer) => answer,
            stage => panic!("request {n} was never answered: {stage:?}"),
        };
        self.known.iter().enumerate().map(answer).collect()
    }

    fn stage(&self, job: &Job) -> Stage {
        self.known[job.0 as usize].stage
    }

    fn is_live(&self, n: u32, now: Instant) -> bool {
        let known = &self.known[n as usize];
        known.stage == Stage::Waiting && known.deadline > now
    }
}

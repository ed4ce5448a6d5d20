//! From the gate to a checkout, and the way of a permit back.

use super::super::checkouts::{Checkout, Place};
use super::super::door::{Entered, Job, Out, Permit};
use super::super::requests::Answer;
use super::super::steps::Outcome;
use super::Pool;
use crate::core::gate::{GateRefusal, GateState};
use crate::core::lease_table::Terms;
use crate::core::testing::{facts, id};
use std::time::Instant;

impl Pool {
    pub(super) fn ask(&mut self, deadline: Instant) {
        let (now, state) = (self.now, self.state);
        let room = match state {
            GateState::Opening => self.door.used() == 0,
            GateState::Active => self.door.used() < self.door.permits(),
            GateState::Draining | GateState::Closed => false,
        };
        let room = room && !self.requests.anybody_live(now);
        let job = self.requests.arrive(deadline);
        match self.door.admit(job, deadline, now) {
            Entered::Granted(job, permit) => {
                assert!(room, "let in without room");
                self.let_in(job, permit, now);
            }
            Entered::Queued { id, position } => {
                assert!(!room, "queued in front of a free permit");
                self.requests.queued(id, position);
            }
            Entered::Refused(job, refusal) => {
                assert!(!room, "refused in front of a free permit");
                match refusal {
                    GateRefusal::Draining => assert_eq!(state, GateState::Draining),
                    GateRefusal::Closed => assert_eq!(state, GateState::Closed),
                    GateRefusal::QueueFull { used, waiting, limit } => {
                        assert_eq!(used, self.door.used());
                        self.requests.refused_as_full(waiting, limit);
                    }
                    GateRefusal::Paused
                    | GateRefusal::MayNotWait
                    | GateRefusal::CallerLimit { .. } => {
                        panic!("nobody pauses, everybody may wait, and have all permits")
                    }
                }
                self.requests.answer(job, Answer::Refused);
            }
        }
    }

    pub(super) fn leave(&mut self, pick: u64) {
        let Some((n, place, waits)) = self.requests.leave(pick) else { return };
        // One that never waited has no place, and the worker finds out that the caller is gone.
        let left = place.and_then(|id| self.door.leave(id));
        assert_eq!(left, waits.then_some(Job(n)), "{n} left");
        self.answer(left, Answer::Left);
    }

    fn let_in(&mut self, job: Job, permit: Permit, now: Instant) {
        self.requests.granted(&job, now);
        self.line.push_back((job, permit));
        self.turns += 1;
    }

    /// A turn begins: nobody connects for a caller who is gone.
    pub(super) fn turn(&mut self) {
        if self.turns == 0 {
            return;
        }
        self.turns -= 1;
        let gone = self.line.front().is_some_and(|(job, _)| self.requests.is_gone(job));
        if !gone {
            return self.connecting.push(self.state == GateState::Opening);
        }
        if let Some((job, permit)) = self.line.pop_front() {
            self.requests.answer(job, Answer::Left);
            self.finish(permit);
        }
    }

    /// A turn ends, for the one that is first by now.
    pub(super) fn connect(&mut self, opening: bool, outcome: Outcome, terms: Terms) {
        if opening && outcome == Outcome::Connected {
            // It may have been drained or closed while the worker was at it.
            if self.state == GateState::Opening {
                self.state = GateState::Active;
            }
            let out = self.door.opened(self.now);
            self.hand(out, self.now);
        }
        let (job, permit) = self.line.pop_front().expect("one for each turn");
        match outcome {
            Outcome::Connected => {
                let checkout = self.checkouts.fresh(permit);
                self.deliver(job, checkout, terms);
            }
            Outcome::Failed => {
                let stranded = if opening { self.fail() } else { Vec::new() };
                self.finish(permit);
                self.answer(stranded, Answer::Failed);
                self.requests.answer(job, Answer::Failed);
            }
            Outcome::Panicked => {
                self.requests.answer(job, Answer::Lost);
                self.finish(permit);
            }
        }
    }

    fn deliver(&mut self, job: Job, checkout: Checkout, terms: Terms) {
        let n = checkout.n;
        if self.requests.is_gone(&job) {
            self.requests.answer(job, Answer::Left);
            self.checkouts.moves(n, Place::Fresh, Place::Resetting);
            return self.resetting.push(checkout);
        }
        self.checkouts.granted(n, self.now + terms.max_lifetime);
        let _ = self.table.grant(id(n), facts(n), terms, checkout, self.now);
        self.requests.answer(job, Answer::Served);
    }

    /// The keeper takes a permit if it takes it from nobody.
    pub(super) fn take(&mut self) {
        let free = self.door.used() < self.door.permits() && self.requests.waiting() == 0;
        let taken = self.door.try_take();
        assert_eq!(taken.is_some(), self.state == GateState::Active && free);
        self.kept.extend(taken);
    }

    pub(super) fn finish(&mut self, permit: Permit) {
        let now = self.earlier();
        let out = self.door.finish(permit, now);
        let abandoned = self.door.is_abandoned();
        self.hand(out, now);
        if abandoned {
            let stranded = self.fail();
            assert!(stranded.is_empty(), "abandoned while {stranded:?} wait");
        }
    }

    fn fail(&mut self) -> Vec<Job> {
        if self.state == GateState::Opening {
            self.state = GateState::Closed;
        }
        self.door.failed()
    }

    pub(super) fn drain(&mut self) {
        if self.state != GateState::Closed {
            self.state = GateState::Draining;
        }
        let waiting = self.door.drain();
        self.answer(waiting, Answer::Drained);
    }

    pub(super) fn close(&mut self) {
        self.state = GateState::Closed;
        let waiting = self.door.close();
        self.answer(waiting, Answer::Drained);
    }

    fn hand(&mut self, out: Out, now: Instant) {
        for (job, permit) in out.granted {
            self.let_in(job, permit, now);
        }
        for job in out.expired {
            self.requests.expired(job, now);
        }
    }

    pub(super) fn expire(&mut self, limit: usize) {
        let now = self.earlier();
        let before = self.requests.overdue(now);
        let expired = self.door.expire(now, limit);
        assert_eq!(expired.len(), before.min(limit), "waiters whose time is over");
        for job in expired {
            self.requests.expired(job, now);
        }
    }

    pub(super) fn answer(&mut self, jobs: impl IntoIterator<Item = Job>, answer: Answer) {
        for job in jobs {
            self.requests.answer(job, answer);
        }
    }
}

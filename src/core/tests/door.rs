//! The gate as these tests see it: the only file of theirs that names its calls.

use crate::core::gate::{Asks, Gate, GateEntry, GateRefusal, GateState};
use crate::core::wait_queue::{Handed, WaiterId};
use std::time::Instant;

/// A request. It cannot be copied, so that the compiler sees to it that it is in one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Job(pub(super) u32);

/// A permit that is out. It cannot be made outside this file.
#[derive(Debug)]
pub(super) struct Permit(());

/// What became of a request at the gate.
pub(super) enum Entered {
    Granted(Job, Permit),
    Queued { id: WaiterId, position: usize },
    Refused(Job, GateRefusal),
}

/// Who comes out when permits are handed out, in the order in which they did.
pub(super) struct Out {
    pub(super) granted: Vec<(Job, Permit)>,
    pub(super) expired: Vec<Job>,
}

pub(super) struct Door(Gate<Job>);

impl Door {
    pub(super) fn opening(permits: usize, max_waiters: usize) -> Door {
        Door(Gate::opening(permits, max_waiters, permits))
    }

    pub(super) fn admit(&mut self, job: Job, deadline: Instant, now: Instant) -> Entered {
        match self.0.admit(job, Asks::PATIENT, deadline, now) {
            GateEntry::Granted(job) => Entered::Granted(job, Permit(())),
            GateEntry::Queued { id, position } => Entered::Queued { id, position },
            GateEntry::Refused(job, refusal) => Entered::Refused(job, refusal),
        }
    }

    pub(super) fn finish(&mut self, permit: Permit, now: Instant) -> Out {
        let Permit(()) = permit;
        out(self.0.finish(None, now))
    }

    pub(super) fn opened(&mut self, now: Instant) -> Out {
        out(self.0.opened(now))
    }

    pub(super) fn try_take(&mut self) -> Option<Permit> {
        self.0.try_take().then_some(Permit(()))
    }

    pub(super) fn leave(&mut self, id: WaiterId) -> Option<Job> {
        self.0.leave(id)
    }

    pub(super) fn expire(&mut self, now: Instant, limit: usize) -> Vec<Job> {
        self.0.expire(now, limit).into_iter().map(|(job, _)| job).collect()
    }

    pub(super) fn failed(&mut self) -> Vec<Job> {
        self.0.failed()
    }

    pub(super) fn drain(&mut self) -> Vec<Job> {
        self.0.drain()
    }

    pub(super) fn close(&mut self) -> Vec<Job> {
        self.0.close()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }

    pub(super) fn state(&self) -> GateState {
        self.0.state()
    }

    pub(super) fn used(&self) -> usize {
        self.0.used()
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.waiting()
    }

    pub(super) fn permits(&self) -> usize {
        self.0.permits()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.next_deadline()
    }
}

fn out(handed: Handed<Job>) -> Out {
    let granted = handed.granted.into_iter().map(|job| (job, Permit(()))).collect();
    Out { granted, expired: handed.expired }
}

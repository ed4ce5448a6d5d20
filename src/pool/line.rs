//! Jobs with a permit that wait for their backend, and those who wait to open one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::core::servers::LineTicket;
use crate::lock::Leaf;
use crate::pool::caller::Caller;
use crate::pool::job::Job;
use crate::pool::requests::permit::Permit;

/// An attempt to get a backend that waits, and goes on when it is resumed.
pub trait Resume: Send {
    /// Goes on. Does not block.
    fn resume(self: Box<Self>);
}

/// Jobs with a permit that wait for their backend, in the order in which they
/// were granted. There is one attempt for each of them and for each spare permit.
#[derive(Default)]
pub(super) struct JobLine {
    pub(super) jobs: VecDeque<GrantedJob>,
    /// One for each backend that is still being opened for a job which got another meanwhile.
    pub(super) spare_permits: Vec<Permit>,
    /// The attempts that wait, the oldest first: between two tries, or for room at a server.
    suspended: Vec<SuspendedAttempt>,
    next: u64,
}

/// A job in line, with its permit.
pub(super) struct GrantedJob {
    pub(super) id: u64,
    pub(super) job: Job,
    pub(super) permit: Permit,
}

/// An attempt that waits. No thread sleeps for it.
pub(super) struct SuspendedAttempt {
    pub(super) until: Instant,
    /// The job it was made for.
    pub(super) own: u64,
    /// Its place in line at a server that is full.
    pub(super) ticket: Option<LineTicket>,
    pub(super) attempt: Box<dyn Resume>,
    pub(super) id: u64,
}

impl JobLine {
    /// A number that was not returned before.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The job of this number, while it is in line.
    pub(super) fn find(&mut self, id: u64) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|granted| granted.id == id).map(|granted| &mut granted.job)
    }

    /// Removes the job of this number from the line.
    pub(super) fn remove(&mut self, id: u64) -> Option<GrantedJob> {
        let position = self.jobs.iter().position(|granted| granted.id == id)?;
        self.jobs.remove(position)
    }

    /// Adds an attempt that waits. Returns its number.
    pub(super) fn suspend(&mut self, attempt: SuspendedAttempt) -> u64 {
        let id = self.number();
        self.suspended.push(SuspendedAttempt { id, ..attempt });
        id
    }

    /// Removes the oldest attempt that waits.
    pub(super) fn first_suspended(&mut self) -> Option<SuspendedAttempt> {
        (!self.suspended.is_empty()).then(|| self.suspended.remove(0))
    }

    /// Removes the oldest one for which this holds.
    fn take_suspended(
        &mut self,
        is: impl Fn(&SuspendedAttempt) -> bool,
    ) -> Option<SuspendedAttempt> {
        let position = self.suspended.iter().position(is)?;
        Some(self.suspended.remove(position))
    }

    /// Removes all that wait.
    fn take_all_suspended(&mut self) -> Vec<SuspendedAttempt> {
        std::mem::take(&mut self.suspended)
    }

    /// Until when an attempt waits, and the caller of its job if that is still in line.
    pub(super) fn look(&self, attempt: u64) -> Option<(Instant, Option<Arc<Caller>>)> {
        let attempt = self.suspended.iter().find(|one| one.id == attempt)?;
        let own = self.jobs.iter().find(|granted| granted.id == attempt.own);
        Some((attempt.until, own.map(|own| Arc::clone(&own.job.caller))))
    }
}

impl Leaf<JobLine> {
    /// Resumes all attempts that wait.
    pub(super) fn resume_all(&self) {
        let suspended = self.lock().take_all_suspended();
        suspended.into_iter().for_each(|one| one.attempt.resume());
    }

    /// Resumes the oldest attempt for which this holds.
    pub(super) fn resume(&self, is: impl Fn(&SuspendedAttempt) -> bool) {
        let suspended = self.lock().take_suspended(is);
        suspended.into_iter().for_each(|one| one.attempt.resume());
    }
}

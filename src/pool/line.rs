//! Jobs with a permit that wait for their backend, and those who wait to open one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::core::servers::LineTicket;
use crate::lock::Leaf;
use crate::pool::caller::Caller;
use crate::pool::job::Job;
use crate::pool::requests::permit::Permit;

/// Gets one backend, and continues when it is woken.
pub trait Sleeper: Send {
    /// Continues. Does not block.
    fn wake(self: Box<Self>);
}

/// Jobs with a permit that wait for their backend, in the order in which they
/// were granted. There is one sleeper or worker for each of them and for each spare permit.
#[derive(Default)]
pub(super) struct JobLine {
    pub(super) standing: VecDeque<GrantedJob>,
    /// One for each backend that is still being opened for a job which got another meanwhile.
    pub(super) spare: Vec<Permit>,
    /// The pauses between two tries, and the waits for room at a server.
    naps: Vec<Nap>,
    next: u64,
}

/// A job in line, with its permit.
pub(super) struct GrantedJob {
    pub(super) id: u64,
    pub(super) job: Job,
    pub(super) permit: Permit,
}

/// A pause of a sleeper. No thread sleeps for it.
pub(super) struct Nap {
    pub(super) until: Instant,
    /// The job it was made for.
    pub(super) own: u64,
    /// Its place in line at a server that is full.
    pub(super) ticket: Option<LineTicket>,
    pub(super) sleeper: Box<dyn Sleeper>,
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
        let mut standing = self.standing.iter_mut();
        standing.find(|standing| standing.id == id).map(|standing| &mut standing.job)
    }

    /// Removes the job of this number from the line.
    pub(super) fn remove(&mut self, id: u64) -> Option<GrantedJob> {
        let position = self.standing.iter().position(|standing| standing.id == id)?;
        self.standing.remove(position)
    }

    /// Adds a nap. Returns its number.
    pub(super) fn nap(&mut self, nap: Nap) -> u64 {
        let id = self.number();
        self.naps.push(Nap { id, ..nap });
        id
    }

    /// Removes the oldest nap.
    pub(super) fn first_nap(&mut self) -> Option<Nap> {
        (!self.naps.is_empty()).then(|| self.naps.remove(0))
    }

    /// Removes the oldest nap for which this holds.
    fn take_nap(&mut self, is: impl Fn(&Nap) -> bool) -> Option<Nap> {
        let position = self.naps.iter().position(is)?;
        Some(self.naps.remove(position))
    }

    /// Removes all naps.
    fn take_naps(&mut self) -> Vec<Nap> {
        std::mem::take(&mut self.naps)
    }

    /// The end of a nap, and the caller of its job if that is still in line.
    pub(super) fn look(&self, nap: u64) -> Option<(Instant, Option<Arc<Caller>>)> {
        let nap = self.naps.iter().find(|one| one.id == nap)?;
        let own = self.standing.iter().find(|standing| standing.id == nap.own);
        Some((nap.until, own.map(|own| Arc::clone(&own.job.caller))))
    }
}

impl Leaf<JobLine> {
    /// Wakes all sleepers.
    pub(super) fn wake_all(&self) {
        let naps = self.lock().take_naps();
        naps.into_iter().for_each(|nap| nap.sleeper.wake());
    }

    /// Wakes the sleeper of the oldest nap for which this holds.
    pub(super) fn wake(&self, is: impl Fn(&Nap) -> bool) {
        let nap = self.lock().take_nap(is);
        nap.into_iter().for_each(|nap| nap.sleeper.wake());
    }
}

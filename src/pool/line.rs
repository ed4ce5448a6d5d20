//! Jobs with a permit that wait for their backend, and those who wait to open one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::core::servers::LineTicket;
use crate::lock::Leaf;
use crate::pool::caller::Caller;
use crate::pool::job::Job;
use crate::pool::requests::permit::Permit;

/// Who has the duty to get one backend, and goes on when it is woken.
pub trait Sleeper: Send {
    /// It goes on. Does not block.
    fn wake(self: Box<Self>);
}

/// Jobs with a permit that wait for their backend, in the order in which they
/// were granted. There is one sleeper or worker for each of them and for each spare permit.
#[derive(Default)]
pub(super) struct JobLine {
    pub(super) standing: VecDeque<Standing>,
    /// Of sessions that came back and were handed to a job whose own backend is
    /// still being opened: the permits stand for that.
    pub(super) spare: Vec<Permit>,
    /// Those who wait: between two tries, or for room at a server.
    naps: Vec<Nap>,
    next: u64,
}

/// A job in line, with its permit.
pub(super) struct Standing {
    pub(super) id: u64,
    pub(super) job: Job,
    pub(super) permit: Permit,
}

/// One who waits. No thread sleeps for that.
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
    /// A number that is no other's.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The job of this number, while it stands.
    pub(super) fn find(&mut self, id: u64) -> Option<&mut Job> {
        let mut standing = self.standing.iter_mut();
        standing.find(|standing| standing.id == id).map(|standing| &mut standing.job)
    }

    /// Takes it out of the line.
    pub(super) fn remove(&mut self, id: u64) -> Option<Standing> {
        let position = self.standing.iter().position(|standing| standing.id == id)?;
        self.standing.remove(position)
    }

    /// One waits from now on. Returns its number.
    pub(super) fn nap(&mut self, nap: Nap) -> u64 {
        let id = self.number();
        self.naps.push(Nap { id, ..nap });
        id
    }

    /// The wait of the one that has waited longest is over.
    pub(super) fn first_nap(&mut self) -> Option<Nap> {
        (!self.naps.is_empty()).then(|| self.naps.remove(0))
    }

    /// The wait is over of the first for which this holds.
    fn take_nap(&mut self, is: impl Fn(&Nap) -> bool) -> Option<Nap> {
        let position = self.naps.iter().position(is)?;
        Some(self.naps.remove(position))
    }

    /// The wait is over of all.
    fn take_naps(&mut self) -> Vec<Nap> {
        std::mem::take(&mut self.naps)
    }

    /// Until when one waits, and the caller of its job, while that stands.
    pub(super) fn look(&self, nap: u64) -> Option<(Instant, Option<Arc<Caller>>)> {
        let nap = self.naps.iter().find(|one| one.id == nap)?;
        let own = self.standing.iter().find(|standing| standing.id == nap.own);
        Some((nap.until, own.map(|own| Arc::clone(&own.job.caller))))
    }
}

impl Leaf<JobLine> {
    /// The waits of all are over.
    pub(super) fn wake_all(&self) {
        let naps = self.lock().take_naps();
        naps.into_iter().for_each(|nap| nap.sleeper.wake());
    }

    /// The wait is over of the first for which this holds.
    pub(super) fn wake(&self, is: impl Fn(&Nap) -> bool) {
        let nap = self.lock().take_nap(is);
        nap.into_iter().for_each(|nap| nap.sleeper.wake());
    }
}

//! How jobs with a permit stand in line, and get the backends that come.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::checkout_attempt::CheckoutAttempt;
use super::Tenant;
use crate::clock;
use crate::error::RequestError;
use crate::pool::checkout::Checkout;
use crate::pool::job::Job;
use crate::pool::line::GrantedJob;
use crate::pool::requests::permit::Permit;

impl Tenant {
    /// Starts a job that has a permit. It gets a backend that lies ready, if that can be done at
    /// once. Otherwise it joins the line, and a worker gets a backend for the first job in line:
    /// were each worker bound to its own job, a quick connect would overtake a slow one. Does not
    /// block.
    pub(super) fn start(self: &Arc<Self>, mut job: Job) {
        job.parked = None;
        let permit = self.permit(job.counted_for(), false);
        let Some((job, permit)) = self.serve_at_once(job, permit) else { return };
        let mut line = self.line.lock();
        let id = line.number();
        line.jobs.push_back(GrantedJob { id, job, permit });
        drop(line);
        CheckoutAttempt::new(self, id).run();
    }

    /// Serves a job that does not block with an idle backend that needs no check. It comes back
    /// if there is none, or others stand in line.
    fn serve_at_once(&self, job: Job, permit: Permit) -> Option<(Job, Permit)> {
        if !job.at_once || !self.line.lock().jobs.is_empty() {
            return Some((job, permit));
        }
        let backends = self.backends();
        let Some(taken) = backends.take_ready() else { return Some((job, permit)) };
        self.account.touch();
        let checkout = Checkout { taken, backends, permit };
        if job.caller.serve() {
            job.serve(checkout);
        } else {
            job.left(&self.account);
            checkout.settle();
        }
        None
    }

    /// True if a job waits for a backend to be opened.
    pub(super) fn has_line(&self) -> bool {
        let numbers = &self.account.numbers;
        let waits = numbers.opening_now() > 0 || numbers.suspended.load(Ordering::Relaxed) > 0;
        waits && !self.line.lock().jobs.is_empty()
    }

    /// Hands a backend that has just come to rest to the first job that waits for one to be
    /// opened. Returns the permit if none does.
    pub(super) fn hand_over(&self, permit: Permit) -> Option<Permit> {
        if !self.has_line() {
            return Some(permit);
        }
        let backends = self.backends();
        // Somebody else may have been quicker.
        let Some(mut taken) = backends.store.take() else { return Some(permit) };
        let mut line = self.line.lock();
        let Some(front) = line.jobs.pop_front() else {
            drop(line);
            taken.clean = true;
            backends.rest(taken, clock::now());
            return Some(permit);
        };
        line.spare_permits.push(permit);
        let suspended = line.first_suspended();
        drop(line);
        // Its attempt has nothing to do any more, and gives the permit back.
        suspended.into_iter().for_each(|one| one.attempt.resume());
        self.deliver(front.job, Checkout { taken, backends, permit: front.permit });
        None
    }

    /// On a worker, because the job may block.
    pub(super) fn deliver(&self, mut job: Job, checkout: Checkout) {
        job.parked = None;
        if !job.caller.serve() {
            job.left(&self.account);
            return checkout.reset();
        }
        job.serve(checkout);
    }

    /// How long the request has waited that has no backend for the longest.
    pub fn longest_wait(&self) -> Duration {
        let queued = self.gate().oldest().map(Job::waited);
        let granted = self.line.lock().jobs.front().map(|front| front.job.waited());
        queued.max(granted).unwrap_or_default()
    }

    /// Answers all whose backend is still being opened; what their attempts open is closed.
    pub(in crate::pool) fn answer_line(&self, error: &RequestError) {
        let jobs = std::mem::take(&mut self.line.lock().jobs);
        for GrantedJob { job, permit, .. } in jobs {
            // The permit is back before the request fails.
            drop(permit);
            job.fail(&self.account, error.clone());
        }
    }
}

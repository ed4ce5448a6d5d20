//! A request's statements on a lease: takes its checkout out, runs them on a worker,
//! and gives it back.

use std::sync::Arc;
use std::time::Instant;

use crate::clock;
use crate::core::ids::ConnectionId;
use crate::core::lease_table::{Left, Via};
use crate::error::RequestError;
use crate::metrics::RunPlace;
use crate::pool::busy::{self, BusyEnd};
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::context::Context;
use crate::pool::leases::Leases;
use crate::pool::memory::{Room, Use};
use crate::pool::requests::responder::Responder;
use crate::pool::work::awaited::{when_answered, SentRequest};
use crate::pool::work::begun::{begin, AfterAnswers, Begun};
use crate::pool::work::operation::Operation;
use crate::pool::work::run::{count, run, RequestEnd};
use crate::pool::work::task::{Executed, Task};
use crate::threads::here;

/// A request that runs on a lease.
pub(super) struct OnLease {
    /// All leases.
    pub(super) leases: Arc<Leases>,
    /// What all requests share.
    pub(super) context: Arc<Context>,
    /// Which lease.
    pub(super) id: ConnectionId,
    /// How the lease is used.
    pub(super) via: Via,
    /// What to run.
    pub(super) work: Task,
    /// The lease ends with it, also when a statement fails.
    pub(super) release_after: bool,
    /// Who asked.
    pub(super) caller: Arc<Caller>,
    /// Where the answer goes.
    pub(super) responder: Responder<Executed>,
}

impl OnLease {
    /// Runs it on a worker. If the lease is busy with an operation whose caller has
    /// left, it runs after that.
    pub(super) fn begin(self) {
        self.try_begin(true);
    }

    fn try_begin(self, may_wait: bool) {
        let operation = Operation::new(self.context.tools.clone());
        match self.leases.begin(&self.id, self.via, &operation) {
            Ok((checkout, view)) => {
                let facts = &view.facts;
                let (lease, identity) = (Some(&*facts.lease_name), facts.identity.as_ref());
                operation.belongs_to(&facts.tenant, lease, identity);
                self.start(checkout, operation);
            }
            Err(busy @ RequestError::LeaseBusy { .. }) if may_wait => self.wait(busy),
            Err(error) => drop(self.responder.send(Err(error))),
        }
    }

    fn wait(mut self, busy: RequestError) {
        if let Err(error) = self.count() {
            return drop(self.responder.send(Err(error)));
        }
        let Some(running) = self.leases.running(&self.id) else {
            return self.try_begin(false);
        };
        busy::wait(&running, move |found| match found {
            BusyEnd::Over => self.try_begin(false),
            BusyEnd::Stuck | BusyEnd::Attended => drop(self.responder.send(Err(busy))),
        });
    }

    /// Counts the memory of a request that has to wait. Its tenant's part is left out:
    /// whose lease it is, is known for certain when it is its turn.
    fn count(&mut self) -> Result<(), RequestError> {
        if self.work.counted.is_none() {
            let tenant = self.leases.view(&self.id)?.facts.tenant.clone();
            let own = [self.caller.peer().memory()];
            let room = self.context.memory.room(Use::Requests, &own, &tenant);
            self.work.counted = Some(room.take(self.work.request.memory())?);
        }
        Ok(())
    }

    fn start(self, checkout: Checkout, operation: Arc<Operation>) {
        let OnLease { leases, context, id, via, mut work, release_after, caller, responder } = self;
        let room = checkout.account().room(Use::Requests, caller.peer());
        let answers = checkout.account().room(Use::Answers, caller.peer());
        let state = checkout.taken.backend.watch().transaction();
        let running = Arc::clone(&operation);
        let mut held = LeaseCheckout { checkout: Some(checkout), leases, id, via, operation };
        // A stream has few answers at a time; and what it has sent ahead may rely on what is
        // before it.
        let checked = if via == Via::Stream { Ok(()) } else { answers.check() };
        let counted = checked.and_then(|()| match work.counted.take() {
            Some(counted) => Ok(counted),
            None => room.take(work.request.memory()),
        });
        match counted {
            Ok(counted) => work.counted = Some(counted),
            Err(error) => {
                held.give_back(Left { transaction: state, command: None }, true);
                return drop(responder.send(Err(error)));
            }
        }
        caller.run(running);
        let operation = Arc::clone(&held.operation);
        let Some(checkout) = held.checkout.as_mut() else { return };
        let (started, begun) = (clock::now(), begin(checkout, &operation, &work, release_after));
        let (is_sent, tools) = (begun.is_sent(), context.tools.clone());
        let running = LeaseRun {
            held,
            operation: Arc::clone(&operation),
            work,
            begun,
            started,
            release_after,
            caller,
            answers,
            responder,
        };
        // Of statements that were sent ahead a worker runs one after the other, while their
        // responses gather for one write.
        let sent_ahead = via == Via::Stream && here::is_ending();
        match is_sent && !sent_ahead {
            true => when_answered(running, &operation, &tools),
            // Where there is no worker it is lost, which ends the lease.
            false => tools.run(move || running.finish(false)),
        }
    }
}

/// A request that has begun.
struct LeaseRun {
    held: LeaseCheckout,
    operation: Arc<Operation>,
    work: Task,
    begun: Begun,
    started: Instant,
    release_after: bool,
    caller: Arc<Caller>,
    answers: Room,
    responder: Responder<Executed>,
}

impl SentRequest for LeaseRun {
    fn checkout(&self) -> Option<&Checkout> {
        self.held.checkout.as_ref()
    }

    fn checkout_mut(&mut self) -> Option<&mut Checkout> {
        self.held.checkout.as_mut()
    }

    fn advance(&mut self) -> AfterAnswers {
        let LeaseRun { held, operation, work, begun, release_after, .. } = self;
        match held.checkout.as_mut() {
            Some(checkout) => begun.advance(checkout, operation, work, *release_after),
            None => AfterAnswers::Blocks,
        }
    }

    fn finish(self, _: bool) {
        let LeaseRun { mut held, operation, mut work, begun, started, .. } = self;
        let LeaseRun { release_after, caller, answers, responder, .. } = self;
        let Some(checkout) = held.checkout.as_mut() else {
            return;
        };
        let account = Arc::clone(checkout.account());
        let ends = (!release_after, release_after);
        let RequestEnd { answer, usable, command } =
            run(checkout, &operation, &mut work, begun, ends, caller.peer());
        let state = checkout.taken.backend.watch().transaction();
        let left = Left { transaction: state, command };
        let kept = held.give_back(left, usable);
        if kept && release_after {
            // It can have ended by itself in between; ended it is.
            let _ = held.leases.release_via(&held.id, held.via, false);
        }
        let answer = match answer {
            // Its work is gone with the lease: that is no success.
            Ok(executed) if release_after && state.is_open() => {
                Err(RequestError::LeftOpen { work: executed.work })
            }
            Ok(mut executed) => {
                executed.lease_ended = release_after || !kept;
                executed.count(&answers);
                Ok(executed)
            }
            error => error,
        };
        count(&account, &operation, (&work, place_of(held.via)), &answer, started);
        // Dropping them ends the reader's stream, and wakes those who wait for this operation.
        drop((work, held));
        here::ending(|| responder.send(answer));
    }
}

/// What a request that comes so counts as.
fn place_of(via: Via) -> RunPlace {
    match via {
        Via::Call => RunPlace::Lease,
        Via::Stream => RunPlace::Session,
    }
}

/// A lease's checkout during an operation. A panic loses it, and says so.
struct LeaseCheckout {
    checkout: Option<Checkout>,
    leases: Arc<Leases>,
    id: ConnectionId,
    via: Via,
    operation: Arc<Operation>,
}

impl LeaseCheckout {
    fn give_back(&mut self, left: Left, usable: bool) -> bool {
        match self.checkout.take() {
            Some(checkout) if usable => self.leases.end(&self.id, checkout, left),
            Some(checkout) => {
                self.leases.lost(&self.id, checkout);
                false
            }
            None => false,
        }
    }
}

impl Drop for LeaseCheckout {
    fn drop(&mut self) {
        if let Some(checkout) = self.checkout.take() {
            self.leases.lost(&self.id, checkout);
        }
        self.operation.over();
    }
}

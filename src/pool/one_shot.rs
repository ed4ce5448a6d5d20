//! Runs the statements of one request on any backend of its tenant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::{CancelCause, RequestError, Work};
use crate::metrics::RunPlace;
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::job::Job;
use crate::pool::memory::{Room, Use};
use crate::pool::registry::{Registry, Target};
use crate::pool::requests::one_shots::{OneShotPlace, OneShots};
use crate::pool::requests::responder::Responder;
use crate::pool::tools::Tools;
use crate::pool::work::awaited::{when_answered, SentRequest};
use crate::pool::work::begun::{begin, AfterAnswers, Begun};
use crate::pool::work::operation::Operation;
use crate::pool::work::run::{count, run, RequestEnd};
use crate::pool::work::task::{Executed, Task};
use crate::threads::alarms::Alarm;

/// Runs `request` on any backend of the tenant and answers by `responder`.
pub fn one_shot(
    registry: &Arc<Registry>,
    tools: &Tools,
    target: &Target,
    work: Task,
    wait: Duration,
    caller: &Arc<Caller>,
    responder: Responder<Executed>,
) {
    let (streamed, bytes) = (work.flow.is_streamed(), work.request.memory());
    let (caller_of, tools) = (Arc::clone(caller), tools.clone());
    let lifetime = registry.context().live().limits.clocks.lifetime.usual;
    let operation = Operation::new(tools.clone());
    let all = registry.context().one_shots.clone();
    let one = OneShot { tools, operation, all, work, lifetime, caller: caller_of, responder };
    let mut job = Job::new(caller, move |checkout| match checkout {
        Ok(checkout) => one.begin(checkout),
        Err(error) => drop(one.responder.send(Err(error))),
    });
    // What blocks of it runs on a worker.
    job.at_once = true;
    // Held for as long as a reader likes, it counts as a lease does.
    job.for_lease = streamed;
    job.bytes = bytes;
    registry.admit(target, job, wait);
}

/// A request that runs on any backend of its tenant.
struct OneShot {
    tools: Tools,
    operation: Arc<Operation>,
    /// Those that run.
    all: OneShots,
    work: Task,
    /// As long as a lease may live.
    lifetime: Duration,
    caller: Arc<Caller>,
    responder: Responder<Executed>,
}

impl OneShot {
    /// Sends what can be sent at once; a worker does the rest. Does not block.
    fn begin(self, mut checkout: Checkout) {
        let OneShot { tools, operation, work, caller, .. } = &self;
        let account = checkout.account();
        let answers = account.room(Use::Answers, caller.peer());
        if let Err(error) = answers.check() {
            drop(self.responder.send(Err(error)));
            return checkout.settle();
        }
        operation.belongs_to(account.id(), None, caller.owner());
        caller.run(operation.clone());
        let place = self.all.enter(operation);
        // A reader's pace is not bounded otherwise: a lease has a lifetime.
        let life = work.flow.is_streamed();
        let life = life.then(|| operation.cancel_after(self.lifetime, CancelCause::MaxLifetime));
        let started = clock::now();
        let begun = begin(&mut checkout, operation, work, true);
        let (is_sent, tools, operation) = (begun.is_sent(), tools.clone(), Arc::clone(operation));
        let kept = (place, life);
        let running = OneShotRun { one: self, checkout, begun, started, answers, _kept: kept };
        match is_sent {
            true => when_answered(running, &operation, &tools),
            // It stays on a worker that is at the end of its own work.
            false => tools.run(move || running.finish(false)),
        }
    }
}

/// A request that has begun.
struct OneShotRun {
    one: OneShot,
    checkout: Checkout,
    begun: Begun,
    started: Instant,
    answers: Room,
    /// A stop finds it, and a streamed one ends in time.
    _kept: (OneShotPlace, Option<Alarm>),
}

impl SentRequest for OneShotRun {
    fn checkout(&self) -> Option<&Checkout> {
        Some(&self.checkout)
    }

    fn checkout_mut(&mut self) -> Option<&mut Checkout> {
        Some(&mut self.checkout)
    }

    fn advance(&mut self) -> AfterAnswers {
        let OneShot { operation, work, .. } = &mut self.one;
        self.begun.advance(&mut self.checkout, operation, work, true)
    }

    fn finish(self, at_once: bool) {
        let OneShotRun { one, mut checkout, begun, started, answers, _kept } = self;
        let OneShot { operation, mut work, caller, responder, .. } = one;
        let account = Arc::clone(checkout.account());
        let RequestEnd { answer, usable, .. } =
            run(&mut checkout, &operation, &mut work, begun, (true, true), caller.peer());
        let state = checkout.taken.backend.watch().transaction();
        let answer = match answer {
            Ok(executed) if state.is_open() => {
                Err(RequestError::LeftOpen { work: Work { transaction: None, ..executed.work } })
            }
            Ok(mut executed) => {
                executed.count(&answers);
                Ok(executed)
            }
            error => error,
        };
        count(&account, &operation, (&work, RunPlace::OneShot), &answer, started);
        // Its end tells the reader that no more comes.
        drop(work);
        responder.send(answer);
        match (usable, at_once) {
            (true, true) => checkout.settle(),
            (true, false) => checkout.reset(),
            (false, _) => checkout.discard("lost"),
        }
    }
}

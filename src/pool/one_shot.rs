//! Runs the statements of one request on any backend of its tenant.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::error::{CancelCause, Error, Work};
use crate::metrics::RunPlace;
use crate::pool::caller::Caller;
use crate::pool::job::Job;
use crate::pool::memory::Use;
use crate::pool::registry::{Registry, Target};
use crate::pool::requests::reply::Reply;
use crate::pool::tools::Tools;
use crate::pool::work::operation::Operation;
use crate::pool::work::run::{count, run, RequestEnd};
use crate::pool::work::task::{Executed, Task};

/// Runs `request` on any backend of the tenant and answers `reply`.
pub fn one_shot(
    registry: &Arc<Registry>,
    tools: &Tools,
    target: &Target,
    mut work: Task,
    wait: Duration,
    caller: &Arc<Caller>,
    reply: Reply<Executed>,
) {
    let operation = Operation::new(tools.clone());
    let who = Arc::clone(caller);
    let streamed = work.flow.is_streamed();
    let lifetime = registry.context().live().limits.clocks.lifetime.usual;
    let bytes = work.request.memory();
    let mut job = Job::new(caller, move |session| {
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let answers = session.account().room(Use::Answers, who.peer());
        if let Err(error) = answers.check() {
            drop(reply.send(Err(error)));
            return session.reset();
        }
        operation.belongs_to(session.account().id(), None, who.owner());
        who.run(operation.clone());
        // A reader's pace is not bounded otherwise: a lease has a lifetime.
        let _life = streamed.then(|| operation.cancel_after(lifetime, CancelCause::MaxLifetime));
        let (started, account) = (clock::now(), Arc::clone(session.account()));
        let RequestEnd { answer, usable, .. } =
            run(&mut session, &operation, &mut work, true, true, who.peer());
        let state = session.taken.backend.watch().transaction();
        let answer = match answer {
            Ok(executed) if state.is_open() => {
                Err(Error::LeftOpen { work: Work { transaction: None, ..executed.work } })
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
        reply.send(answer);
        if usable {
            session.reset();
        } else {
            session.discard("lost");
        }
    });
    // Held for as long as a reader likes, it counts as a lease does.
    job.for_lease = streamed;
    job.bytes = bytes;
    registry.admit(target, job, wait);
}

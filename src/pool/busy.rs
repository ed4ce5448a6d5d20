//! What a call does that finds its lease busy: it waits for an operation whose caller
//! has left, and for no other.
//!
//! A caller whose deadline has passed sends its next call, most often the release,
//! while its statement is still being cancelled. That call must not fail because of a
//! statement that nobody waits for.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::error::CancelCause;
use crate::lock::Leaf;
use crate::pool::work::operation::Operation;

/// The next call of a caller can come a little before the news that it has left the one
/// before: on another connection, or because its clock is ahead of ours.
const NEWS: Duration = Duration::from_millis(250);

/// What became of the operation in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BusyEnd {
    /// It is over.
    Over,
    /// Its caller has left, and it has not ended in the time that a cancel may take.
    Stuck,
    /// Its caller waits for it.
    Attended,
}

type Then = Box<dyn FnOnce(BusyEnd) + Send>;

/// The first of the two calls it.
#[derive(Clone)]
struct Once(Arc<Leaf<Option<Then>>>);

impl Once {
    fn call(&self, found: BusyEnd) {
        let then = self.0.lock().take();
        if let Some(then) = then {
            then(found);
        }
    }
}

/// Calls `then`, which must not block, as soon as it is known what becomes of the
/// operation: after the time that a cancel may take at the latest.
pub(super) fn wait(operation: &Arc<Operation>, then: impl FnOnce(BusyEnd) + Send + 'static) {
    let once = Once(Arc::new(Leaf::new(Some(Box::new(then)))));
    let (ends, running) = (once.clone(), Arc::clone(operation));
    let (alarms, grace) = (operation.alarms().clone(), operation.grace());
    let later = alarms.clone();
    let looks = move || {
        if !is_abandoned(&running) {
            return once.call(BusyEnd::Attended);
        }
        later.soon(clock::now() + grace, move || once.call(BusyEnd::Stuck));
    };
    operation.afterwards(move || ends.call(BusyEnd::Over));
    if is_abandoned(operation) {
        looks();
    } else {
        alarms.soon(clock::now() + NEWS, looks);
    }
}

fn is_abandoned(operation: &Operation) -> bool {
    matches!(operation.cause(), Some(CancelCause::Caller))
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{bounded, Receiver};

    use super::*;
    use crate::metrics::Metrics;
    use crate::pool::tools::{CancelGrace, Tools};
    use crate::threads::alarms::Alarms;
    use crate::threads::bell::Bell;
    use crate::threads::workers::Workers;

    const GRACE: Duration = Duration::from_secs(7);

    fn operation() -> (Arc<Operation>, Alarms) {
        let alarms = Alarms::new(Bell::default());
        let tools = Tools {
            workers: Workers::default(),
            socket_waits: Default::default(),
            open_calls: Default::default(),
            alarms: alarms.clone(),
            metrics: Metrics::new(100),
            grace: CancelGrace::new(GRACE),
        };
        (Operation::new(tools), alarms)
    }

    fn waiting(operation: &Arc<Operation>) -> Receiver<BusyEnd> {
        let (tell, told) = bounded(2);
        wait(operation, move |found| {
            let _ = tell.send(found);
        });
        told
    }

    #[test]
    fn an_abandoned_operation_is_waited_for_until_it_ends() {
        let (operation, alarms) = operation();
        operation.cancel(CancelCause::Caller);
        let told = waiting(&operation);
        alarms.run_due(clock::now() + NEWS, 10);
        assert!(told.try_recv().is_err());
        operation.over();
        assert_eq!(told.try_recv(), Ok(BusyEnd::Over));
        alarms.run_due(clock::now() + 2 * GRACE, 10);
        assert!(told.try_recv().is_err(), "once only");
        assert_eq!(waiting(&operation).try_recv(), Ok(BusyEnd::Over));
    }

    #[test]
    fn one_that_obeys_no_cancel_is_not_waited_for_for_ever() {
        let (operation, alarms) = operation();
        operation.cancel(CancelCause::Caller);
        let told = waiting(&operation);
        alarms.run_due(clock::now() + 2 * GRACE, 10);
        assert_eq!(told.try_recv(), Ok(BusyEnd::Stuck));
    }

    #[test]
    fn one_whose_caller_is_there_is_in_the_way_unless_news_of_its_leaving_comes_soon() {
        let (attended, alarms) = operation();
        let told = waiting(&attended);
        alarms.run_due(clock::now() + 2 * NEWS, 10);
        assert_eq!(told.try_recv(), Ok(BusyEnd::Attended));
        let (left, alarms) = operation();
        let told = waiting(&left);
        left.cancel(CancelCause::Caller);
        alarms.run_due(clock::now() + 2 * NEWS, 10);
        assert!(told.try_recv().is_err());
        left.over();
        assert_eq!(told.try_recv(), Ok(BusyEnd::Over));
    }
}

use super::*;
use crate::metrics::Metrics;
use crate::pool::tools::CancelGrace;
use crate::threads::bell::Bell;
use crate::threads::workers::Workers;

fn tools() -> Tools {
    Tools {
        workers: Workers::default(),
        socket_waits: Default::default(),
        open_calls: Default::default(),
        alarms: Alarms::new(Bell::default()),
        metrics: Metrics::new(100),
        grace: CancelGrace::new(Duration::from_secs(2)),
    }
}

#[test]
fn a_cancel_before_the_backend_is_there_keeps_the_operation_from_starting() {
    let operation = Operation::new(tools());
    operation.cancel(CancelCause::Caller);
    assert!(!operation.bind(&Arc::default(), None));
    assert_eq!(operation.settle().cause, Some(CancelCause::Caller));
}

#[test]
fn the_first_cause_counts_and_a_late_one_touches_nothing() {
    let operation = Operation::new(tools());
    let watch = Arc::<Watch>::default();
    assert!(operation.bind(&watch, None));
    assert_eq!(operation.settle(), Settled { cause: None, reusable: true, cancelled: false });
    operation.cancel(CancelCause::Timeout);
    assert!(!watch.is_aborted());
}

#[test]
fn a_time_limit_that_goes_off_late_does_not_touch_the_next_statement() {
    let tools = tools();
    let operation = Operation::new(tools.clone());
    let first = Arc::new(Leaf::new(Some(operation.timeout(Duration::from_secs(1)))));
    // Due with it and before it, this is where the first statement ends.
    let (ended, next) = (Arc::clone(&first), Arc::clone(&operation));
    let (tell, told) = bounded(1);
    let now = clock::now();
    tools.alarms.soon(now, move || {
        let first = ended.lock().take();
        drop(first);
        let _ = tell.send(next.timeout(Duration::from_secs(60)));
    });
    assert_eq!(tools.alarms.run_due(now + Duration::from_secs(2), 10), 2);
    assert_eq!(operation.cause(), None);
    let second = told.try_recv();
    assert_eq!(tools.alarms.run_due(now + Duration::from_secs(61), 10), 1);
    assert_eq!(operation.cause(), Some(CancelCause::Timeout));
    drop(second);
}

#[test]
fn without_a_way_to_cancel_the_socket_is_closed() {
    let operation = Operation::new(tools());
    let watch = Arc::<Watch>::default();
    operation.bind(&watch, None);
    operation.cancel(CancelCause::Timeout);
    operation.cancel(CancelCause::Caller);
    assert!(watch.is_aborted());
    let settled = operation.settle();
    assert_eq!(settled.cause, Some(CancelCause::Timeout));
    assert!(!settled.reusable);
}

//! How a cancel is sent, and sent again, until the operation obeys or its socket is closed.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::{Operation, OperationState};
use crate::backend::cancel::Canceller;
use crate::clock;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;
use crate::error::CancelCause;
use crate::lock::LeafGuard;

/// How long after the first cancel a second one follows; each further one takes
/// twice as long. So there are five at most within a grace of 2 s.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// A cancel on its way.
struct Sending {
    canceller: Canceller,
    cause: CancelCause,
    /// How long after the one before; `None` = it is the first.
    delay: Option<Duration>,
    round: u64,
}

impl Operation {
    pub(super) fn cancel_in(
        self: &Arc<Self>,
        mut state: LeafGuard<'_, OperationState>,
        cause: CancelCause,
    ) {
        if state.cause.is_some() || state.settled {
            return;
        }
        state.cause = Some(cause);
        if state.overdue {
            // A cancel is on its way.
            let interrupt = state.interrupt.take();
            drop(state);
            return interrupt.into_iter().for_each(|interrupt| interrupt());
        }
        self.cancel_for(state, cause);
    }

    /// The time of statements that were sent together is over.
    pub(super) fn is_overdue_in(self: &Arc<Self>, mut state: LeafGuard<'_, OperationState>) {
        if state.cause.is_none() && !state.settled {
            state.overdue = true;
            self.cancel_for(state, CancelCause::Timeout);
        }
    }

    /// Sends a cancel to the backend, if there is one, and closes its socket if that has no effect.
    fn cancel_for(self: &Arc<Self>, mut state: LeafGuard<'_, OperationState>, cause: CancelCause) {
        let interrupt = state.interrupt.take();
        let target = state.target.as_ref();
        let Some(target) = target.map(|t| (Arc::clone(&t.watch), t.epoch, t.canceller.clone()))
        else {
            drop(state);
            return interrupt.into_iter().for_each(|interrupt| interrupt());
        };
        let (watch, epoch, canceller) = target;
        let Some(canceller) = canceller else {
            drop(state);
            interrupt.into_iter().for_each(|interrupt| interrupt());
            watch.abort(epoch);
            return;
        };
        let round = state.round;
        let sending = Sending { canceller, cause, delay: None, round };
        let tell = state.sending();
        drop(state);
        interrupt.into_iter().for_each(|interrupt| interrupt());
        if !self.send(sending, tell) {
            watch.abort(epoch);
            return;
        }
        let operation = Arc::downgrade(self);
        let grace = self.grace();
        let alarm = self.tools.alarms.set(clock::now() + grace, move || {
            let aborted = watch.abort(epoch);
            let Some(operation) = operation.upgrade().filter(|_| aborted) else { return };
            if let Some((whose, repeated)) = operation.told("backend_aborted", cause) {
                let (grace, cause) = (Secs(grace), cause.as_str());
                log::warn!("event=backend_aborted{whose} cause={cause} after_s={grace}{repeated}");
            }
        });
        let mut state = self.state.lock();
        let late = match state.is_in(round) {
            true => state.grace.replace(alarm),
            false => Some(alarm),
        };
        drop(state);
        drop(late);
    }

    /// Sends a cancel on a worker. False: there is none.
    fn send(self: &Arc<Self>, sending: Sending, tell: Sender<bool>) -> bool {
        let operation = Arc::clone(self);
        self.tools.workers.run(move || {
            let Sending { canceller, cause, delay, .. } = &sending;
            let outcome = canceller.send();
            if let Err(error) = &outcome {
                if let Some((whose, repeated)) = operation.told("cancel_failed", *cause) {
                    let (cause, error) = (cause.as_str(), error.to_string());
                    let error = Quoted(&error);
                    log::warn!("event=cancel_failed{whose} cause={cause} error={error}{repeated}");
                }
            }
            let metrics = &operation.tools.metrics;
            metrics.cancelled(cause.as_str(), outcome.is_ok(), delay.is_some());
            // The operation may be over and gone; then nobody asks.
            let _ = tell.send(outcome.is_ok());
            if outcome.is_ok() {
                operation.send_again(sending);
            }
        })
    }

    /// Sends another cancel after a while, if the operation still runs then. Only
    /// after one that was seen to arrive: there is never more than one on its way.
    fn send_again(self: &Arc<Self>, sending: Sending) {
        let delay = sending.delay.map_or(CANCEL_AGAIN, |delay| 2 * delay);
        let (operation, round) = (Arc::clone(self), sending.round);
        let alarm = self.tools.alarms.set(clock::now() + delay, move || {
            let mut state = operation.state.lock();
            if !state.is_in(round) {
                return;
            }
            let tell = state.sending();
            drop(state);
            operation.send(Sending { delay: Some(delay), ..sending }, tell);
        });
        let mut state = self.state.lock();
        let late = match state.is_in(round) {
            true => state.again.replace(alarm),
            false => Some(alarm),
        };
        drop(state);
        drop(late);
    }
}

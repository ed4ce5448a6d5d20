//! One request's work on a backend, and how to end it from outside.
//!
//! PostgreSQL forgets a cancel that finds its backend idle, and between the steps
//! of a statement it is idle for moments. So a cancel is repeated, after longer and
//! longer whiles, as long as the operation runs; never more than one is on its way,
//! and none that was not seen to arrive is followed by another. A statement that
//! does not obey within the grace has its socket closed. Whoever runs the operation
//! settles it at the end, and learns whether the backend may be used again: not
//! before the last cancel has arrived, so that none hits what comes next.

mod cancelling;
mod together;
mod whose;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, Sender};

use whose::Whose;

use crate::backend::cancel::Canceller;
use crate::backend::stream::watch::{Epoch, Watch};
use crate::clock;
use crate::error::CancelCause;
use crate::lock::{Leaf, LeafGuard};
use crate::pool::requests::one_shots::Stoppable;
use crate::pool::requests::stage::Stage;
use crate::pool::tools::Tools;
use crate::threads::alarms::{Alarm, Alarms};

/// The cancel connection itself is bounded by 2 s, and may have to wait for a thread;
/// after so long its outcome is in doubt.
const CANCEL_SEEN: Duration = Duration::from_secs(3);

/// A running operation.
pub struct Operation {
    tools: Tools,
    /// Set once it is known.
    whose: OnceLock<Whose>,
    state: Leaf<OperationState>,
}

#[derive(Default)]
struct OperationState {
    target: Option<CancelTarget>,
    cause: Option<CancelCause>,
    /// Statements that were sent together have not ended within one time limit, and a cancel was
    /// sent. Which of them it hits is not known yet, so it is no cause; one that comes later
    /// takes its place.
    overdue: bool,
    /// Says whether PostgreSQL was seen to take the cancel.
    sent: Option<Receiver<bool>>,
    /// One that was sent was not seen to arrive.
    stray: bool,
    /// Counts how often the operation went on behind a cancel. What belongs to an earlier one does
    /// nothing.
    round: u64,
    /// Sends another.
    again: Option<Alarm>,
    /// Closes the socket if the statement does not obey.
    grace: Option<Alarm>,
    /// Ends a wait for the reader of a streamed result.
    interrupt: Option<Box<dyn Fn() + Send + Sync>>,
    settled: bool,
    /// Its backend is back, or gone.
    over: bool,
    /// Called when it is.
    afterwards: Vec<Box<dyn FnOnce() + Send>>,
    /// Counts the time limits that have begun and ended.
    limits: u64,
}

/// A time limit of one statement; it ends when this is dropped.
#[must_use]
pub struct Limit {
    operation: Arc<Operation>,
    _alarm: Alarm,
}

impl Drop for Limit {
    fn drop(&mut self) {
        // Its alarm may have gone off already without having been heard.
        self.operation.state.lock().limits += 1;
    }
}

impl Stage for Operation {
    fn leave(self: Arc<Self>) {
        self.cancel(CancelCause::Caller);
    }
}

impl Stoppable for Operation {
    fn stop(self: Arc<Self>) {
        self.cancel(CancelCause::Shutdown);
    }
}

impl OperationState {
    /// A cancel is about to be sent.
    fn sending(&mut self) -> Sender<bool> {
        let (tell, told) = bounded(1);
        self.sent = Some(told);
        tell
    }

    /// True if what belongs to a cancel of this round still counts.
    fn is_in(&self, round: u64) -> bool {
        !self.settled && self.round == round
    }
}

struct CancelTarget {
    watch: Arc<Watch>,
    epoch: Epoch,
    canceller: Option<Canceller>,
}

/// How an operation was interfered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Who wanted it cancelled, if anybody.
    pub cause: Option<CancelCause>,
    /// False: a cancel may still hit what the backend runs next; close it.
    pub reusable: bool,
    /// A cancel was sent.
    pub cancelled: bool,
}

impl Operation {
    /// An operation that is not yet at a backend. A cancel that comes now takes
    /// effect when it gets there.
    pub fn new(tools: Tools) -> Arc<Operation> {
        Arc::new(Operation { tools, whose: OnceLock::new(), state: Leaf::default() })
    }

    /// The operation starts on this backend. False: it was cancelled before.
    pub fn bind(&self, watch: &Arc<Watch>, canceller: Option<Canceller>) -> bool {
        let epoch = watch.begin();
        let mut state = self.state.lock();
        state.target = Some(CancelTarget { watch: Arc::clone(watch), epoch, canceller });
        state.cause.is_none()
    }

    /// A cancel also calls this, which must not block. If one has come already,
    /// it is called at once.
    pub fn interrupts(&self, interrupt: Box<dyn Fn() + Send + Sync>) {
        let mut state = self.state.lock();
        if state.cause.is_some() {
            drop(state);
            return interrupt();
        }
        state.interrupt = Some(interrupt);
    }

    /// Calls `then`, which must not block, once the operation is over: at once if it is.
    pub(in crate::pool) fn afterwards(&self, then: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        if state.over {
            drop(state);
            return then();
        }
        state.afterwards.push(Box::new(then));
    }

    /// Its backend is back, or gone: a request that waits for that goes on.
    pub(in crate::pool) fn over(&self) {
        let mut state = self.state.lock();
        state.over = true;
        let afterwards = std::mem::take(&mut state.afterwards);
        drop(state);
        afterwards.into_iter().for_each(|then| then());
    }

    /// Where it sets its alarms.
    pub(in crate::pool) fn alarms(&self) -> &Alarms {
        &self.tools.alarms
    }

    /// How long it may take to stop once it is cancelled.
    pub(in crate::pool) fn grace(&self) -> Duration {
        self.tools.grace.now()
    }

    /// Who cancelled, so far.
    pub fn cause(&self) -> Option<CancelCause> {
        self.state.lock().cause
    }

    /// Cancels the operation; only the first cause counts. Does not block.
    pub fn cancel(self: &Arc<Self>, cause: CancelCause) {
        self.cancel_in(self.state.lock(), cause);
    }

    /// Sends the cancel that came before the operation was at its backend.
    pub(in crate::pool) fn cancel_again(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if let Some(cause) = state.cause.take() {
            self.cancel_in(state, cause);
        }
    }

    /// The operation ends now: later cancels do nothing, and [`settle`](Self::settle) does not
    /// wait. False: one came before.
    pub(in crate::pool) fn ends_undisturbed(&self) -> bool {
        let mut state = self.state.lock();
        state.settled = state.cause.is_none() && !state.overdue;
        state.settled
    }

    /// The operation is over. Waits, if a cancel is on its way, until it is known
    /// to have arrived. Later cancels and aborts do nothing.
    pub fn settle(&self) -> Settled {
        let mut state = self.state.lock();
        state.settled = true;
        let cause = state.cause.or(state.overdue.then_some(CancelCause::Timeout));
        let (sent, stray) = (state.sent.take(), state.stray);
        let cancelled = sent.is_some() || state.overdue;
        let alarms = (state.grace.take(), state.again.take());
        let target = state.target.take();
        drop(state);
        drop(alarms);
        let reusable = has_arrived(sent) && !stray;
        let aborted = target.is_some_and(|target| {
            target.watch.end();
            target.watch.is_aborted()
        });
        Settled { cause, reusable: reusable && !aborted, cancelled }
    }

    /// Cancels with `Timeout` after `limit`, unless the guard is dropped before: the
    /// next statement has a time limit of its own.
    pub fn timeout(self: &Arc<Self>, limit: Duration) -> Limit {
        self.limit(limit, |operation, state| operation.cancel_in(state, CancelCause::Timeout))
    }

    /// Calls `passes` after `limit`, unless the guard is dropped before.
    fn limit(
        self: &Arc<Self>,
        limit: Duration,
        passes: fn(&Arc<Operation>, LeafGuard<'_, OperationState>),
    ) -> Limit {
        let mut state = self.state.lock();
        state.limits += 1;
        let number = state.limits;
        drop(state);
        let operation = Arc::clone(self);
        let alarm = self.tools.alarms.set(clock::now() + limit, move || {
            let state = operation.state.lock();
            if state.limits == number {
                passes(&operation, state);
            }
        });
        Limit { operation: Arc::clone(self), _alarm: alarm }
    }

    /// Cancels after `limit`, unless the guard is dropped before.
    pub fn cancel_after(self: &Arc<Self>, limit: Duration, cause: CancelCause) -> Alarm {
        let operation = Arc::clone(self);
        self.tools.alarms.set(clock::now() + limit, move || operation.cancel(cause))
    }
}

/// True unless a cancel was sent and is not seen to arrive. Waits for that.
fn has_arrived(sent: Option<Receiver<bool>>) -> bool {
    sent.is_none_or(|sent| sent.recv_timeout(CANCEL_SEEN).unwrap_or(false))
}

#[cfg(test)]
mod tests;

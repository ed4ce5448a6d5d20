//! One request's work on a backend, and how to end it from outside.
//!
//! PostgreSQL forgets a cancel that finds its backend idle, and between the steps
//! of a statement it is idle for moments. So a cancel is repeated, after longer and
//! longer whiles, as long as the operation runs; never more than one is on its way,
//! and none that was not seen to arrive is followed by another. A statement that
//! does not obey within the grace has its socket closed. Whoever runs the operation
//! settles it at the end, and learns whether the backend may be used again: not
//! before the last cancel has arrived, so that none hits what comes next.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::backend::cancel::Canceller;
use crate::backend::stream::watch::{Epoch, Watch};
use crate::clock;
use crate::config::lease::CANCEL_GRACE;
use crate::core::ids::TenantId;
use crate::core::quoted::Quoted;
use crate::core::repeats::Repeated;
use crate::core::secs::Secs;
use crate::error::CancelCause;
use crate::lock::{Leaf, LeafGuard};
use crate::logging::{admits, admits_state};
use crate::pool::requests::stage::Stage;
use crate::pool::tools::Tools;
use crate::threads::alarms::{Alarm, Alarms};

/// The cancel connection itself is bounded by 2 s, and may have to wait for a thread;
/// after so long its outcome is in doubt.
const CANCEL_SEEN: Duration = Duration::from_secs(3);

/// How long after the first cancel a second one follows; each further one takes
/// twice as long. So there are five at most within the grace.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// A running operation.
pub struct Operation {
    tools: Tools,
    /// Set once it is known.
    whose: OnceLock<Whose>,
    state: Leaf<OperationState>,
}

/// Whose work an operation is.
struct Whose {
    tenant: TenantId,
    /// None: it is a one-shot's.
    lease_name: Option<String>,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " tenant={}", self.tenant)?;
        self.lease_name.as_ref().map_or(Ok(()), |lease| write!(f, " lease={lease}"))
    }
}

#[derive(Default)]
struct OperationState {
    target: Option<CancelTarget>,
    cause: Option<CancelCause>,
    /// Says whether PostgreSQL was seen to take the cancel.
    sent: Option<Receiver<bool>>,
    /// Sends another.
    again: Option<Alarm>,
    /// Closes the socket if the statement does not obey.
    grace: Option<Alarm>,
    /// Ends a wait for the reader of a streamed result.
    interrupt: Option<Box<dyn Fn() + Send + Sync>>,
    settled: bool,
    /// Its session is back, or gone.
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

impl OperationState {
    /// A cancel is about to be sent.
    fn sending(&mut self) -> Sender<bool> {
        let (tell, told) = bounded(1);
        self.sent = Some(told);
        tell
    }
}

/// A cancel on its way.
struct Sending {
    canceller: Canceller,
    cause: CancelCause,
    /// How long after the one before; `None` = it is the first.
    delay: Option<Duration>,
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
}

impl Operation {
    /// An operation that is not yet at a backend. A cancel that comes now takes
    /// effect when it gets there.
    pub fn new(tools: Tools) -> Arc<Operation> {
        Arc::new(Operation { tools, whose: OnceLock::new(), state: Leaf::default() })
    }

    /// Whose work it is, for the log. Only the first answer counts.
    pub(in crate::pool) fn belongs_to(&self, tenant: &TenantId, lease_name: Option<&str>) {
        let (tenant, lease_name) = (tenant.clone(), lease_name.map(str::to_owned));
        let _ = self.whose.set(Whose { tenant, lease_name });
    }

    /// Whose work it is, as the part of a log line behind the name of its event.
    pub(in crate::pool) fn whose(&self) -> String {
        self.whose.get().map(Whose::to_string).unwrap_or_default()
    }

    /// Whether a line of this event may be written, and what belongs into it.
    fn told(&self, event: &'static str, cause: CancelCause) -> Option<(String, Repeated)> {
        let Some(whose) = self.whose.get() else {
            return admits(event, None).then(|| (String::new(), Repeated(0)));
        };
        let repeated = admits_state(event, &whose.tenant, cause.as_str())?;
        Some((whose.to_string(), repeated))
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

    /// Its session is back, or gone: a request that waits for that goes on.
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

    /// Who cancelled, so far.
    pub fn cause(&self) -> Option<CancelCause> {
        self.state.lock().cause
    }

    /// Cancels the operation; only the first cause counts. Does not block.
    pub fn cancel(self: &Arc<Self>, cause: CancelCause) {
        self.cancel_in(self.state.lock(), cause);
    }

    fn cancel_in(self: &Arc<Self>, mut state: LeafGuard<'_, OperationState>, cause: CancelCause) {
        if state.cause.is_some() || state.settled {
            return;
        }
        state.cause = Some(cause);
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
        let sending = Sending { canceller, cause, delay: None };
        let tell = state.sending();
        drop(state);
        interrupt.into_iter().for_each(|interrupt| interrupt());
        if !self.send(sending, tell) {
            watch.abort(epoch);
            return;
        }
        let operation = Arc::downgrade(self);
        let alarm = self.tools.alarms.set(clock::now() + CANCEL_GRACE, move || {
            let aborted = watch.abort(epoch);
            let Some(operation) = operation.upgrade().filter(|_| aborted) else { return };
            if let Some((whose, repeated)) = operation.told("backend_aborted", cause) {
                let grace = Secs(CANCEL_GRACE);
                let cause = cause.as_str();
                log::warn!("event=backend_aborted{whose} cause={cause} after_s={grace}{repeated}");
            }
        });
        let mut state = self.state.lock();
        let late = if state.settled { Some(alarm) } else { state.grace.replace(alarm) };
        drop(state);
        drop(late);
    }

    /// Sends a cancel on a worker. False: there is none.
    fn send(self: &Arc<Self>, sending: Sending, tell: Sender<bool>) -> bool {
        let operation = Arc::clone(self);
        self.tools.workers.run(move || {
            let Sending { canceller, cause, delay } = &sending;
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
        let operation = Arc::clone(self);
        let alarm = self.tools.alarms.set(clock::now() + delay, move || {
            let mut state = operation.state.lock();
            if state.settled {
                return;
            }
            let tell = state.sending();
            drop(state);
            operation.send(Sending { delay: Some(delay), ..sending }, tell);
        });
        let mut state = self.state.lock();
        let late = if state.settled { Some(alarm) } else { state.again.replace(alarm) };
        drop(state);
        drop(late);
    }

    /// The operation is over. Waits, if a cancel is on its way, until it is known
    /// to have arrived. Later cancels and aborts do nothing.
    pub fn settle(&self) -> Settled {
        let mut state = self.state.lock();
        state.settled = true;
        let (cause, sent) = (state.cause, state.sent.take());
        let alarms = (state.grace.take(), state.again.take());
        let target = state.target.take();
        drop(state);
        drop(alarms);
        let reusable = match sent {
            None => true,
            Some(sent) => sent.recv_timeout(CANCEL_SEEN).unwrap_or(false),
        };
        let aborted = target.is_some_and(|target| {
            target.watch.end();
            target.watch.is_aborted()
        });
        Settled { cause, reusable: reusable && !aborted }
    }

    /// Cancels with `Timeout` after `limit`, unless the guard is dropped before: the
    /// next statement has a time limit of its own.
    pub fn timeout(self: &Arc<Self>, limit: Duration) -> Limit {
        let mut state = self.state.lock();
        state.limits += 1;
        let number = state.limits;
        drop(state);
        let operation = Arc::clone(self);
        let alarm = self.tools.alarms.set(clock::now() + limit, move || {
            let state = operation.state.lock();
            if state.limits == number {
                operation.cancel_in(state, CancelCause::Timeout);
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

#[cfg(test)]
mod tests;
